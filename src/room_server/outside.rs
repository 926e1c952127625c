//! What local users are in rooms that this server is not in: invited, or waiting for an answer to their knock.
//!
//! The event has no place in a graph that this server knows, and nothing that it could be judged by; and of the room's state
//! there is only what came with it.

use ruma::{OwnedUserId, UserId};
use serde_json::Value;

use super::{
    commit::{UserRoom, user_room_key},
    draft::Draft,
    number::{EventNumber, RoomNumber},
    snapshot::Snapshot,
    stored::{Decided, Status},
    view::Undecided,
};
use crate::{
    error::Error,
    event::CheckedPdu,
    log::{Output, Positions},
    ordered::OrderedMap,
    storage::{Batch, Key, Table},
};

/// A membership that the draft notes.
#[derive(Clone, Debug)]
pub(crate) struct OutsideMember {
    user: OwnedUserId,
    membership: String,
}

impl Draft<'_> {
    /// Notes the membership of a local user by an event from elsewhere, and the stripped state that they are shown of the room.
    ///
    /// An event that is stored already has been noted before, or has come about by the room itself since.
    pub(crate) fn note_from_outside(&mut self, event: &CheckedPdu, told: &[Value]) -> Result<(), Undecided> {
        let pdu = event.pdu();
        if self.view.number(&pdu.event_id)?.is_some() {
            return Ok(());
        }
        let user = pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok());
        let (Some(user), Some(membership)) = (user, pdu.content_str("membership")) else {
            return Err(Error::bug(format!("{} is no membership event", pdu.event_id)).into());
        };
        let number = self.next_number();
        self.store(number, pdu.clone(), Decided::new(Status::Unjudged, Snapshot::default()));
        self.rows.put_json(told_state_key(self.room.number, &user), &told);
        self.outside.insert(number, OutsideMember { user, membership });
        Ok(())
    }

    pub(super) fn write_outside(&self, positions: &mut Positions, batch: &mut Batch) {
        for (event, OutsideMember { user, membership }) in &self.outside {
            let (room, users) = (self.room.number, vec![user.clone()]);
            // What came from elsewhere is nothing to tell others of.
            let federated = Box::default();
            let output = Output::Event { room, event: *event, added: Vec::new(), removed: Vec::new(), users, federated };
            let position = positions.assign(output);
            let row = UserRoom { membership: membership.clone(), event: *event, position, forgotten: false };
            batch.put_json(user_room_key(user, room), &row);
        }
    }
}

/// What a draft notes, by event.
pub(super) type Outside = OrderedMap<EventNumber, OutsideMember>;

/// Where the stripped state is that a user was told of a room.
pub(crate) fn told_state_key(room: RoomNumber, user: &UserId) -> Key {
    Key::new(Table::ToldState).number(room.0).text(user.as_str())
}
