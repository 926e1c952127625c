//! Which servers an entry of the log is for.

use ruma::{OwnedServerName, ServerName, UserId};

use super::{reader::load, room_servers::RoomServers};
use crate::{
    error::Error,
    gather::Gather,
    log::Output,
    ordered::OrderedSet,
    room_server::{Position, RoomNumber},
    server::Server,
    sharing,
};

/// The servers that an entry of the log is for: those that were in one of the rooms just before it, and one more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    rooms: Vec<RoomNumber>,
    also: Option<OwnedServerName>,
}

impl Audience {
    /// The audience of an entry; the servers of its rooms are in memory after that.
    pub(crate) async fn of(server: &Server, output: &Output) -> Result<Self, Error> {
        let audience = match output {
            Output::Event { room, federated, .. } if federated.outgoing => Self { rooms: vec![*room], also: federated.target.clone() },
            Output::Receipt { room, user, private: false } if is_local(server, user) => Self { rooms: vec![*room], also: None },
            Output::Devices { user, .. } | Output::SigningKeys { user } => {
                Self { rooms: sharing::joined_rooms(server, user).await?, also: None }
            }
            Output::Presence { user } if is_local(server, user) => Self { rooms: sharing::joined_rooms(server, user).await?, also: None },
            Output::ToDeviceRemote { destination } => Self { rooms: Vec::new(), also: Some(destination.clone()) },
            _ => Self::default(),
        };
        for room in &audience.rooms {
            load(server, *room).await?;
        }
        Ok(audience)
    }

    /// All of the servers, for an entry at this position.
    pub(crate) fn servers(&self, index: &RoomServers, position: Position) -> OrderedSet<OwnedServerName> {
        let in_rooms = self.rooms.iter().flat_map(|room| index.at(*room, position));
        in_rooms.chain(self.also.clone()).gather()
    }

    /// Whether this server is among them.
    pub(crate) fn includes(&self, index: &RoomServers, server: &ServerName, position: Position) -> bool {
        self.also.as_deref() == Some(server) || self.rooms.iter().any(|room| index.was_in(*room, server, position))
    }
}

fn is_local(server: &Server, user: &UserId) -> bool {
    user.server_name() == server.identity.server_name()
}
