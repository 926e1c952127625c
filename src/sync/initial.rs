//! The original API's start: all rooms, or one room, at once. Deprecated, still specified, and told by the same streams.

use std::{rc::Rc, sync::Arc};

use serde_json::json;

use super::{
    handler::token,
    rooms::{RoomOfUser, rooms_of},
    state::{self, Wanted},
    timeline::{self, Range, Timeline},
    window::{Since, StateSection, Window, state_at},
};
use crate::{
    account_data,
    client_api::{Access, Call, Route, handler},
    client_event::{ClientEvent, RoomId, client_event},
    error::Error,
    filter::Filter,
    http::{Method, Response},
    room_server::{Position, Room, stored::StoredEvent, view::collect},
    sections::Sections,
    server::Server,
    tokens::TopologicalToken,
    visibility::is_world_readable,
};

pub(crate) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/initialSync", access: Access::Token, handler: handler!(initial_sync) },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/initialSync",
        access: Access::Token,
        handler: handler!(room_initial_sync),
    },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>
async fn initial_sync(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let window = window(&call)?;
    let archived = call.query_bool("archived")?.unwrap_or(false);
    let mut rooms = Vec::new();
    for room in rooms_of(server, &window.user).await? {
        let is_left = matches!(room.membership.membership.as_str(), "leave" | "ban");
        if !is_left || (archived && !room.membership.forgotten) {
            rooms.push(whole_room(server, &window, &room).await?);
        }
    }
    let data = account_data::all(server, &window.user).await?;
    let global: Vec<_> =
        data.iter().filter(|data| data.room.is_none()).map(|data| json!({ "type": data.kind, "content": data.content })).collect();
    let typing = server.typing.borrow().serial();
    let mut body = Sections::of("rooms", &rooms);
    body.insert("end", &token(server, Since { position: window.upto, typing, ..Since::default() }));
    body.insert("presence", &json!([]));
    body.insert("account_data", &global);
    Ok(Response::ok(&body))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>
async fn room_initial_sync(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let window = window(&call)?;
    let id = call.room_id(0)?;
    let rooms = rooms_of(server, &window.user).await?;
    match rooms.into_iter().find(|room| room.room.id == id && !room.membership.forgotten) {
        Some(room) => Ok(Response::ok(&whole_room(server, &window, &room).await?)),
        None => peek(server, &window, &call).await,
    }
}

/// Somebody who was never a member may look at what all the world may read.
async fn peek(server: &Rc<Server>, window: &Window, call: &Call) -> Result<Response, Error> {
    let refusal = || Error::forbidden("You are not and were not a member of this room.");
    let room = server.rooms.room(&call.room_id(0)?).await?.ok_or_else(refusal)?;
    let current = room.head().current;
    if !server.rooms.ask(&room, |view| is_world_readable(view, current)).await? {
        return Err(refusal());
    }
    Ok(Response::ok(&contents(server, window, &room, window.upto, true).await?))
}

fn window(call: &Call) -> Result<Window, Error> {
    let caller = call.caller()?;
    let mut filter = Filter::default();
    filter.room.timeline.limit = call.query_number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Window {
        user: caller.user.clone(),
        device: caller.device.clone(),
        since: None,
        upto: call.server.log.end(),
        now: call.server.now(),
        full_state: true,
        state: StateSection::After,
        filter,
    })
}

async fn whole_room(server: &Rc<Server>, window: &Window, room: &RoomOfUser) -> Result<Sections, Error> {
    let RoomOfUser { room, membership } = room;
    let mut told = match membership.membership.as_str() {
        "join" => contents(server, window, room, window.upto, true).await?,
        "leave" | "ban" => contents(server, window, room, membership.position, true).await?,
        _ => Sections::of("invite", &event(server, window, room, membership.event).await?),
    };
    let data = account_data::of_room(server, &window.user, &room.id).await?;
    let data: Vec<_> = data.iter().map(|data| json!({ "type": data.kind, "content": data.content })).collect();
    told.insert("room_id", &room.id);
    told.insert("membership", &membership.membership);
    told.insert("account_data", &data);
    Ok(told)
}

async fn contents(server: &Rc<Server>, window: &Window, room: &Room, upto: Position, joined_since: bool) -> Result<Sections, Error> {
    let timeline = timeline::read(server, room, window, Range { from: Position(0), upto, joined_since }).await?;
    let at = state_at(server, room, upto).await?;
    let state = state::events(server, room, window, &Wanted { known: None, at, timeline: &timeline, heroes: &[] }).await?;
    let end = Since { position: upto, ..Since::default() };
    let start = start_token(&timeline).unwrap_or_else(|| token(server, end));
    let mut messages = Sections::of("chunk", &named(server, window, room, &timeline.events).await?);
    messages.insert("start", &start);
    messages.insert("end", &token(server, end));
    let mut told = Sections::of("messages", &messages);
    told.insert("room_id", &room.id);
    told.insert("state", &named(server, window, room, &state).await?);
    told.insert("visibility", if server.directory.is_published(&room.id).await? { "public" } else { "private" });
    Ok(told)
}

fn start_token(timeline: &Timeline) -> Option<String> {
    timeline.events.first().map(|event| TopologicalToken::before(event).to_string())
}

/// Events that name their room, as all do in the original API.
pub(super) async fn named(server: &Server, window: &Window, room: &Room, events: &[Arc<StoredEvent>]) -> Result<Vec<ClientEvent>, Error> {
    server.rooms.ask(room, |view| collect(events.iter(), |event| client_event(view, event, window.viewer(), RoomId::Named))).await
}

async fn event(server: &Server, window: &Window, room: &Room, number: crate::room_server::EventNumber) -> Result<ClientEvent, Error> {
    server.rooms.ask(room, |view| client_event(view, &*view.event(number)?, window.viewer(), RoomId::Named)).await
}
