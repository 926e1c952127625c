//! Receipts: up to which event each user has read each room, in the whole or in one thread.
//!
//! Each receipt's row holds its position in the log. A second table has a room's receipts in the order of their positions,
//! so that a reader finds those that are new without looking at the rest.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>

mod kept;

use std::rc::Rc;

use ruma::{OwnedEventId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

pub(crate) use self::kept::KeptReceipts;
use self::kept::{KeptReceipt, RoomReceipts};
use crate::{
    error::Error,
    log::{Output, Positions},
    ordered::OrderedMap,
    parse,
    room_server::{Position, Room, RoomNumber, stored::StoredEvent},
    server::Server,
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
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
    pub(crate) event_id: OwnedEventId,
    /// Where in the log that event is; `None` where another server tells of an event that is not shown here, or not yet.
    pub(crate) read_upto: Option<Position>,
    /// When it was read, as another server says; `None` for now.
    pub(crate) ts: Option<u64>,
}

/// A receipt as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredReceipt {
    #[serde(rename = "e")]
    event_id: OwnedEventId,
    /// Where in the log that event is, if that was known when the receipt came.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    read_upto: Option<Position>,
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
pub(crate) struct ReadPositions(OrderedMap<Option<String>, Position>);

impl ReadPositions {
    fn of<'a>(receipts: impl Iterator<Item = &'a KeptReceipt>) -> Self {
        let mut read = Self::default();
        for KeptReceipt { whose, receipt, .. } in receipts {
            let upto = read.0.entry(whose.thread.clone()).or_default();
            *upto = receipt.read_upto.unwrap_or_default().max(*upto);
        }
        read
    }

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

impl NewReceipt {
    /// The receipt that a user has read up to an event that is shown here.
    pub(crate) fn of(kind: &'static str, thread: Option<String>, event: &StoredEvent) -> Self {
        Self { kind, thread, event_id: event.pdu.event_id.clone(), read_upto: Some(event.decided.position), ts: None }
    }

    /// Whether it is further on than one that there is. What has no place here is compared by the time at which it was read.
    fn is_ahead_of(&self, old: &StoredReceipt, now: u64) -> bool {
        match (old.read_upto, self.read_upto) {
            (Some(old), Some(new)) => old < new,
            _ => old.ts < self.ts.unwrap_or(now) && old.event_id != self.event_id,
        }
    }
}

/// Stores those of a user's receipts that are ahead of what they replace.
pub(crate) async fn add(server: &Server, room: &Room, user: &UserId, receipts: Vec<NewReceipt>) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let keys: Vec<_> = receipts.iter().map(|new| receipt_key(room.number, user, new.kind, new.thread.as_deref())).collect();
    let rows = server.ports.store.get_many(&keys).await?;
    let (now, mut ahead) = (server.now(), Vec::new());
    for (new, row) in receipts.into_iter().zip(rows) {
        let old: Option<StoredReceipt> = row.map(|row| decode(&row)).transpose()?;
        if old.as_ref().is_none_or(|old| new.is_ahead_of(old, now)) {
            ahead.push((new, old));
        }
    }
    if ahead.is_empty() {
        return Ok(());
    }
    let (room, kept) = (room.number, Rc::clone(&server.receipts));
    let appending = server.log.append_and_publish(|positions| {
        let mut batch = Batch::new();
        let written: Vec<_> = ahead.into_iter().map(|(new, old)| write(room, user, new, old, now, positions, &mut batch)).collect();
        let publish = move || written.into_iter().for_each(|receipt| kept.borrow_mut().commit(room, receipt));
        (batch, Box::new(publish))
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
) -> KeptReceipt {
    let NewReceipt { kind, thread, event_id, read_upto, ts } = new;
    let position = positions.assign(Output::Receipt { room, user: user.to_owned(), private: kind == READ_PRIVATE });
    if let Some(old) = old {
        batch.delete(change_key(room, old.position));
    }
    // A clock that is ahead would otherwise keep later ones out.
    let receipt = StoredReceipt { event_id, read_upto, ts: ts.map_or(now, |ts| ts.min(now)), position };
    let key = receipt_key(room, user, kind, thread.as_deref());
    let whose = Change { user: user.to_owned(), kind: kind.to_owned(), thread };
    batch.put_json(key.clone(), &receipt);
    batch.put_json(change_key(room, position), &whose);
    KeptReceipt { key: key.bytes, whose, receipt }
}

/// The content of an `m.receipt` event that tells a user of what has changed behind `since` and up to `upto`: of everybody's
/// receipts, but only of their own private ones.
pub(crate) async fn changed_since(server: &Server, room: &Room, since: Position, upto: Position, user: &UserId) -> Result<Value, Error> {
    if since == Position(0) {
        return all(server, room, upto, user).await;
    }
    let key = |position: Position| change_key(room.number, Position(position.0 + 1));
    let rows = server.ports.store.scan(&Scan::range(key(since), key(upto))).await?;
    let changes: Vec<Change> = rows.iter().map(|row| decode(&row.value)).collect::<Result<_, _>>()?;
    let changes: Vec<_> = changes.into_iter().filter(|change| change.kind != READ_PRIVATE || change.user == user).collect();
    let key = |change: &Change| receipt_key(room.number, &change.user, &change.kind, change.thread.as_deref());
    let receipts = server.ports.store.get_many(&changes.iter().map(key).collect::<Vec<_>>()).await?;
    let mut content = Map::new();
    for (change, row) in changes.into_iter().zip(receipts) {
        if let Some(row) = row {
            tell(&mut content, &change, &decode(&row)?);
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

/// The same for somebody who has been told of nothing yet.
async fn all(server: &Server, room: &Room, upto: Position, user: &UserId) -> Result<Value, Error> {
    let tell_all = |receipts: &RoomReceipts| {
        let mut content = Map::new();
        for KeptReceipt { whose, receipt, .. } in receipts {
            if receipt.position <= upto && (whose.kind != READ_PRIVATE || whose.user == user) {
                tell(&mut content, whose, receipt);
            }
        }
        content.into()
    };
    if let Some(receipts) = server.receipts.borrow().of_room(room.number) {
        return Ok(tell_all(receipts));
    }
    let commits = server.receipts.borrow().commits();
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::Receipts).number(room.number.0))).await?;
    let receipts = rows.into_iter().map(read_row).collect::<Result<_, _>>()?;
    let told = tell_all(&receipts);
    server.receipts.borrow_mut().keep(room.number, receipts, commits);
    Ok(told)
}

fn tell(content: &mut Map<String, Value>, change: &Change, receipt: &StoredReceipt) {
    let of_event = content.entry(receipt.event_id.as_str()).or_insert_with(|| json!({}));
    let of_kind = of_event.as_object_mut().map(|kinds| kinds.entry(change.kind.as_str()).or_insert_with(|| json!({})));
    let Some(users) = of_kind.and_then(Value::as_object_mut) else { return };
    match &change.thread {
        // There is place for one of a user's receipts at an event. The one for the whole room says more.
        Some(thread) => drop(users.entry(change.user.as_str()).or_insert_with(|| json!({ "ts": receipt.ts, "thread_id": thread }))),
        None => drop(users.insert(change.user.to_string(), json!({ "ts": receipt.ts }))),
    }
}

/// Up to where a user has read a room, by public or private receipt, whichever is ahead.
pub(crate) async fn own_read_positions(server: &Server, room: &Room, user: &UserId) -> Result<ReadPositions, Error> {
    let prefix = Key::new(Table::Receipts).number(room.number.0).text(user.as_str());
    if let Some(receipts) = server.receipts.borrow().of_room(room.number) {
        let begin = receipts.partition_point(|receipt| receipt.key < prefix.bytes);
        let own = receipts.iter().skip(begin).take_while(|receipt| receipt.whose.user == user);
        return Ok(ReadPositions::of(own));
    }
    let rows = server.ports.store.scan(&Scan::prefix(prefix)).await?;
    let own = rows.into_iter().map(read_row).collect::<Result<RoomReceipts, _>>()?;
    Ok(ReadPositions::of(own.iter()))
}

fn read_row(row: Row) -> Result<KeptReceipt, Error> {
    let whose = whose(&row.key).ok_or_else(|| Error::bug("a key of a receipt does not fit"))?;
    Ok(KeptReceipt { whose, receipt: decode(&row.value)?, key: row.key })
}

fn whose(key: &[u8]) -> Option<Change> {
    let mut reader = KeyReader::new(key);
    reader.number()?;
    let user = UserId::parse(reader.text()?).ok()?;
    Some(Change { user, kind: reader.text()?, thread: Some(reader.text()?).filter(|thread| !thread.is_empty()) })
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    parse::json(row).map_err(|error| Error::bug(format!("a stored receipt: {error}")))
}

fn receipt_key(room: RoomNumber, user: &UserId, kind: &str, thread: Option<&str>) -> Key {
    Key::new(Table::Receipts).number(room.0).text(user.as_str()).text(kind).text(thread.unwrap_or_default())
}

fn change_key(room: RoomNumber, position: Position) -> Key {
    Key::new(Table::ReceiptLog).number(room.0).number(position.0)
}
