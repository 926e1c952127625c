//! Receipts: up to which event each user has read each room, in the whole or in one thread.
//!
//! Each receipt's row holds its position in the log. A second table has a room's receipts in the order of their positions,
//! so that a reader finds those that are new without looking at the rest.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    log::{Output, Positions},
    room_server::{Position, Room, RoomNumber, stored::StoredEvent},
    server::Server,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// Seen by everybody in the room.
pub(crate) const READ: &str = "m.read";

/// Seen by the user alone.
pub(crate) const READ_PRIVATE: &str = "m.read.private";

/// The thread of what is in no thread.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
pub(crate) const MAIN: &str = "main";

/// A receipt that a user sends.
pub(crate) struct NewReceipt {
    /// [`READ`] or [`READ_PRIVATE`].
    pub(crate) kind: &'static str,
    /// The thread's root or [`MAIN`]; `None` for the room as a whole.
    pub(crate) thread: Option<String>,
    /// The last event that was read.
    pub(crate) event: Arc<StoredEvent>,
    /// When it was read, as another server says; `None` for now.
    pub(crate) ts: Option<u64>,
}

/// A receipt as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredReceipt {
    #[serde(rename = "e")]
    event_id: OwnedEventId,
    /// Where in the log that event is.
    #[serde(rename = "o")]
    read_upto: Position,
    #[serde(rename = "t")]
    ts: u64,
    /// Where in the log the receipt is.
    #[serde(rename = "p")]
    position: Position,
}

/// Whose receipt changed at a position, and which.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    #[serde(rename = "u")]
    user: OwnedUserId,
    #[serde(rename = "k")]
    kind: String,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
}

/// Up to where in the log a user has read a room: in each thread, and, under `None`, whatever the thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadPositions(BTreeMap<Option<String>, Position>);

impl ReadPositions {
    /// Whether the user has read what is at a position, in the thread with that root or in none.
    pub(crate) fn covers(&self, position: Position, thread: Option<&str>) -> bool {
        let in_thread = self.0.get(&Some(thread.unwrap_or(MAIN).to_owned())).copied();
        position <= self.oldest() || in_thread.is_some_and(|upto| position <= upto)
    }

    /// The position up to which all is read, in whatever thread.
    pub(crate) fn oldest(&self) -> Position {
        self.0.get(&None).copied().unwrap_or_default()
    }
}

/// Stores those of a user's receipts that are ahead of what they replace.
pub(crate) async fn add(server: &Server, room: &Room, user: &UserId, receipts: Vec<NewReceipt>) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let keys: Vec<_> = receipts.iter().map(|new| receipt_key(room.number, user, new.kind, new.thread.as_deref())).collect();
    let rows = server.ports.store.get_many(&keys).await?;
    let mut ahead = Vec::new();
    for (new, row) in receipts.into_iter().zip(rows) {
        let old: Option<StoredReceipt> = row.map(|row| decode(&row)).transpose()?;
        if old.as_ref().is_none_or(|old| old.read_upto < new.event.decided.position) {
            ahead.push((new, old));
        }
    }
    if ahead.is_empty() {
        return Ok(());
    }
    let now = server.now();
    let appending = server.log.append(|positions| {
        let mut batch = Batch::new();
        for (new, old) in ahead {
            write(room.number, user, new, old, now, positions, &mut batch);
        }
        batch
    });
    appending.await
}

fn write(
    room: RoomNumber,
    user: &UserId,
    new: NewReceipt,
    old: Option<StoredReceipt>,
    now: u64,
    positions: &mut Positions,
    batch: &mut Batch,
) {
    let NewReceipt { kind, thread, event, ts } = new;
    let position = positions.assign(Output::Receipt { room, user: user.to_owned(), private: kind == READ_PRIVATE });
    if let Some(old) = old {
        batch.delete(change_key(room, old.position));
    }
    let stored = StoredReceipt { event_id: event.pdu.event_id.clone(), read_upto: event.decided.position, ts: ts.unwrap_or(now), position };
    batch.put_json(receipt_key(room, user, kind, thread.as_deref()), &stored);
    batch.put_json(change_key(room, position), &Change { user: user.to_owned(), kind: kind.to_owned(), thread });
}

