//! Server-side key backups: what clients keep here of the keys of their rooms, encrypted for themselves.
//!
//! A user's backups are numbered; keys are written to the last one alone. A deleted backup leaves its number behind.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use ruma::{OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    error::Error,
    ordered::OrderedMap,
    ports::Store,
    rows,
    server::Server,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// A version of a user's backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backup {
    #[serde(skip)]
    pub(crate) version: u64,
    #[serde(rename = "a")]
    pub(crate) algorithm: String,
    #[serde(rename = "d")]
    pub(crate) auth_data: Map<String, Value>,
    /// Grows with each change of its keys.
    #[serde(rename = "e", default)]
    pub(crate) etag: u64,
    /// How many keys are in it.
    #[serde(rename = "c", default)]
    pub(crate) count: u64,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// A key as clients keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyData {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    session_data: Map<String, Value>,
}

impl KeyData {
    /// Whether this is the one to keep of two keys for one session.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>
    fn is_better_than(&self, other: &Self) -> bool {
        let worth = |key: &Self| (!key.is_verified, key.first_message_index, key.forwarded_count);
        worth(self) < worth(other)
    }
}

/// Keys by room and session.
pub(crate) type Rooms = OrderedMap<OwnedRoomId, Sessions>;

/// The keys of a room.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sessions {
    pub(crate) sessions: OrderedMap<String, KeyData>,
}

/// Which keys of a backup are meant: all, those of a room, or that of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chosen<'a> {
    pub(crate) room: Option<&'a RoomId>,
    pub(crate) session: Option<&'a str>,
}

impl Chosen<'_> {
    fn scan(&self, user: &UserId, version: u64) -> Scan {
        let prefix = keys_prefix(user, version);
        Scan::prefix(match (self.room, self.session) {
            (Some(room), Some(session)) => prefix.text(room.as_str()).text(session),
            (Some(room), None) => prefix.text(room.as_str()),
            (None, _) => prefix,
        })
    }
}

/// A user's last backup that was not deleted.
pub(crate) async fn last(store: &dyn Store, user: &UserId) -> Result<Option<Backup>, Error> {
    Ok(all(store, user).await?.into_iter().rev().find(|backup| !backup.deleted))
}

/// A version of a user's backup, 404 where there is none.
pub(crate) async fn of_version(store: &dyn Store, user: &UserId, version: &str) -> Result<Backup, Error> {
    read(store, user, version).await?.filter(|backup| !backup.deleted).ok_or_else(unknown)
}

async fn read(store: &dyn Store, user: &UserId, version: &str) -> Result<Option<Backup>, Error> {
    let Some(number) = version.parse().ok().filter(|number: &u64| number.to_string() == version) else { return Ok(None) };
    let backup: Option<Backup> = rows::one(store, backup_key(user, number)).await?;
    Ok(backup.map(|backup| Backup { version: number, ..backup }))
}

/// All backups of a user, oldest first: people have few.
async fn all(store: &dyn Store, user: &UserId) -> Result<Vec<Backup>, Error> {
    let found: Vec<(_, Backup)> = rows::range(store, &Scan::prefix(Key::new(Table::KeyBackups).text(user.as_str()))).await?;
    let version = |row: &[u8]| row.last_chunk().map(|version| u64::from_be_bytes(*version)).unwrap_or_default();
    Ok(found.into_iter().map(|(row, backup)| Backup { version: version(&row), ..backup }).collect())
}

/// Begins a new backup and returns its version.
pub(crate) async fn create(server: &Server, user: &UserId, algorithm: String, auth_data: Map<String, Value>) -> Result<u64, Error> {
    let _lock = server.accounts.lock(user).await;
    let version = all(&*server.ports.store, user).await?.last().map_or(1, |last| last.version + 1);
    let backup = Backup { version, algorithm, auth_data, etag: 0, count: 0, deleted: false };
    let mut batch = Batch::new();
    batch.put_json(backup_key(user, version), &backup);
    server.ports.store.commit(batch).await?;
    Ok(version)
}

/// Changes what a backup is encrypted by.
pub(crate) async fn update(
    server: &Server,
    user: &UserId,
    version: &str,
    algorithm: &str,
    auth_data: Map<String, Value>,
) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let backup = of_version(&*server.ports.store, user, version).await?;
    if backup.algorithm != algorithm {
        return Err(Error::invalid_param("The algorithm of a backup cannot be changed."));
    }
    let mut batch = Batch::new();
    batch.put_json(backup_key(user, backup.version), &Backup { auth_data, ..backup });
    Ok(server.ports.store.commit(batch).await?)
}

