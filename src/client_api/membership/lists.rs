//! Who is in a room, and which rooms somebody is in.

use ruma::{UserId, events::StateEventType};
use serde_json::{Map, Value, json};

use crate::{
    client_api::{
        Call,
        readable_state::{is_joined, readable_state},
    },
    client_event::{RoomId, state_event},
    error::Error,
    gather::Gather,
    history,
    http::Response,
    profiles::rooms_of,
    room_server::{
        EventNumber, Room, View,
        commit::{members_prefix, timeline_key},
        snapshot::Snapshot,
        stored::StoredEvent,
        view::collect,
    },
    sections::Sections,
    server::Server,
    sight::Sight,
    storage::Scan,
    tokens::TopologicalToken,
};

const MEMBERSHIPS: [&str; 5] = ["join", "invite", "knock", "leave", "ban"];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>
pub(super) async fn joined_rooms(call: Call) -> Result<Response, Error> {
    let rooms = rooms_of(&call.server, call.user()?).await?;
    let rooms: Vec<_> = rooms.iter().filter(|(_, membership)| membership == "join").map(|(room, _)| &room.id).collect();
    Ok(Response::ok(&json!({ "joined_rooms": rooms })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>
pub(super) async fn members(call: Call) -> Result<Response, Error> {
    let (wanted, unwanted) = (membership_parameter(&call, "membership")?, membership_parameter(&call, "not_membership")?);
    // With both parameters, either is enough.
    let is_wanted = |membership: &str| match (wanted, unwanted) {
        (None, None) => true,
        _ => wanted == Some(membership) || unwanted.is_some_and(|unwanted| unwanted != membership),
    };
    let room = call.room_of_member(0).await?;
    let state = match call.query("at") {
        Some(token) => state_at(&call.server, &room, call.user()?, token).await?,
        None => readable_state(&call.server, &room, call.user()?).await?,
    };
    let memberships: Vec<_> = MEMBERSHIPS.into_iter().filter(|membership| is_wanted(membership)).collect();
    let events = member_events(&call.server, &room, state, &memberships).await?;
    let viewer = call.viewer()?;
    let render = |view: &View<'_>| {
        let events = view.events(events.iter().copied())?;
        collect(events.iter(), |event| state_event(view, event, viewer, RoomId::Named))
    };
    let chunk = call.server.rooms.ask(&room, render).await?;
    Ok(Response::ok(&Sections::of("chunk", &chunk)))
}

/// The state behind the last event before a token's place.
async fn state_at(server: &Server, room: &Room, user: &UserId, token: &str) -> Result<Snapshot, Error> {
    let sight = Sight::of_reader(server, room, user).await?;
    let place = history::locate(server, room, token).await?.min(sight.end());
    if place == TopologicalToken::END {
        return Ok(room.head().current);
    }
    let (start, end) = (timeline_key(room.number, 0, EventNumber(0)), timeline_key(room.number, place.depth, place.event));
    let rows = server.ports.store.scan(&Scan::range(start, end).reversed().limited(1)).await?;
    let Some(last) = rows.first().and_then(history::place) else { return Ok(Snapshot::default()) };
    let look = |view: &View<'_>| {
        let event = view.event(last.event)?;
        Ok(sight.sees(view, &event)?.then_some(event.decided.after))
    };
    server.rooms.ask(room, look).await?.ok_or_else(|| Error::forbidden("You may not see the room as it was then."))
}

fn membership_parameter<'a>(call: &'a Call, name: &str) -> Result<Option<&'a str>, Error> {
    match call.query(name) {
        Some(value) if !MEMBERSHIPS.contains(&value) => Err(Error::invalid_param(format!("{value:?} is no membership."))),
        value => Ok(value),
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>
pub(super) async fn joined_members(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let user = call.user()?;
    if !call.server.rooms.ask(&room, |view| is_joined(view, &room, user)).await? {
        return Err(Error::forbidden("You are not in this room."));
    }
    let numbers = current_members(&call.server, &room, &["join"]).await?;
    let events = call.server.rooms.events(&room, &numbers).await?;
    let joined: Map<String, Value> =
        events.iter().filter_map(|event| Some((event.pdu.state_key.clone()?, shown_as(event.pdu.content_as())))).gather();
    Ok(Response::ok(&json!({ "joined": joined })))
}

/// How a member is shown, in the words of that endpoint.
fn shown_as(content: Value) -> Value {
    let field = |name: &str, from: &str| Some((name.to_owned(), content.get(from)?.as_str()?.into()));
    [field("display_name", "displayname"), field("avatar_url", "avatar_url")].into_iter().flatten().gather::<Map<_, _>>().into()
}

/// The membership events of a state with one of these memberships.
async fn member_events(server: &Server, room: &Room, state: Snapshot, memberships: &[&str]) -> Result<Vec<EventNumber>, Error> {
    if state == room.head().current {
        return current_members(server, room, memberships).await;
    }
    let question = |view: &View<'_>| {
        let entries = state.entries(view)?.into_iter().filter(|entry| entry.kind == StateEventType::RoomMember);
        let events = view.events(entries.map(|entry| entry.event))?;
        let wanted = |event: &StoredEvent| event.pdu.content_str("membership").is_some_and(|is| memberships.contains(&is.as_str()));
        Ok(events.iter().filter(|event| wanted(event)).map(|event| event.number).collect())
    };
    server.rooms.ask(room, question).await
}

/// The same of the current state, where an index has them: the work follows the answer, not the room.
async fn current_members(server: &Server, room: &Room, memberships: &[&str]) -> Result<Vec<EventNumber>, Error> {
    let mut events = Vec::new();
    for membership in memberships {
        let rows = server.ports.store.scan(&Scan::prefix(members_prefix(room.number, membership))).await?;
        events.extend(rows.iter().filter_map(|row| EventNumber::from_bytes(&row.value)));
    }
    Ok(events)
}
