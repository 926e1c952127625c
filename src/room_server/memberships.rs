//! What local users are in their rooms: a user's rows, read once and kept until a commit changes one of them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use ruma::{OwnedUserId, UserId};

use super::{commit::UserRoom, number::RoomNumber, shell::RoomServer};
use crate::{
    error::Error,
    ordered::OrderedMap,
    parse,
    storage::{Batch, Key, KeyReader, Row, Scan, Table, Write},
};

/// So many users are kept; past that, all are forgotten and read again.
const USERS: usize = 1_000;

/// A user's rooms.
pub(crate) type Memberships = Rc<Vec<(RoomNumber, UserRoom)>>;

/// What is known.
#[derive(Default)]
pub(super) struct KnownMemberships {
    by_user: RefCell<OrderedMap<OwnedUserId, Memberships>>,
    /// How many commits have changed some user's rooms.
    changes: Cell<u64>,
}

impl KnownMemberships {
    /// Forgets the users of whose rooms something was committed.
    pub(super) fn forget(&self, users: &[OwnedUserId]) {
        let mut known = self.by_user.borrow_mut();
        for user in users {
            known.remove(user);
        }
        self.changes.set(self.changes.get() + 1);
    }

    fn keep(&self, user: &UserId, memberships: Memberships) {
        let mut known = self.by_user.borrow_mut();
        if known.len() >= USERS {
            known.clear();
        }
        known.insert(user.to_owned(), memberships);
    }
}

/// The users of whose rooms a batch changes something.
pub(super) fn changed(batch: &Batch) -> Vec<OwnedUserId> {
    let keys = batch.writes.iter().map(|write| match write {
        Write::Put(key, _) | Write::Delete(key) => key,
    });
    let users = keys.filter(|key| key.table == Table::UserRooms).filter_map(|key| KeyReader::new(&key.bytes).text());
    users.filter_map(|user| UserId::parse(user).ok()).collect()
}

impl RoomServer {
    /// The rooms that a local user is or was a member of.
    pub(crate) async fn memberships(&self, user: &UserId) -> Result<Memberships, Error> {
        let known = &self.cache.memberships;
        if let Some(memberships) = known.by_user.borrow().get(user) {
            return Ok(Rc::clone(memberships));
        }
        let changes = known.changes.get();
        let rows = self.store.scan(&Scan::prefix(Key::new(Table::UserRooms).text(user.as_str()))).await?;
        let memberships = rows.iter().map(read).collect::<Option<Vec<_>>>().map(Rc::new);
        let memberships = memberships.ok_or_else(|| Error::bug(format!("a row of {user}'s rooms cannot be read")))?;
        // What was read while a commit came may be older than the commit.
        if known.changes.get() == changes {
            known.keep(user, Rc::clone(&memberships));
        }
        Ok(memberships)
    }
}

fn read(row: &Row) -> Option<(RoomNumber, UserRoom)> {
    let mut key = KeyReader::new(&row.key);
    key.text()?;
    Some((RoomNumber(key.number()?), parse::json(&row.value).ok()?))
}
