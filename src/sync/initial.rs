//! The original API's start: all rooms, or one room, at once. Deprecated, still specified, and told by the same streams.

use std::{rc::Rc, sync::Arc};

use serde_json::json;

use super::{
    handler::token,
    left::{is_ignored, joined_until},
    rooms::{RoomOfUser, rooms_of},
    state::{self, Wanted},
    timeline::{self, Range, STILL_JOINED, Timeline},
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
    let window = window(&call).await?;
    let archived = call.query_bool("archived")?.unwrap_or(false);
    let mut rooms = Vec::new();
    for room in rooms_of(server, &window.user).await? {
        let is_left = matches!(room.membership.membership.as_str(), "leave" | "ban");
        if (!is_left || (archived && !room.membership.forgotten)) && !is_ignored(server, &window, &room).await? {
            rooms.push(whole_room(server, &window, &room).await?);
        }
    }
    let data = account_data::all(server, &window.user).await?;
    let global: Vec<_> =
        data.iter().filter(|data| data.room.is_none()).map(|data| json!({ "type": data.kind, "content": data.content })).collect();
    let mut body = Sections::of("rooms", &rooms);
    body.insert("end", &token(server, Since { position: window.upto, typing: window.typing, ..Since::default() }));
    body.insert("presence", &json!([]));
    body.insert("account_data", &global);
    Ok(Response::ok(&body))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>
async fn room_initial_sync(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    let window = window(&call).await?;
    let id = call.room_id(0)?;
    let rooms = rooms_of(server, &window.user).await?;
    if let Some(room) = rooms.into_iter().find(|room| room.room.id == id && !room.membership.forgotten) {
        let told = whole_room(server, &window, &room).await?;
        if told.has("messages") || told.has("invite") {
            return Ok(Response::ok(&told));
        }
    }
    peek(server, &window, &call).await
}

/// Somebody who was never in the room may look at what all the world may read.
async fn peek(server: &Rc<Server>, window: &Window, call: &Call) -> Result<Response, Error> {
    let refusal = || Error::forbidden("You are not and were not a member of this room.");
    let room = server.rooms.room(&call.room_id(0)?).await?.ok_or_else(refusal)?;
    let current = room.head().current;
    if !server.rooms.ask(&room, |view| is_world_readable(view, current)).await? {
        return Err(refusal());
    }
    Ok(Response::ok(&contents(server, window, &room, window.upto, Position(0)).await?))
}

async fn window(call: &Call) -> Result<Window, Error> {
    let mut filter = Filter::default();
    filter.room.timeline.limit = call.query_number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut window = Window { full_state: true, state: StateSection::After, ..Window::new(call.caller()?, None, filter) };
    window.reach_now(&call.server).await?;
    Ok(window)
}

/// All that is told of one of the user's rooms. What is in it is told to who is there, or was.
async fn whole_room(server: &Rc<Server>, window: &Window, of_user: &RoomOfUser) -> Result<Sections, Error> {
    let RoomOfUser { room, membership } = of_user;
    let mut told = match membership.membership.as_str() {
        "join" => contents(server, window, room, window.upto, STILL_JOINED).await?,
        "leave" | "ban" => match joined_until(server, window, of_user).await? {
            Position(0) => Sections::default(),
            upto => contents(server, window, room, upto, upto).await?,
        },
        _ => Sections::of("invite", &event(server, window, room, membership.event).await?),
    };
    let data = account_data::of_room(server, &window.user, &room.id).await?;
    let data: Vec<_> = data.iter().map(|data| json!({ "type": data.kind, "content": data.content })).collect();
    told.insert("room_id", &room.id);
    told.insert("membership", &membership.membership);
    told.insert("account_data", &data);
    Ok(told)
}

async fn contents(server: &Rc<Server>, window: &Window, room: &Room, upto: Position, joined_until: Position) -> Result<Sections, Error> {
    let timeline = timeline::read(server, room, window, Range { from: Position(0), upto, joined_until }).await?;
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
