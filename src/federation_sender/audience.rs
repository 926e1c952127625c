//! Which servers an entry of the log is for.

use std::collections::BTreeSet;

use ruma::{OwnedServerName, ServerName};

use super::room_servers::RoomServers;
use crate::{
    log::Output,
    room_server::{Position, RoomNumber},
};

/// The servers that an entry of the log is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// No other server.
    Nobody,
    /// Those that were in the room just before it, and one more.
    Room(RoomNumber, Option<OwnedServerName>),
}

impl Audience {
    /// The audience of an entry, as a server of this name tells it.
    pub(crate) fn of(output: &Output, own_name: &ServerName) -> Self {
        match output {
            Output::Event { room, federated, .. } if federated.outgoing => Self::Room(*room, federated.target.clone()),
            Output::Receipt { room, user, private: false } if user.server_name() == own_name => Self::Room(*room, None),
            _ => Self::Nobody,
        }
    }

    /// The room whose servers must be known.
    pub(crate) fn room(&self) -> Option<RoomNumber> {
        match self {
            Self::Nobody => None,
            Self::Room(room, _) => Some(*room),
        }
    }

    /// All of the servers, for an entry at this position.
    pub(crate) fn servers(&self, index: &RoomServers, position: Position) -> BTreeSet<OwnedServerName> {
        match self {
            Self::Nobody => BTreeSet::new(),
            Self::Room(room, also) => index.at(*room, position).into_iter().chain(also.clone()).collect(),
        }
    }

    /// Whether this server is among them.
    pub(crate) fn includes(&self, index: &RoomServers, server: &ServerName, position: Position) -> bool {
        match self {
            Self::Nobody => false,
            Self::Room(room, also) => also.as_deref() == Some(server) || index.was_in(*room, server, position),
        }
    }
}
