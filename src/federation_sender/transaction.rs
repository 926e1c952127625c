//! A transaction: a stretch of the log as a destination is told of it.
//!
//! The transaction's ID follows from the stretch, and its content from the log, so that a transaction which is repeated after a
//! failure or a restart is the same, and the destination takes it once.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use std::rc::Rc;

use ruma::{OwnedEventId, RoomId, ServerName};
use serde_json::{Value, json};

use super::{destination::Item, progress::Stretch};
use crate::{
    error::Error,
    identity::Identity,
    keys::told,
    log::Output,
    presence, receipts,
    room_server::{EventNumber, Position, Room, RoomNumber, commit::read_room_log_row},
    server::Server,
    storage::{Key, Scan, Table},
    to_device,
};

/// A transaction has so many bytes of events at most, but for one that is larger by itself: a relay takes no larger requests.
const MAX_BYTES: usize = 512 * 1024;

/// The ID of the transaction that tells a stretch.
pub(crate) fn id_of(stretch: &Stretch, identity: &Identity) -> String {
    format!("{}.{}.{}.{}", identity.incarnation(), stretch.start, stretch.after.0, stretch.upto.0)
}

/// The stretch that a transaction of this ID tells, if it is one of this database's.
pub(crate) fn stretch_of(id: &str, identity: &Identity) -> Option<Stretch> {
    let mut parts = id.split('.');
    let incarnation = parts.next().filter(|incarnation| *incarnation == identity.incarnation());
    let (start, after, upto) = (parts.next()?, parts.next()?, parts.next()?);
    let position = |text: &str| text.parse().ok().map(Position);
    let stretch = Stretch { start: start.into(), after: position(after)?, upto: position(upto)? };
    incarnation.filter(|_| parts.next().is_none()).map(|_| stretch)
}

/// The ID of a transaction that has no place in the log, and is made anew where it fails.
pub(crate) fn id_of_notes(server: &Server, serial: u64) -> String {
    format!("{}.{}.n{serial}", server.identity.incarnation(), server.boot)
}

/// What a transaction says.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) positions: Vec<Position>,
    /// Whether there was no room for all of it.
    pub(crate) is_cut: bool,
    /// The events, and where in the log they are.
    pub(crate) events: Vec<(OwnedEventId, Position)>,
    pdus: Vec<Value>,
    edus: Vec<Value>,
}

impl Content {
    /// What these items say to another server, in order, as far as they have room in one transaction.
    pub(crate) async fn of(server: &Server, items: &[Item]) -> Result<Self, Error> {
        let mut content = Self::default();
        let mut bytes = 0;
        for (position, output) in items {
            let Some(part) = part(server, *position, output).await? else { continue };
            bytes += part.bytes();
            if bytes > MAX_BYTES && !content.positions.is_empty() {
                content.is_cut = true;
                break;
            }
            content.positions.push(*position);
            match part {
                Part::Pdu(id, pdu) => {
                    content.events.push((id, *position));
                    content.pdus.push(pdu);
                }
                Part::Edu(edu) => content.edus.push(edu),
            }
        }
        Ok(content)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The request's body.
    pub(crate) fn body(self, made_at: u64, origin: &ServerName) -> Value {
        body(origin, made_at, self.pdus, self.edus)
    }
}

/// A transaction as it is sent.
pub(crate) fn body(origin: &ServerName, made_at: u64, pdus: Vec<Value>, edus: Vec<Value>) -> Value {
    let mut body = json!({ "origin": origin, "origin_server_ts": made_at, "pdus": pdus });
    if let (false, Some(body)) = (edus.is_empty(), body.as_object_mut()) {
        body.insert("edus".into(), edus.into());
    }
    body
}

enum Part {
    Pdu(OwnedEventId, Value),
    Edu(Value),
}

impl Part {
    fn bytes(&self) -> usize {
        let (Self::Pdu(_, value) | Self::Edu(value)) = self;
        value.to_string().len()
    }
}

async fn part(server: &Server, position: Position, output: &Output) -> Result<Option<Part>, Error> {
    match output {
        Output::Event { room, event, .. } => Ok(Some(pdu(server, *room, *event).await?)),
        Output::Receipt { room, .. } => Ok(receipt(server, *room, position).await?.map(Part::Edu)),
        Output::Devices { user, device, prev } => {
            let content = told::device_list_update(server, user, device, position, *prev).await?;
            Ok(Some(edu("m.device_list_update", content)))
        }
        Output::SigningKeys { user } => Ok(Some(edu("m.signing_key_update", told::signing_key_update(server, user).await?))),
        Output::Presence { user } => {
            let told = presence::told_at(server, user, position).await?;
            Ok(told.map(|told| edu("m.presence", json!({ "push": [told] }))))
        }
        Output::ToDeviceRemote { destination } => {
            let content = to_device::outgoing(&*server.ports.store, destination, position).await?;
            Ok(content.map(|content| edu("m.direct_to_device", content)))
        }
        _ => Ok(None),
    }
}

fn edu(kind: &str, content: Value) -> Part {
    Part::Edu(json!({ "edu_type": kind, "content": content }))
}

async fn pdu(server: &Server, room: RoomNumber, event: EventNumber) -> Result<Part, Error> {
    let room = server.rooms.room_by_number(room, event).await?;
    let event = server.rooms.events(&room, &[event]).await?.pop().ok_or_else(|| Error::bug("an event of the log is gone"))?;
    let pdu = serde_json::from_str(event.pdu.json.get()).map_err(|error| Error::bug(format!("a stored event: {error}")))?;
    Ok(Part::Pdu(event.pdu.event_id.clone(), pdu))
}

/// The receipt that was sent at a position, if no later one has taken its place since.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#receipts>
async fn receipt(server: &Server, room: RoomNumber, position: Position) -> Result<Option<Value>, Error> {
    let Some(sent) = receipts::sent_at(server, room, position).await? else { return Ok(None) };
    let Some(room) = room_of_number(server, room).await? else { return Ok(None) };
    Ok(Some(receipt_edu(&room.id, sent)))
}

/// The room of a number, by its last event.
pub(super) async fn room_of_number(server: &Server, number: RoomNumber) -> Result<Option<Rc<Room>>, Error> {
    let last = Scan::prefix(Key::new(Table::RoomLog).number(number.0)).reversed().limited(1);
    let rows = server.ports.store.scan(&last).await?;
    let Some((event, _)) = rows.first().and_then(|row| read_room_log_row(&row.value)) else { return Ok(None) };
    Ok(Some(server.rooms.room_by_number(number, event).await?))
}

fn receipt_edu(room: &RoomId, sent: receipts::Sent) -> Value {
    let mut data = json!({ "ts": sent.ts });
    if let (Some(thread), Some(data)) = (sent.thread, data.as_object_mut()) {
        data.insert("thread_id".into(), thread.into());
    }
    let receipt = json!({ "data": data, "event_ids": [sent.event_id] });
    json!({ "edu_type": "m.receipt", "content": { room.as_str(): { "m.read": { sent.user.as_str(): receipt } } } })
}