/// Deletes a backup with its keys; one that was deleted before stays so.
pub(crate) async fn delete(server: &Server, user: &UserId, version: &str) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let store = &*server.ports.store;
    let backup = read(store, user, version).await?.ok_or_else(unknown)?;
    let mut batch = Batch::new();
    write_key_deletion(store, user, &backup, Chosen::default(), &mut batch).await?;
    let deleted = Backup { deleted: true, auth_data: Map::new(), count: 0, ..backup };
    batch.put_json(backup_key(user, deleted.version), &deleted);
    Ok(store.commit(batch).await?)
}

/// Adds keys to the last backup, each unless a better one is there. Returns the backup as it is then.
pub(crate) async fn add(server: &Server, user: &UserId, version: &str, rooms: Rooms) -> Result<Backup, Error> {
    let _lock = server.accounts.lock(user).await;
    let store = &*server.ports.store;
    let mut backup = of_version(store, user, version).await?;
    let last = last(store, user).await?.map_or(backup.version, |last| last.version);
    if last != backup.version {
        let refusal = Error::refused(403, "M_WRONG_ROOM_KEYS_VERSION", "Keys are added to the last backup alone.");
        return Err(refusal.with("current_version", last.to_string()));
    }
    let keys = rooms.into_iter().flat_map(|(room, of_room)| {
        of_room.sessions.into_iter().map(move |(session, data)| (keys_prefix(user, last).text(room.as_str()).text(&session), data))
    });
    let keys: Vec<_> = keys.collect();
    let known: Vec<Option<KeyData>> = rows::many(store, &keys.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
    let mut batch = Batch::new();
    for ((key, data), known) in keys.into_iter().zip(known) {
        if known.as_ref().is_none_or(|known| data.is_better_than(known)) {
            backup.count += u64::from(known.is_none());
            batch.put_json(key, &data);
        }
    }
    commit_change(store, user, backup, batch).await
}

/// Deletes keys of a backup. Returns the backup as it is then.
pub(crate) async fn delete_keys(server: &Server, user: &UserId, version: &str, chosen: Chosen<'_>) -> Result<Backup, Error> {
    let _lock = server.accounts.lock(user).await;
    let store = &*server.ports.store;
    let mut backup = of_version(store, user, version).await?;
    let mut batch = Batch::new();
    let deleted = write_key_deletion(store, user, &backup, chosen, &mut batch).await?;
    backup.count = backup.count.saturating_sub(deleted);
    commit_change(store, user, backup, batch).await
}

async fn commit_change(store: &dyn Store, user: &UserId, mut backup: Backup, mut batch: Batch) -> Result<Backup, Error> {
    if !batch.is_empty() {
        backup.etag += 1;
        batch.put_json(backup_key(user, backup.version), &backup);
        store.commit(batch).await?;
    }
    Ok(backup)
}

async fn write_key_deletion(
    store: &dyn Store,
    user: &UserId,
    backup: &Backup,
    chosen: Chosen<'_>,
    batch: &mut Batch,
) -> Result<u64, Error> {
    let rows = store.scan(&chosen.scan(user, backup.version)).await?;
    rows.iter().for_each(|row| batch.delete(Key::new(Table::BackupKeys).raw(&row.key)));
    Ok(rows.len() as u64)
}

/// Keys of a backup.
pub(crate) async fn keys(store: &dyn Store, user: &UserId, version: &str, chosen: Chosen<'_>) -> Result<Rooms, Error> {
    let backup = of_version(store, user, version).await?;
    let mut rooms = Rooms::new();
    for (row, data) in rows::range::<KeyData>(store, &chosen.scan(user, backup.version)).await? {
        let (room, session) = room_and_session(&row).ok_or_else(|| Error::bug("a key of a backup does not fit"))?;
        rooms.entry(room).or_default().sessions.insert(session, data);
    }
    Ok(rooms)
}

fn room_and_session(row: &[u8]) -> Option<(OwnedRoomId, String)> {
    let mut key = KeyReader::new(row);
    let (_user, _version) = (key.text()?, key.number()?);
    Some((RoomId::parse(key.text()?).ok()?, key.text()?))
}

/// Adds to a commit that all of a user's backups go.
pub(crate) async fn write_deletion_of_user(store: &dyn Store, user: &UserId, batch: &mut Batch) -> Result<(), Error> {
    for table in [Table::KeyBackups, Table::BackupKeys] {
        for row in store.scan(&Scan::prefix(Key::new(table).text(user.as_str()))).await? {
            batch.delete(Key::new(table).raw(&row.key));
        }
    }
    Ok(())
}

fn unknown() -> Error {
    Error::not_found("There is no such backup.")
}

fn backup_key(user: &UserId, version: u64) -> Key {
    Key::new(Table::KeyBackups).text(user.as_str()).number(version)
}

fn keys_prefix(user: &UserId, version: u64) -> Key {
    Key::new(Table::BackupKeys).text(user.as_str()).number(version)
}
