//! What this server asks of others for its users: to be let into rooms and out of them, and what it does not have itself.

mod backfill;
mod candidates;
mod directory;
mod event;
mod hierarchy;
mod invite;
mod join;
mod knock;
mod leave;
mod media;
mod profile;
mod public_rooms;
mod target;
mod template;
mod third_party;
mod told_room;

use futures_util::lock::OwnedMutexGuard;
use ruma::{OwnedRoomId, RoomId};

pub(crate) use self::{
    backfill::{backfill, last_gap},
    candidates::{Candidates, for_client, is_away},
    directory::{Located, locate},
    event::{event_of_time, find_event},
    hierarchy::{ToldSpace, ToldSummary, hierarchy},
    invite::invite,
    join::{NODE_RECORDS, join},
    knock::{helper, knock},
    leave::leave,
    media::{Frame, download, thumbnail},
    profile::profile,
    public_rooms::public_rooms,
    template::OwnMembership,
    third_party::{ThirdPartySigned, invite_signed, redeem},
};
use crate::{error::Error, federation_client::PeerError, locks::Locks, parse};

/// What is under way between this server and others.
#[derive(Default)]
pub(crate) struct Federation {
    entering: Locks<OwnedRoomId>,
    backfilling: Locks<OwnedRoomId>,
    told_spaces: hierarchy::ToldSpaces,
}

impl Federation {
    /// The right to bring this server into a room: two users of it who come at once must not both bring it in.
    pub(crate) async fn entering(&self, room: &RoomId) -> OwnedMutexGuard<()> {
        self.entering.lock(&room.to_owned()).await
    }

    /// Whether this server is being brought into a room.
    pub(crate) fn is_entering(&self, room: &RoomId) -> bool {
        self.entering.any_in_use(|entering| *entering == room)
    }
}

/// An answer that is not what was asked for.
fn malformed(why: impl ToString) -> Error {
    PeerError::Malformed(why.to_string()).into()
}

fn read<'a, T: serde::Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    parse::json(answer).map_err(malformed)
}
