//! Single events, and the state of a room at an event.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-events>

use std::{rc::Rc, sync::Arc};

use ruma::{EventId, OwnedEventId};
use serde_json::json;

use super::{
    Access, Call, Route,
    admission::is_shared,
    auth_chain::AuthChain,
    handler,
    pdus::{CHUNK, ObjectWriter, shown_to, transaction},
};
use crate::{
    client_api::closest,
    error::Error,
    history::Direction,
    http::{Method, Response},
    room_server::{
        EventNumber, Room,
        commit::{event_id_prefix, room_of_event_id},
        snapshot::Snapshot,
        stored::{Status, StoredEvent},
    },
    server::Server,
    server_sight::ServerSight,
    storage::Scan,
};

pub(super) const ROUTES: &[Route] = &[
    get("/_matrix/federation/v1/event/{eventId}", handler!(event)),
    get("/_matrix/federation/v1/state/{roomId}", handler!(state)),
    get("/_matrix/federation/v1/state_ids/{roomId}", handler!(state_ids)),
    get("/_matrix/federation/v1/timestamp_to_event/{roomId}", handler!(timestamp_to_event)),
];

const fn get(path: &'static str, handler: crate::route::Handler<Call>) -> Route {
    Route { method: Method::Get, path, access: Access::Signed, handler }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
async fn event(call: Call) -> Result<Response, Error> {
    let id = call.event_id(0)?;
    let (room, event) = find(&call, &id).await?.ok_or_else(|| Error::not_found("This server does not know that event."))?;
    let events = shown_to(&call.server, &room, call.origin()?, &[event]).await?;
    Ok(Response::bytes(200, "application/json", transaction(&call.server, &events)?))
}

/// The event of that ID, in a room that the caller is in. IDs of the first room versions are unique for each room only.
async fn find(call: &Call, id: &EventId) -> Result<Option<(Rc<Room>, Arc<StoredEvent>)>, Error> {
    let server = &call.server;
    for row in server.ports.store.scan(&Scan::prefix(event_id_prefix(id.as_str()))).await? {
        let (Some(room), Some(number)) = (room_of_event_id(&row), EventNumber::from_bytes(&row.value)) else { continue };
        let room = server.rooms.room_by_number(room, number).await?;
        if is_shared(server, &room, call.origin()?).await? {
            let event = server.rooms.event_by_id(&room, id).await?;
            return Ok(event.filter(|event| !event.pdu.rejected).map(|event| (room, event)));
        }
    }
    Ok(None)
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid>
async fn state(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let state = asked_state(&call, &room).await?;
    let mut body = ObjectWriter::new();
    let mut chain = AuthChain::default();
    body.begin_events("pdus");
    for chunk in numbers(&call.server, &room, state).await?.chunks(CHUNK) {
        for event in call.server.rooms.events(&room, chunk).await? {
            chain.follow(&event, &room);
            body.event(&event.pdu.json);
        }
    }
    body.end_events();
    chain.write_events(&call.server, &room, &mut body).await?;
    Ok(Response::bytes(200, "application/json", body.finish()))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid>
async fn state_ids(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let state = asked_state(&call, &room).await?;
    let mut chain = AuthChain::default();
    let mut pdu_ids: Vec<OwnedEventId> = Vec::new();
    for chunk in numbers(&call.server, &room, state).await?.chunks(CHUNK) {
        for event in call.server.rooms.events(&room, chunk).await? {
            chain.follow(&event, &room);
            pdu_ids.push(event.pdu.event_id.clone());
        }
    }
    let mut auth_chain_ids: Vec<OwnedEventId> = Vec::new();
    loop {
        let events = chain.next(&call.server, &room).await?;
        if events.is_empty() {
            break;
        }
        auth_chain_ids.extend(events.iter().map(|event| event.pdu.event_id.clone()));
    }
    Ok(Response::ok(&json!({ "pdu_ids": pdu_ids, "auth_chain_ids": auth_chain_ids })))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>
async fn timestamp_to_event(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let time = call.query_number("ts")?.ok_or_else(|| Error::missing_param("ts must be a time in milliseconds."))?;
    let direction = Direction::parse(call.query("dir").ok_or_else(|| Error::missing_param("dir must be f or b."))?)?;
    let sight = ServerSight::of(&room, call.origin()?.clone());
    let found = closest(&call.server, &room, &sight, time, direction).await?;
    let found = found.ok_or_else(|| Error::not_found("There is no event in that direction."))?;
    Ok(Response::ok(&json!({ "event_id": found.pdu.event_id, "origin_server_ts": found.pdu.origin_server_ts })))
}

/// The state before the event that the query names.
async fn asked_state(call: &Call, room: &Rc<Room>) -> Result<Snapshot, Error> {
    let id = call.query("event_id").ok_or_else(|| Error::missing_param("event_id must name an event of the room."))?;
    let id = EventId::parse(id).map_err(|_| Error::invalid_param(format!("{id:?} is no event ID.")))?;
    let event = call.server.rooms.event_by_id(room, &id).await?;
    let known = event.filter(|event| matches!(event.decided.status, Status::Accepted | Status::SoftFailed));
    Ok(known.ok_or_else(|| Error::not_found("This server does not know the state at that event."))?.decided.before)
}

/// The events of a state.
pub(super) async fn numbers(server: &Server, room: &Rc<Room>, state: Snapshot) -> Result<Vec<EventNumber>, Error> {
    let entries = server.rooms.ask(room, |view| state.entries(view)).await?;
    Ok(entries.into_iter().map(|entry| entry.event).collect())
}
