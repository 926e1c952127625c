//! The first members of a room, by whom it may be called: read once for each state of the room.

use std::rc::Rc;

use super::{commit::members_prefix, room::Room};
use crate::{
    error::Error,
    ports::Store,
    storage::{KeyReader, Scan},
};

/// So many of each membership: one more than are named, since nobody is named to themselves.
const EACH: usize = 6;

/// The first members of a room in the order of their IDs.
#[derive(Debug)]
pub(crate) struct FirstMembers {
    /// Who is joined, then who is invited.
    pub(crate) present: Vec<String>,
    /// Who has left or was banned, where nearly nobody is present.
    pub(crate) gone: Vec<String>,
}

/// Reads the first members, or finds them in memory while the room's state is still the same.
pub(crate) async fn first_members(store: &dyn Store, room: &Room) -> Result<Rc<FirstMembers>, Error> {
    let current = room.head().current;
    if let Some(members) = room.first_members(current) {
        return Ok(members);
    }
    let present = of_memberships(store, room, ["join", "invite"]).await?;
    let gone = if present.len() > 1 { Vec::new() } else { of_memberships(store, room, ["leave", "ban"]).await? };
    let members = Rc::new(FirstMembers { present, gone });
    if room.head().current == current {
        room.keep_first_members(current, Rc::clone(&members));
    }
    Ok(members)
}

async fn of_memberships(store: &dyn Store, room: &Room, memberships: [&str; 2]) -> Result<Vec<String>, Error> {
    let mut members = Vec::new();
    for membership in memberships {
        let rows = store.scan(&Scan::prefix(members_prefix(room.number, membership)).limited(EACH)).await?;
        members.extend(rows.iter().filter_map(|row| user(&row.key)));
    }
    Ok(members)
}

fn user(key: &[u8]) -> Option<String> {
    let mut key = KeyReader::new(key);
    key.number()?;
    key.text()?;
    key.text()
}
