//! Joins from elsewhere.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::rc::Rc;

use ruma::{CanonicalJsonObject, OwnedServerName, OwnedUserId, UserId, events::StateEventType};

use super::{
    Access, Call, Route,
    auth_chain::AuthChain,
    handler,
    handshake::{self, Wish, check_version, handed_in, template, template_answer},
    pdus::{CHUNK, ObjectWriter},
    restricted::{authorising_user, check_authorisation},
};
use crate::{
    error::Error,
    federation::NODE_RECORDS,
    http::{Method, Response},
    ordered::OrderedSet,
    room_server::{Room, snapshot::Entry, stored::StoredEvent},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/federation/v1/make_join/{roomId}/{userId}",
        access: Access::Signed,
        handler: handler!(make_join),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/send_join/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(send_join_v1),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v2/send_join/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(send_join),
    },
];

/// So many members stand for a room without a name.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary>
const HEROES: usize = 5;

/// A state of so few events is told whole, also to who would do without most members: it is some dozen kB, and who was told all has
/// nothing left to ask for. Until it has asked, a server can do little in the room; and it can ask no more once its user is banned.
const SMALL_STATE: usize = 100;

/// Of so many residents the node records are told, some 400 kB. The others are asked for when they are wanted.
const MAX_RECORDS: usize = 1_000;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
async fn make_join(call: Call) -> Result<Response, Error> {
    let user = call.user_id(1)?;
    call.only_of_origin(&user)?;
    let room = call.open_room(0).await?;
    check_version(&call, &room)?;
    let mut content = serde_json::json!({ "membership": "join" });
    if let (Some(authorising), Some(content)) = (authorising_user(&call.server, &room, &user).await?, content.as_object_mut()) {
        content.insert("join_authorised_via_users_server".into(), authorising.as_str().into());
    }
    let template = template(&call.server, &room, &user, content).await?;
    Ok(template_answer(&room, &template))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
async fn send_join(call: Call) -> Result<Response, Error> {
    Ok(Response::bytes(200, "application/json", accept(&call).await?))
}

/// The same for servers of old, which expect the answer behind its status.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_joinroomideventid>
async fn send_join_v1(call: Call) -> Result<Response, Error> {
    let answer = [b"[200,".as_slice(), &accept(&call).await?, b"]"].concat();
    Ok(Response::bytes(200, "application/json", answer))
}

async fn accept(call: &Call) -> Result<Vec<u8>, Error> {
    let room = call.open_room(0).await?;
    let event = handed_in(call, &room, Wish::Join).await?;
    check_authorisation(&call.server, &room, event.pdu()).await?;
    let servers: Vec<_> = call.server.rooms.residents(&room).await?.keys().cloned().collect();
    let joined = handshake::admit(&call.server, &room, &event).await?;
    let mut told = told(&call.server, &room, &joined).await?;
    let omits = call.query("omit_members") == Some("true") && told.len() > SMALL_STATE;
    if omits {
        told = without_members(&call.server, &room, &joined, told).await?;
    }
    let mut body = ObjectWriter::new();
    body.field("event", &joined.pdu.json)?;
    body.field("members_omitted", &omits)?;
    if omits {
        body.field("servers_in_room", &servers)?;
    }
    let records = node_records(&call.server, &servers).await?;
    if !records.is_empty() {
        body.field(NODE_RECORDS, &records)?;
    }
    write_state(&call.server, &room, &joined, &told, omits, &mut body).await?;
    Ok(body.finish())
}

/// Where the residents are that nobody finds by their names: who joins has met none of them but this server.
async fn node_records(server: &Server, residents: &[OwnedServerName]) -> Result<Vec<CanonicalJsonObject>, Error> {
    let mut records = server.records.all_stored(residents.iter().take(MAX_RECORDS)).await?;
    records.extend(server.own_relays.record().filter(|_| !server.own_relays.urls().is_empty()));
    Ok(records)
}

/// Writes the state before the join as far as it is told, and what authorises it and the join.
async fn write_state(
    server: &Server,
    room: &Rc<Room>,
    joined: &StoredEvent,
    told: &[Entry],
    omits: bool,
    body: &mut ObjectWriter,
) -> Result<(), Error> {
    let mut chain = AuthChain::default();
    chain.follow(joined, room);
    body.begin_events("state");
    for chunk in told.chunks(CHUNK) {
        let numbers: Vec<_> = chunk.iter().map(|entry| entry.event).collect();
        for event in server.rooms.events(room, &numbers).await? {
            chain.follow(&event, room);
            if omits {
                chain.leave_out(&event.pdu.event_id);
            }
            body.event(&event.pdu.json);
        }
    }
    body.end_events();
    chain.write_events(server, room, body).await
}

/// The state before the join.
async fn told(server: &Server, room: &Rc<Room>, joined: &StoredEvent) -> Result<Vec<Entry>, Error> {
    let state = joined.decided.before;
    server.rooms.ask(room, |view| state.entries(view)).await
}

/// The same without most members.
async fn without_members(server: &Server, room: &Rc<Room>, joined: &StoredEvent, mut state: Vec<Entry>) -> Result<Vec<Entry>, Error> {
    let mut members: OrderedSet<OwnedUserId> = heroes(server, room, &state, &joined.pdu.sender).await?;
    members.insert(joined.pdu.sender.clone());
    state.retain(|entry| entry.kind != StateEventType::RoomMember || members.iter().any(|member| *member == entry.state_key));
    Ok(state)
}

/// The members by whom a room is shown that has no name.
async fn heroes(server: &Server, room: &Rc<Room>, entries: &[Entry], joining: &UserId) -> Result<OrderedSet<OwnedUserId>, Error> {
    let is_named = [StateEventType::RoomName, StateEventType::RoomCanonicalAlias];
    if entries.iter().any(|entry| is_named.contains(&entry.kind)) {
        return Ok(OrderedSet::new());
    }
    let members = entries.iter().filter(|entry| entry.kind == StateEventType::RoomMember && *joining != *entry.state_key);
    let mut heroes = OrderedSet::new();
    for chunk in members.map(|entry| entry.event).collect::<Vec<_>>().chunks(CHUNK) {
        for event in server.rooms.events(room, chunk).await? {
            if matches!(event.pdu.content_str("membership").as_deref(), Some("join" | "invite")) {
                heroes.extend(event.pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok()));
            }
            if heroes.len() == HEROES {
                return Ok(heroes);
            }
        }
    }
    Ok(heroes)
}
