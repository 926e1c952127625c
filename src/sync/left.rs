//! Rooms that the user is not joined to: invitations, knocks and what was left.

use std::{rc::Rc, sync::Arc};

use ruma::{UserId, events::StateEventType};
use serde_json::{Value, json};

use super::{
    rooms::RoomOfUser,
    state::{self, Wanted},
    timeline,
    window::{Window, state_at},
};
use crate::{
    client_event::{STRIPPED, stripped_event},
    error::Error,
    parse,
    room_server::{
        Need, Position, View,
        outside::told_state_key,
        snapshot::Snapshot,
        stored::{Status, StoredEvent},
    },
    sections::Sections,
    server::Server,
    sight::was_joined_before,
    tokens::TopologicalToken,
};

/// The stripped state of a room that the user was invited to or has knocked on.
pub(crate) async fn stripped_state(server: &Server, room: &RoomOfUser) -> Result<Vec<Value>, Error> {
    let number = room.membership.event;
    let events = server.rooms.ask(&room.room, |view| {
        let member = view.event(number)?;
        let mut events = if member.decided.status == Status::Unjudged {
            told_state(view, &member)?
        } else {
            stripped_events(view, member.decided.after, &member)?.iter().map(stripped_event).collect()
        };
        events.push(stripped_event(&member));
        Ok(events)
    });
    events.await
}

/// What came with an invitation or a knock, where this server is not in the room.
fn told_state(view: &View<'_>, member: &StoredEvent) -> Result<Vec<Value>, Need> {
    let Some(user) = member.pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok()) else { return Ok(Vec::new()) };
    let row = view.row(&told_state_key(member.room, &user))?;
    Ok(row.and_then(|row| parse::json(&row).ok()).unwrap_or_default())
}

fn stripped_events(view: &View<'_>, state: Snapshot, member: &StoredEvent) -> Result<Vec<Arc<StoredEvent>>, Need> {
    let mut numbers = Vec::new();
    for kind in STRIPPED {
        numbers.extend(state.event(view, &kind, "")?);
    }
    // Who invites is told with a name and a face.
    numbers.extend(state.event(view, &StateEventType::RoomMember, member.pdu.sender.as_str())?.filter(|number| *number != member.number));
    view.events(numbers.into_iter())
}

/// The part of a sync about a room that the user left: what happened up to then.
pub(crate) async fn left_room(server: &Rc<Server>, window: &Window, room: &RoomOfUser) -> Result<Sections, Error> {
    let RoomOfUser { room, membership } = room;
    let upto = membership.position;
    let known = match window.since {
        Some(since) => Some(state_at(server, room, since.position).await?).filter(|state| *state != Snapshot::default()),
        None => None,
    };
    let from = if known.is_some() { window.start() } else { Position(0) };
    let was_joined = was_joined_before(server, room, &window.user, membership).await?;
    let timeline = timeline::read(server, room, window, timeline::Range { from, upto, joined_since: was_joined }).await?;
    let at = if window.state.is_after() { state_at(server, room, upto).await? } else { timeline.before };
    let known = if window.full_state { None } else { known };
    let wanted = Wanted { known, at, timeline: &timeline, heroes: &[] };
    let state = state::events(server, room, window, &wanted).await?;
    let state = timeline::state_events(server, room, window, &state).await?;
    let events = timeline::client_events(server, room, window, &timeline.events).await?;
    let prev_batch = timeline.events.first().map(|event| TopologicalToken::before(event).to_string());
    let mut part = Sections::default();
    part.insert(window.state.name(), &Sections::of("events", &timeline::told(window, &state)));
    let mut told = Sections::of("events", &timeline::told(window, &events));
    told.insert("limited", &timeline.limited);
    told.insert("prev_batch", &prev_batch.unwrap_or_default());
    part.insert("timeline", &told);
    part.insert("account_data", &json!({ "events": [] }));
    Ok(part)
}