/// The content of an `m.receipt` event that tells a user of what has changed behind `since` and up to `upto`: of everybody's
/// receipts, but only of their own private ones.
pub(crate) async fn changed_since(server: &Server, room: &Room, since: Position, upto: Position, user: &UserId) -> Result<Value, Error> {
    let key = |position: Position| change_key(room.number, Position(position.0 + 1));
    let rows = server.ports.store.scan(&Scan::range(key(since), key(upto))).await?;
    let changes: Vec<Change> = rows.iter().map(|row| decode(&row.value)).collect::<Result<_, _>>()?;
    let changes: Vec<_> = changes.into_iter().filter(|change| change.kind != READ_PRIVATE || change.user == user).collect();
    let key = |change: &Change| receipt_key(room.number, &change.user, &change.kind, change.thread.as_deref());
    let receipts = server.ports.store.get_many(&changes.iter().map(key).collect::<Vec<_>>()).await?;
    let mut content = Map::new();
    for (change, row) in changes.into_iter().zip(receipts) {
        if let Some(row) = row {
            tell(&mut content, change, decode(&row)?);
        }
    }
    Ok(content.into())
}

/// A receipt as other servers are told of it.
pub(crate) struct Sent {
    pub(crate) user: OwnedUserId,
    pub(crate) event_id: OwnedEventId,
    pub(crate) thread: Option<String>,
    pub(crate) ts: u64,
}

/// The receipt that changed at a position, unless it has changed again since.
pub(crate) async fn sent_at(server: &Server, room: RoomNumber, position: Position) -> Result<Option<Sent>, Error> {
    let change = server.ports.store.get_many(&[change_key(room, position)]).await?.pop().flatten();
    let Some(Change { user, kind, thread }) = change.map(|row| decode(&row)).transpose()? else { return Ok(None) };
    let row = server.ports.store.get_many(&[receipt_key(room, &user, &kind, thread.as_deref())]).await?.pop().flatten();
    let receipt: Option<StoredReceipt> = row.map(|row| decode(&row)).transpose()?;
    Ok(receipt.map(|receipt| Sent { user, event_id: receipt.event_id, thread, ts: receipt.ts }))
}

fn tell(content: &mut Map<String, Value>, change: Change, receipt: StoredReceipt) {
    let of_event = content.entry(receipt.event_id.as_str()).or_insert_with(|| json!({}));
    let of_kind = of_event.as_object_mut().map(|kinds| kinds.entry(change.kind).or_insert_with(|| json!({})));
    let Some(users) = of_kind.and_then(Value::as_object_mut) else { return };
    match change.thread {
        // There is place for one of a user's receipts at an event. The one for the whole room says more.
        Some(thread) => drop(users.entry(change.user.as_str()).or_insert_with(|| json!({ "ts": receipt.ts, "thread_id": thread }))),
        None => drop(users.insert(change.user.into(), json!({ "ts": receipt.ts }))),
    }
}

/// Up to where a user has read a room, by public or private receipt, whichever is ahead.
pub(crate) async fn own_read_positions(server: &Server, room: &Room, user: &UserId) -> Result<ReadPositions, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::Receipts).number(room.number.0).text(user.as_str()))).await?;
    let mut read = ReadPositions::default();
    for row in &rows {
        let thread = thread_of_key(&row.key).ok_or_else(|| Error::bug("a key of a receipt does not fit"))?;
        let receipt: StoredReceipt = decode(&row.value)?;
        let upto = read.0.entry(thread).or_default();
        *upto = receipt.read_upto.max(*upto);
    }
    Ok(read)
}

fn thread_of_key(key: &[u8]) -> Option<Option<String>> {
    let mut reader = KeyReader::new(key);
    reader.number()?;
    reader.text()?;
    reader.text()?;
    Some(Some(reader.text()?).filter(|thread| !thread.is_empty()))
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(row).map_err(|error| Error::bug(format!("a stored receipt: {error}")))
}

fn receipt_key(room: RoomNumber, user: &UserId, kind: &str, thread: Option<&str>) -> Key {
    Key::new(Table::Receipts).number(room.0).text(user.as_str()).text(kind).text(thread.unwrap_or_default())
}

fn change_key(room: RoomNumber, position: Position) -> Key {
    Key::new(Table::ReceiptLog).number(room.0).number(position.0)
}
