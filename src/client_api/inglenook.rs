//! This server's own endpoints, by which the demo shows people what their server does. Any local user may ask.

use std::sync::Arc;

use ruma::{UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{Access, Call, Route, handler};
use crate::{
    arrange::Arrange,
    erasure::content_for,
    error::Error,
    gather::Gather,
    http::{Method, Response},
    log::Output,
    pending_joins,
    ports::TableUsage,
    room_server::{
        EventNumber, Need, Position, Room, RoomNumber, View,
        stored::{Status, StoredEvent},
    },
    server::Server,
    storage::{Key, KeyReader, Row, Scan, Table},
    visibility::is_visible,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_inglenook/health", access: Access::Public, handler: handler!(health) },
    Route { method: Method::Get, path: "/_inglenook/status", access: Access::Token, handler: handler!(status) },
    Route { method: Method::Get, path: "/_inglenook/requests", access: Access::Token, handler: handler!(requests) },
    Route { method: Method::Get, path: "/_inglenook/log", access: Access::Token, handler: handler!(log) },
    Route { method: Method::Get, path: "/_inglenook/rooms/{roomId}/graph", access: Access::Token, handler: handler!(graph) },
    Route { method: Method::Get, path: "/_inglenook/pending_joins", access: Access::Token, handler: handler!(pending_joins) },
    Route {
        method: Method::Delete,
        path: "/_inglenook/pending_joins/{roomId}",
        access: Access::Token,
        handler: handler!(give_up_pending_join),
    },
];

const DEFAULT_LIMIT: u64 = 100;

/// The most entries or events of one answer.
const MAX_LIMIT: u64 = 1_000;

/// So many of the events that were received last, in any room, are looked through for those that were refused.
const MAX_RECEIVED: usize = 1_000;

/// Whether the server is there and can read what it keeps: the answer is an error where it cannot.
async fn health(call: Call) -> Result<Response, Error> {
    call.server.ports.store.get_many(&[Key::new(Table::Meta)]).await?;
    Ok(Response::ok(&json!({ "ok": true })))
}

/// What the server is and what it holds, in rows and, with `bytes=true`, in bytes, which takes reading all of it.
async fn status(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let tables = server.ports.store.usage(call.query_bool("bytes")?.unwrap_or(false)).await?;
    Ok(Response::ok(&json!({
        "server_name": server.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "log_position": server.log.end().0,
        "rooms": rows(&tables, Table::Rooms),
        "users": rows(&tables, Table::Accounts),
        "started_at": server.started_at,
        "tables": tables,
    })))
}

fn rows(tables: &[TableUsage], table: Table) -> u64 {
    tables.iter().find(|usage| usage.name == table.name()).map_or(0, |usage| usage.rows)
}

/// The caller's joins that wait for somebody who is in the room, and those that were refused in the end.
async fn pending_joins(call: Call) -> Result<Response, Error> {
    let joins = pending_joins::of_user(&call.server, call.user()?).await?;
    let shown = joins.into_iter().map(|(room_id, join)| {
        let mut shown = json!({ "room_id": room_id, "servers": join.servers, "since": join.since });
        if let (Some(refused), Some(shown)) = (join.refused, shown.as_object_mut()) {
            shown.insert("refused".into(), refused.into());
        }
        shown
    });
    Ok(Response::ok(&json!({ "pending_joins": shown.collect::<Vec<_>>() })))
}

/// Gives up a join that waits.
async fn give_up_pending_join(call: Call) -> Result<Response, Error> {
    match pending_joins::give_up(&call.server, call.user()?, &call.room_id(0)?).await? {
        true => Ok(Response::empty()),
        false => Err(Error::not_found("No join of that room waits.")),
    }
}

/// The last requests, newest first.
async fn requests(call: Call) -> Result<Response, Error> {
    let requests = call.server.recent_requests.borrow();
    let requests: Vec<_> = requests.newest_first().collect();
    Ok(Response::ok(&json!({ "requests": requests })))
}

/// Entries of the log from a position on, or the last ones, oldest first.
async fn log(call: Call) -> Result<Response, Error> {
    let limit = limit(&call)?;
    let last = || (call.server.log.end().0 + 1).saturating_sub(limit as u64);
    let from = Position(call.query_number("from")?.unwrap_or_else(last));
    let mut entries = Vec::new();
    for (position, output) in call.server.log.read(from, limit).await? {
        let mut entry = shown_output(&call.server, output).await?;
        entry.insert("position".into(), position.0.into());
        entries.push(entry);
    }
    Ok(Response::ok(&json!({ "entries": entries, "end": call.server.log.end().0 })))
}

fn limit(call: &Call) -> Result<usize, Error> {
    let limit = call.query_number("limit")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    usize::try_from(limit).map_err(|_| Error::invalid_param("This limit is too large."))
}

async fn shown_output(server: &Server, output: Output) -> Result<Map<String, Value>, Error> {
    let entry = match output {
        Output::Event { room, event, added, removed, .. } => {
            let room = server.rooms.room_by_number(room, event).await?;
            let id = server.rooms.events(&room, &[event]).await?.pop().map(|event| event.pdu.event_id.clone());
            json!({ "kind": "event", "room_id": room.id, "event_id": id, "added": added.len(), "removed": removed.len() })
        }
        Output::AccountData { user, room } => json!({ "kind": "account_data", "user_id": user, "room_id": room }),
        Output::Receipt { room, user, private } => {
            let room = room_of_number(server, room).await?;
            json!({ "kind": "receipt", "room_id": room, "user_id": user, "private": private })
        }
        Output::Devices { user, device, .. } => json!({ "kind": "devices", "user_id": user, "device_id": device }),
        Output::ToDevice { user, device } => json!({ "kind": "to_device", "user_id": user, "device_id": device }),
        Output::ToDeviceRemote { destination } => json!({ "kind": "to_device_remote", "destination": destination }),
        Output::SigningKeys { user } => json!({ "kind": "signing_keys", "user_id": user }),
        Output::UserSignature { user, of } => json!({ "kind": "user_signature", "user_id": user, "of": of }),
        Output::RemoteDevices { user } => json!({ "kind": "remote_devices", "user_id": user }),
        Output::Presence { user } => json!({ "kind": "presence", "user_id": user }),
    };
    match entry {
        Value::Object(entry) => Ok(entry.into_iter().filter(|(_, value)| !value.is_null()).gather()),
        _ => Err(Error::bug("an entry is an object")),
    }
}

async fn room_of_number(server: &Server, number: RoomNumber) -> Result<Option<String>, Error> {
    let newest = Scan::prefix(Key::new(Table::Timeline).number(number.0)).reversed().limited(1);
    let Some(event) = server.ports.store.scan(&newest).await?.first().and_then(event_of_timeline_row) else { return Ok(None) };
    Ok(Some(server.rooms.room_by_number(number, event).await?.id.to_string()))
}

/// The newest part of a room's graph, for a member of the room: also what was refused, as far as it came with the rest.
async fn graph(call: Call) -> Result<Response, Error> {
    let (server, user) = (&call.server, call.user()?);
    let room = call.room(0).await?;
    let (head, limit) = (room.head(), limit(&call)?);
    let newest = Scan::prefix(Key::new(Table::Timeline).number(room.number.0)).reversed().limited(limit);
    let mut numbers: Vec<_> = server.ports.store.scan(&newest).await?.iter().filter_map(event_of_timeline_row).collect();
    numbers.extend(lately_received(server, &room, numbers.iter().min()).await?);
    let shown = server.rooms.ask(&room, |view| {
        if !is_joined(view, &room, user)? {
            return Ok(None);
        }
        let mut events = view.events(numbers.iter().copied())?;
        events.retain(|event| !matches!(event.decided.status, Status::Outlier | Status::Unjudged));
        events.arrange_by_key(|event| (event.pdu.depth, event.number));
        events.dedup_by_key(|event| event.number);
        let newest = events.iter().skip(events.len().saturating_sub(limit));
        newest.map(|event| graph_event(view, event, user)).collect::<Result<Vec<_>, _>>().map(Some)
    });
    let events = shown.await?.ok_or_else(|| Error::forbidden("You are not a member of this room."))?;
    let extremities: Vec<_> = head.extremities.iter().map(|extremity| &extremity.id).collect();
    Ok(Response::ok(&json!({ "events": events, "forward_extremities": extremities })))
}

/// The room's events among those that this server received last, no further back than one of them. What was refused is in no
/// other table.
async fn lately_received(server: &Server, room: &Room, from: Option<&EventNumber>) -> Result<Vec<EventNumber>, Error> {
    let Some(from) = from else { return Ok(Vec::new()) };
    let key = |number| Key::new(Table::Events).number(number);
    let newest = Scan::range(key(from.0), key(u64::MAX)).reversed().limited(MAX_RECEIVED);
    let rows = server.ports.store.scan(&newest).await?;
    let of_room = rows.iter().filter(|row| StoredEvent::room_of(&row.value) == Some(room.number));
    Ok(of_room.filter_map(|row| KeyReader::new(&row.key).number().map(EventNumber)).collect())
}

fn event_of_timeline_row(row: &Row) -> Option<EventNumber> {
    let mut key = KeyReader::new(&row.key);
    let (_room, _depth) = (key.number()?, key.number()?);
    key.number().map(EventNumber)
}

fn is_joined(view: &View<'_>, room: &Room, user: &UserId) -> Result<bool, Need> {
    let member = room.head().current.event(view, &StateEventType::RoomMember, user.as_str())?;
    let member = member.map(|number| view.event(number)).transpose()?;
    Ok(member.and_then(|event| event.pdu.content_str("membership")).as_deref() == Some("join"))
}

/// Fields that only servers see.
#[derive(Deserialize)]
struct ServerFields {
    hashes: Option<Box<RawValue>>,
    signatures: Option<Box<RawValue>>,
}

fn name_of(status: Status) -> &'static str {
    match status {
        Status::Accepted => "accepted",
        Status::SoftFailed => "soft_failed",
        Status::Rejected => "rejected",
        Status::Outlier => "outlier",
        Status::Unjudged => "unjudged",
    }
}

/// An event with its place in the graph; with its content, where the user may see that.
fn graph_event(view: &View<'_>, event: &Arc<StoredEvent>, user: &UserId) -> Result<Value, Need> {
    let (pdu, decided) = (&event.pdu, &event.decided);
    let fields: Option<ServerFields> = serde_json::from_str(pdu.json.get()).ok();
    let (hashes, signatures) = fields.map_or((None, None), |fields| (fields.hashes, fields.signatures));
    let content = if event.is_shown() && is_visible(view, event, user, true)? { Some(content_for(view, event, user)?) } else { None };
    Ok(json!({
        "event_id": pdu.event_id, "type": pdu.kind.to_string(), "state_key": pdu.state_key, "sender": pdu.sender,
        "depth": pdu.depth, "origin_server_ts": pdu.origin_server_ts,
        "prev_events": pdu.prev_events, "auth_events": pdu.auth_events,
        "hashes": hashes, "signatures": signatures, "content": content,
        "status": name_of(decided.status),
        "position": decided.position.0, "state": pdu.state_key.is_some(),
    }))
}
