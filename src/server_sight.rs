//! Which events of a room another server may see.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use std::cell::OnceCell;

use ruma::{OwnedServerName, OwnedUserId, UserId, events::StateEventType};

use crate::{
    erasure::is_kept_from_server,
    room_server::{Need, Room, View, snapshot::Snapshot, stored::StoredEvent},
    sight::Looker,
    tokens::TopologicalToken,
    visibility::{is_visible, is_visible_to_members},
};

/// The sight of a server that is in the room: what any of its users there may see.
pub(crate) struct ServerSight {
    name: OwnedServerName,
    current: Snapshot,
    users: OnceCell<Vec<OwnedUserId>>,
}

impl ServerSight {
    /// What a server sees that is in the room now.
    pub(crate) fn of(room: &Room, name: OwnedServerName) -> Self {
        Self { name, current: room.head().current, users: OnceCell::new() }
    }

    /// Whether the server may see the event.
    pub(crate) fn may_see(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
        if is_kept_from_server(view, event, || Ok(self.users(view)?.to_vec()))? {
            return Ok(false);
        }
        if is_visible_to_members(view, event)? {
            return Ok(true);
        }
        for user in self.users(view)? {
            if is_visible(view, event, user, true)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The server's users whom the room knows, whatever they are in it now.
    fn users(&self, view: &View<'_>) -> Result<&[OwnedUserId], Need> {
        if let Some(users) = self.users.get() {
            return Ok(users);
        }
        let members = self.current.entries(view)?.into_iter().filter(|entry| entry.kind == StateEventType::RoomMember);
        let users = members.filter_map(|entry| UserId::parse(entry.state_key).ok());
        let users = users.filter(|user| user.server_name() == self.name).collect();
        Ok(self.users.get_or_init(|| users))
    }
}

impl Looker for ServerSight {
    fn end(&self) -> TopologicalToken {
        TopologicalToken::END
    }

    fn sees(&self, view: &View<'_>, event: &StoredEvent) -> Result<bool, Need> {
        Ok(event.is_shown() && self.may_see(view, event)?)
    }
}
