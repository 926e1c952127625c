//! The part of the log that one sync answers from, and for whom.

use std::rc::Rc;

use ruma::OwnedUserId;

use crate::{
    accounts::Session,
    client_event::Viewer,
    error::Error,
    filter::Filter,
    push::unread::{self, Rules},
    room_server::{Position, Room, room_log, snapshot::Snapshot},
    server::Server,
};

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// All up to here was told.
    pub(crate) position: Position,
    /// All changes of typing up to here were told.
    pub(crate) typing: u64,
    /// All messages to the device up to here were told.
    pub(crate) to_device: Position,
}

/// As of which end of the timeline state is told, and under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateSection {
    /// As of its start.
    Before,
    /// As of its end.
    After,
    /// As of its end, under the name that it had before it was specified and that clients go on asking for:
    /// <https://github.com/matrix-org/matrix-spec-proposals/pull/4222>
    AfterUnstable,
}

impl StateSection {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "state",
            Self::After => "state_after",
            Self::AfterUnstable => "org.matrix.msc4222.state_after",
        }
    }

    pub(crate) fn is_after(self) -> bool {
        self != Self::Before
    }
}

/// What one sync answers from.
pub(crate) struct Window {
    pub(crate) user: OwnedUserId,
    pub(crate) device: String,
    /// `None` for a client that has seen nothing yet.
    pub(crate) since: Option<Since>,
    pub(crate) upto: Position,
    /// The serial number of typing up to which it reaches.
    pub(crate) typing: u64,
    pub(crate) now: u64,
    /// Whom the user does not want to hear, and of what they want to be notified.
    pub(crate) rules: Rc<Rules>,
    pub(crate) full_state: bool,
    pub(crate) state: StateSection,
    pub(crate) filter: Filter,
}

impl Window {
    /// A window that reaches nowhere yet.
    pub(crate) fn new(caller: &Session, since: Option<Since>, filter: Filter) -> Self {
        Self {
            user: caller.user.clone(),
            device: caller.device.clone(),
            since,
            upto: since.map(|since| since.position).unwrap_or_default(),
            typing: since.map(|since| since.typing).unwrap_or_default(),
            now: 0,
            rules: Rc::default(),
            full_state: false,
            state: StateSection::Before,
            filter,
        }
    }

    /// Lets it reach up to now.
    pub(crate) async fn reach_now(&mut self, server: &Server) -> Result<(), Error> {
        self.rules = unread::rules(server, &self.user).await?;
        (self.upto, self.now) = (server.log.end(), server.now());
        let mut typing = server.typing.borrow_mut();
        typing.expire(self.now);
        self.typing = typing.serial();
        Ok(())
    }

    pub(crate) fn viewer(&self) -> Viewer<'_> {
        Viewer { user: &self.user, device: &self.device, now: self.now }
    }

    /// The position up to which the client was told everything; zero for a client that has seen nothing.
    pub(crate) fn start(&self) -> Position {
        self.since.map(|since| since.position).unwrap_or_default()
    }
}

/// The room's current state as it was at a position of the log.
pub(crate) async fn state_at(server: &Server, room: &Room, position: Position) -> Result<Snapshot, Error> {
    room_log::state_at(&*server.ports.store, room, position).await
}
