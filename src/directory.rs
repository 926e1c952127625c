//! The room directory: which aliases lead to which rooms, and which rooms are published.

use std::rc::Rc;

use futures_util::lock::{Mutex, MutexGuard};
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    parse,
    ports::Store,
    room_server::{Need, RoomNumber, View},
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
};

/// The directory as it is stored.
pub(crate) struct Directory {
    store: Rc<dyn Store>,
    writing: Mutex<()>,
}

/// Where an alias leads, and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alias {
    #[serde(rename = "r")]
    pub(crate) room_id: OwnedRoomId,
    #[serde(rename = "c")]
    pub(crate) creator: OwnedUserId,
}

impl Directory {
    pub(crate) fn new(store: Rc<dyn Store>) -> Self {
        Self { store, writing: Mutex::new(()) }
    }

    /// The right to change aliases, held from the check of an alias until its commit: room locks do not keep two rooms
    /// from taking the same one. It comes before the locks of rooms.
    pub(crate) async fn write(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().await
    }

    /// Where an alias of this server leads.
    pub(crate) async fn find(&self, alias: &RoomAliasId) -> Result<Option<Alias>, Error> {
        let row = self.store.get_many(&[alias_key(alias)]).await?.pop().flatten();
        Ok(row.as_deref().and_then(read_alias))
    }

    /// This server's aliases of a room.
    pub(crate) async fn aliases(&self, room: RoomNumber) -> Result<Vec<OwnedRoomAliasId>, Error> {
        let rows = self.store.scan(&Scan::prefix(Key::new(Table::RoomAliases).number(room.0))).await?;
        let alias = |row: &Row| {
            let mut key = KeyReader::new(&row.key);
            key.number()?;
            RoomAliasId::parse(key.text()?).ok()
        };
        Ok(rows.iter().filter_map(alias).collect())
    }

    /// Every published room.
    pub(crate) async fn published(&self) -> Result<Vec<OwnedRoomId>, Error> {
        let rows = self.store.scan(&Scan::prefix(Key::new(Table::PublicRooms))).await?;
        Ok(rows.iter().filter_map(|row| RoomId::parse(KeyReader::new(&row.key).text()?).ok()).collect())
    }

    /// Whether a room is published.
    pub(crate) async fn is_published(&self, room: &RoomId) -> Result<bool, Error> {
        Ok(self.store.get_many(&[published_key(room)]).await?.pop().flatten().is_some())
    }
}

/// Where an alias of this server leads, for a decision.
pub(crate) fn alias_in(view: &View<'_>, alias: &RoomAliasId) -> Result<Option<Alias>, Need> {
    Ok(view.row(&alias_key(alias))?.as_deref().and_then(read_alias))
}

/// Makes an alias lead to a room.
pub(crate) fn put_alias(rows: &mut Batch, alias: &RoomAliasId, room: RoomNumber, target: &Alias) {
    rows.put_json(alias_key(alias), target);
    rows.put(room_alias_key(room, alias), []);
}

/// Removes an alias of a room.
pub(crate) fn delete_alias(rows: &mut Batch, alias: &RoomAliasId, room: RoomNumber) {
    rows.delete(alias_key(alias));
    rows.delete(room_alias_key(room, alias));
}

/// Gives an alias of one room to another.
pub(crate) fn move_alias(rows: &mut Batch, alias: &RoomAliasId, from: RoomNumber, to: RoomNumber, target: &Alias) {
    rows.delete(room_alias_key(from, alias));
    put_alias(rows, alias, to, target);
}

/// Publishes a room, or publishes it no longer.
pub(crate) fn publish(rows: &mut Batch, room: &RoomId, published: bool) {
    if published {
        rows.put(published_key(room), []);
    } else {
        rows.delete(published_key(room));
    }
}

fn read_alias(row: &[u8]) -> Option<Alias> {
    parse::json(row).ok()
}

fn alias_key(alias: &RoomAliasId) -> Key {
    Key::new(Table::Aliases).text(alias.as_str())
}

fn room_alias_key(room: RoomNumber, alias: &RoomAliasId) -> Key {
    Key::new(Table::RoomAliases).number(room.0).text(alias.as_str())
}

fn published_key(room: &RoomId) -> Key {
    Key::new(Table::PublicRooms).text(room.as_str())
}
