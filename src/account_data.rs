//! Account data: what clients keep about a user, for the whole account or one room, and what of it has changed when.
//!
//! Each row holds its position. A second table has the user's changes in the order of their positions, one row for each
//! type, so that a reader finds what has changed since a position without looking at the rest.

use ruma::{OwnedRoomId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    log::{Output, Positions},
    parse,
    room_server::{Need, Position, View},
    server::Server,
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
};

/// Account data as readers are told of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChangedAccountData {
    /// The room, or `None` for the account as a whole.
    pub(crate) room: Option<OwnedRoomId>,
    /// The type.
    pub(crate) kind: String,
    pub(crate) content: Value,
    /// Where in the log it last changed.
    pub(crate) position: Position,
}

/// Account data on its way into a commit.
pub(crate) struct NewAccountData<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) room: Option<&'a RoomId>,
    pub(crate) kind: &'a str,
    pub(crate) content: Value,
    /// Where in the log the content is that it replaces.
    pub(crate) replaces: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct StoredData {
    #[serde(rename = "c")]
    content: Value,
    #[serde(rename = "p")]
    position: Position,
}

#[derive(Serialize, Deserialize)]
struct Change {
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    room: Option<OwnedRoomId>,
    #[serde(rename = "k")]
    kind: String,
}

/// What has changed behind `since` and up to `upto`.
pub(crate) async fn changed_since(
    server: &Server,
    user: &UserId,
    since: Position,
    upto: Position,
) -> Result<Vec<ChangedAccountData>, Error> {
    let range = Scan::range(change_key(user, Position(since.0 + 1)), change_key(user, Position(upto.0 + 1)));
    let changes: Vec<Change> = server.ports.store.scan(&range).await?.iter().map(|row| decode(&row.value)).collect::<Result<_, Error>>()?;
    let keys: Vec<_> = changes.iter().map(|change| data_key(user, change.room.as_deref(), &change.kind)).collect();
    let rows = server.ports.store.get_many(&keys).await?;
    let mut changed = Vec::new();
    for (Change { room, kind }, row) in changes.into_iter().zip(rows) {
        let Some(row) = row else { continue };
        let StoredData { content, position } = decode(&row)?;
        changed.push(ChangedAccountData { room, kind, content, position });
    }
    Ok(changed)
}

/// All account data of a user.
pub(crate) async fn all(server: &Server, user: &UserId) -> Result<Vec<ChangedAccountData>, Error> {
    scan(server, Key::new(Table::AccountData).text(user.as_str())).await
}

/// The user's account data of one room.
pub(crate) async fn of_room(server: &Server, user: &UserId, room: &RoomId) -> Result<Vec<ChangedAccountData>, Error> {
    scan(server, Key::new(Table::AccountData).text(user.as_str()).text(room.as_str())).await
}

/// The content of one type.
pub(crate) async fn read(server: &Server, user: &UserId, room: Option<&RoomId>, kind: &str) -> Result<Option<Value>, Error> {
    Ok(stored(server, user, room, kind).await?.map(|data| data.content))
}

/// Sets the content of one type.
pub(crate) async fn put(server: &Server, user: &UserId, room: Option<&RoomId>, kind: &str, content: Value) -> Result<(), Error> {
    change(server, user, room, kind, |_| Ok(Some(content))).await
}

/// Sets the content of one type to what `decide` makes of the old one; `None` leaves it as it is.
pub(crate) fn change<'a>(
    server: &'a Server,
    user: &'a UserId,
    room: Option<&'a RoomId>,
    kind: &'a str,
    decide: impl FnOnce(Option<Value>) -> Result<Option<Value>, Error> + 'a,
) -> impl Future<Output = Result<(), Error>> + 'a {
    decide_and_write(server, user, room, kind, Box::new(decide))
}

/// A decision of any closure, so that what waits for the store is compiled once for all of them.
type Decide<'a> = Box<dyn FnOnce(Option<Value>) -> Result<Option<Value>, Error> + 'a>;

async fn decide_and_write(server: &Server, user: &UserId, room: Option<&RoomId>, kind: &str, decide: Decide<'_>) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let (old, replaces) = match stored(server, user, room, kind).await? {
        Some(StoredData { content, position }) => (Some(content), Some(position)),
        None => (None, None),
    };
    let Some(content) = decide(old)? else { return Ok(()) };
    let appending = server.log.append(|positions| {
        let mut batch = Batch::new();
        write(NewAccountData { user, room, kind, content, replaces }, positions, &mut batch);
        batch
    });
    appending.await
}

/// Adds account data to a commit.
pub(crate) fn write(data: NewAccountData<'_>, positions: &mut Positions, batch: &mut Batch) {
    let NewAccountData { user, room, kind, content, replaces } = data;
    let room_id = room.map(ToOwned::to_owned);
    let position = positions.assign(Output::AccountData { user: user.to_owned(), room: room_id.clone() });
    if let Some(replaced) = replaces {
        batch.delete(change_key(user, replaced));
    }
    batch.put_json(data_key(user, room, kind), &StoredData { content, position });
    batch.put_json(change_key(user, position), &Change { room: room_id, kind: kind.to_owned() });
}

/// Adds to a commit that all of a user's account data goes.
pub(crate) async fn write_erasure(server: &Server, user: &UserId, batch: &mut Batch) -> Result<(), Error> {
    for table in [Table::AccountData, Table::AccountDataLog] {
        for row in server.ports.store.scan(&Scan::prefix(Key::new(table).text(user.as_str()))).await? {
            batch.delete(Key::new(table).raw(&row.key));
        }
    }
    Ok(())
}

async fn stored(server: &Server, user: &UserId, room: Option<&RoomId>, kind: &str) -> Result<Option<StoredData>, Error> {
    let row = server.ports.store.get_many(&[data_key(user, room, kind)]).await?.pop().flatten();
    row.map(|row| decode(&row)).transpose()
}

async fn scan(server: &Server, prefix: Key) -> Result<Vec<ChangedAccountData>, Error> {
    server.ports.store.scan(&Scan::prefix(prefix)).await?.iter().map(read_row).collect()
}

fn read_row(row: &Row) -> Result<ChangedAccountData, Error> {
    let (room, kind) = room_and_kind(&row.key).ok_or_else(|| Error::bug("a key of account data does not fit"))?;
    let StoredData { content, position } = decode(&row.value)?;
    Ok(ChangedAccountData { room, kind, content, position })
}

fn room_and_kind(key: &[u8]) -> Option<(Option<OwnedRoomId>, String)> {
    let mut reader = KeyReader::new(key);
    reader.text()?;
    let room = Some(reader.text()?).filter(|room| !room.is_empty());
    let room = room.map(RoomId::parse).transpose().ok()?;
    Some((room, reader.text()?))
}

fn decode<T: serde::de::DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    parse::json(row).map_err(|error| Error::bug(format!("a row of account data: {error}")))
}

/// The content of data of the account as a whole, for a decision.
pub(crate) fn content_in(view: &View<'_>, user: &UserId, kind: &str) -> Result<Option<Value>, Need> {
    let row = view.row(&data_key(user, None, kind))?;
    Ok(row.and_then(|row| parse::json::<StoredData>(&row).ok()).map(|data| data.content))
}

fn data_key(user: &UserId, room: Option<&RoomId>, kind: &str) -> Key {
    Key::new(Table::AccountData).text(user.as_str()).text(room.map(RoomId::as_str).unwrap_or_default()).text(kind)
}

fn change_key(user: &UserId, position: Position) -> Key {
    Key::new(Table::AccountDataLog).text(user.as_str()).number(position.0)
}
