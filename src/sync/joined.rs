//! A joined room's part of a sync.

use std::rc::Rc;

use ruma::events::StateEventType;
use serde_json::{Value, json};

use super::{
    rooms::RoomOfUser,
    state::{self, Wanted},
    summary::Summary,
    timeline::{self, STILL_JOINED, Timeline},
    window::{Window, state_at},
};
use crate::{
    account_data::ChangedAccountData,
    error::Error,
    log::Output,
    push, receipts, relations,
    room_server::{Position, Room, snapshot::Snapshot},
    sections::Sections,
    server::Server,
    tokens::TopologicalToken,
};

/// The part of a sync about one joined room, or `None` where there is nothing to tell.
pub(crate) async fn joined_room(
    server: &Rc<Server>,
    window: &Window,
    room: &RoomOfUser,
    account_data: &[ChangedAccountData],
) -> Result<Option<Sections>, Error> {
    let known = known_state(server, window, room).await?;
    let (of_user, room) = (room, &room.room);
    let from = if known.is_some() { window.start() } else { Position(0) };
    let has_news = known.is_none() || window.full_state || room.head().position > from;
    let mut part = Sections::default();
    if has_news {
        let timeline =
            timeline::read(server, room, window, timeline::Range { from, upto: window.upto, joined_until: STILL_JOINED }).await?;
        add_timeline(server, window, room, known, timeline, &mut part).await?;
    }
    let ephemeral = ephemeral(server, window, room, from).await?;
    let account_data = room_account_data(window, room, account_data);
    if has_news || !ephemeral.is_empty() || !account_data.is_empty() {
        part.insert("ephemeral", &json!({ "events": ephemeral }));
        part.insert("account_data", &json!({ "events": account_data }));
        push::unread::add_counts(server, window, of_user, &mut part).await?;
        for section in ["timeline", window.state.name()] {
            if !part.has(section) {
                part.insert(section, &json!({ "events": [] }));
            }
        }
    }
    Ok((!part.is_empty()).then_some(part))
}

/// The state that the client knows of the room, or `None` where the room is new to it.
async fn known_state(server: &Server, window: &Window, room: &RoomOfUser) -> Result<Option<Snapshot>, Error> {
    let Some(since) = window.since else { return Ok(None) };
    let state = state_at(server, &room.room, since.position).await?;
    if room.membership.position <= since.position {
        return Ok(Some(state));
    }
    // The membership event is newer than the window's start; it may be a change of name of somebody long joined.
    let member = server.rooms.ask(&room.room, |view| {
        let number = state.event(view, &StateEventType::RoomMember, window.user.as_str())?;
        number.map(|number| view.event(number)).transpose()
    });
    let was_joined = member.await?.and_then(|event| event.pdu.content_str("membership")).as_deref() == Some("join");
    Ok(was_joined.then_some(state))
}

async fn add_timeline(
    server: &Rc<Server>,
    window: &Window,
    room: &Rc<Room>,
    known: Option<Snapshot>,
    timeline: Timeline,
    part: &mut Sections,
) -> Result<(), Error> {
    let known_to_client = if window.full_state { None } else { known };
    let after = state_at(server, room, window.upto).await?;
    let at = if window.state.is_after() { after } else { timeline.before };
    let tells_members = known_to_client.is_none() || members_changed(server, room, known, after).await?;
    let summary = if tells_members { Some(Summary::read(server, room, window).await?) } else { None };
    let heroes = summary.as_ref().map(|summary| summary.heroes.clone()).unwrap_or_default();
    let wanted = Wanted { known: known_to_client, at, timeline: &timeline, heroes: &heroes };
    let state = state::events(server, room, window, &wanted).await?;
    let state = timeline::state_events(server, room, window, &state).await?;
    let mut events = timeline::client_events(server, room, window, &timeline.events).await?;
    relations::bundle(server, room, window.viewer(), &mut events).await?;
    let prev_batch = timeline.events.first().map(|event| TopologicalToken::before(event).to_string());
    part.insert(window.state.name(), &Sections::of("events", &timeline::told(window, &state)));
    let mut told = Sections::of("events", &timeline::told(window, &events));
    told.insert("limited", &timeline.limited);
    told.insert_some("prev_batch", prev_batch);
    part.insert("timeline", &told);
    part.insert_some("summary", summary.map(|summary| summary.to_json()));
    Ok(())
}

async fn members_changed(server: &Server, room: &Room, known: Option<Snapshot>, after: Snapshot) -> Result<bool, Error> {
    let Some(known) = known else { return Ok(true) };
    let difference = server.rooms.ask(room, |view| known.difference(after, view)).await?;
    Ok(difference.keys().any(|(kind, _)| *kind == StateEventType::RoomMember))
}

async fn ephemeral(server: &Rc<Server>, window: &Window, room: &Rc<Room>, from: Position) -> Result<Vec<Value>, Error> {
    let filter = &window.filter.room.ephemeral;
    let mut events = Vec::new();
    if !filter.allows_room(room.id.as_str()) {
        return Ok(events);
    }
    let is_receipt = |output: &Output| matches!(output, Output::Receipt { room: of, .. } if *of == room.number);
    if filter.allows_type("m.receipt") && server.log.any_since(from, is_receipt) {
        let receipts = receipts::changed_since(server, room, from, window.upto, &window.user).await?;
        if receipts.as_object().is_some_and(|receipts| !receipts.is_empty()) {
            events.push(json!({ "type": "m.receipt", "content": receipts }));
        }
    }
    if filter.allows_type("m.typing") {
        let since = window.since.map(|since| since.typing).unwrap_or_default();
        if let Some(users) = server.typing.borrow().changed_since(room.number, since) {
            events.push(json!({ "type": "m.typing", "content": { "user_ids": users } }));
        }
    }
    events.truncate(filter.most());
    Ok(events)
}

fn room_account_data(window: &Window, room: &Room, changed: &[ChangedAccountData]) -> Vec<Value> {
    let filter = &window.filter.room.account_data;
    let wanted = changed.iter().filter(|data| filter.allows_room(room.id.as_str()) && filter.allows_type(&data.kind));
    wanted.take(filter.most()).map(|data| json!({ "type": data.kind, "content": data.content })).collect()
}
