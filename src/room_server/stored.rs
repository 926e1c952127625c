//! A stored event: the PDU, and what the room server decided about it.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    number::{EventNumber, Position, RoomNumber},
    snapshot::Snapshot,
};
use crate::{
    error::Error,
    event::{DEFAULT_ROOM_VERSION, Pdu, RoomVersion},
    parse,
};

/// What became of an event on receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Part of the room.
    #[serde(rename = "a")]
    Accepted,
    /// Allowed by its own place in the graph, but not by the current state: kept, not shown, and nothing builds on it.
    #[serde(rename = "s")]
    SoftFailed,
    /// Not allowed: kept, so that it need not be judged again.
    #[serde(rename = "r")]
    Rejected,
    /// Known only because other events name it: no state before it is known.
    #[serde(rename = "o")]
    Outlier,
    /// What another server said of a local user's membership of a room that this server is not in. It authorises nothing, and is
    /// judged if it comes again as an event of the room.
    #[serde(rename = "u")]
    Unjudged,
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its number.
    pub number: EventNumber,
    /// Its room.
    pub room: RoomNumber,
    /// The event, redacted if it was.
    pub pdu: Arc<Pdu>,
    /// What the room server decided.
    pub decided: Decided,
}

/// What the room server decided about an event, and learnt since.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// What became of it on receipt.
    #[serde(rename = "s")]
    pub status: Status,
    /// Where in the log it is; zero for what clients are not told.
    #[serde(rename = "p")]
    pub position: Position,
    /// The room's state before it.
    #[serde(rename = "b")]
    pub before: Snapshot,
    /// The room's state after it.
    #[serde(rename = "a")]
    pub after: Snapshot,
    /// Whether events before it were missing when it came, so that the order of arrival breaks off before it.
    #[serde(rename = "g", default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// Whether it came well after it was sent, when what others had written meanwhile was here already.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether it was asked for by itself, so that nobody knows yet whether it is before or behind what is here. It is told to who
    /// asks for it, and as far as the graph is concerned it is still to come.
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
    /// The state event in whose place it came.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<EventNumber>,
    /// The redaction that redacted it.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub redacted_by: Option<EventNumber>,
    /// The device and transaction that sent it from here.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<(String, String)>,
}

#[derive(Serialize)]
struct Row<'a> {
    i: &'a EventId,
    r: RoomNumber,
    d: &'a Decided,
    e: &'a RawValue,
}

#[derive(Deserialize)]
struct OwnedRow {
    i: OwnedEventId,
    r: RoomNumber,
    d: Decided,
    e: Box<RawValue>,
}

/// An event of which somebody has told, who may have told of another version than the room has.
fn read_told(id: OwnedEventId, json: &RawValue, version: &RoomVersion) -> Result<Pdu, Error> {
    let others = [DEFAULT_ROOM_VERSION.as_str(), "1"].into_iter().filter_map(RoomVersion::parse);
    let mut read = [version.clone()].into_iter().chain(others).map(|version| Pdu::read(id.clone(), json.to_owned(), &version));
    read.find(Result::is_ok).unwrap_or_else(|| Err(Error::bug(format!("{id} is an event of no version"))))
}

impl StoredEvent {
    /// The event as its row holds it.
    pub fn encode(&self) -> Vec<u8> {
        let row = Row { i: &self.pdu.event_id, r: self.room, d: &self.decided, e: &self.pdu.json };
        serde_json::to_vec(&row).unwrap_or_default()
    }

    /// The room that a row's event is in, before the room's version is known.
    pub fn room_of(row: &[u8]) -> Option<RoomNumber> {
        #[derive(Deserialize)]
        struct RoomOnly {
            r: RoomNumber,
        }
        parse::json::<RoomOnly>(row).ok().map(|row| row.r)
    }

    /// The event of a row.
    pub fn decode(number: EventNumber, row: &[u8], version: &RoomVersion) -> Result<Self, Error> {
        let row: OwnedRow = parse::json(row).map_err(|error| Error::bug(format!("stored event {}: {error}", number.0)))?;
        let mut pdu = match row.d.status {
            Status::Unjudged => read_told(row.i, &row.e, version)?,
            _ => Pdu::read(row.i, row.e, version)?,
        };
        pdu.rejected = row.d.status == Status::Rejected;
        Ok(Self { number, room: row.r, pdu: Arc::new(pdu), decided: row.d })
    }

    /// Whether clients may ever see it.
    pub fn is_shown(&self) -> bool {
        self.decided.status == Status::Accepted
    }
}
