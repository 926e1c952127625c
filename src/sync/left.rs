//! Rooms that the user is not joined to: invitations, knocks and what was left.

use std::{rc::Rc, sync::Arc};

use ruma::events::StateEventType;
use serde_json::{Value, json};

use super::{
    joined::trimmed,
    rooms::RoomOfUser,
    state::{self, Wanted},
    timeline,
    window::{Window, state_at},
};
use crate::{
    client_event::stripped_event,
    error::Error,
    room_server::{EventNumber, Need, Position, Room, View, snapshot::Snapshot, stored::StoredEvent},
    server::Server,
    tokens::TopologicalToken,
};

/// What somebody who is not in the room yet is told of it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
const STRIPPED: [StateEventType; 7] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
];

/// The stripped state of a room that the user was invited to or has knocked on.
pub(crate) async fn stripped_state(server: &Server, room: &RoomOfUser) -> Result<Vec<Value>, Error> {
    let member = room.membership.event;
    let events = server.rooms.ask(&room.room, |view| {
        let member = view.event(member)?;
        let mut events = stripped_events(view, member.decided.after, &member)?;
        events.push(member);
        Ok(events)
    });
    Ok(events.await?.iter().map(stripped_event).collect())
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
pub(crate) async fn left_room(server: &Rc<Server>, window: &Window, room: &RoomOfUser) -> Result<Value, Error> {
    let RoomOfUser { room, membership } = room;
    let upto = membership.position;
    let known = match window.since {
        Some(since) => Some(state_at(server, room, since.position).await?).filter(|state| *state != Snapshot::default()),
        None => None,
    };
    let from = if known.is_some() { window.start() } else { Position(0) };
    let was_joined = was_joined(server, room, window, membership.event).await?;
    let timeline = timeline::read(server, room, window, timeline::Range { from, upto, joined_since: was_joined }).await?;
    let at = if window.state.is_after() { state_at(server, room, upto).await? } else { timeline.before };
    let known = if window.full_state { None } else { known };
    let wanted = Wanted { known, at, timeline: &timeline, heroes: &[] };
    let state = state::events(server, room, window, &wanted).await?;
    let state = timeline::state_events(server, room, window, &state).await?;
    let events = timeline::client_events(server, room, window, &timeline.events).await?;
    let prev_batch = timeline.events.first().map(|event| TopologicalToken::before(event).to_string());
    let state_section = window.state.name();
    Ok(json!({
        state_section: { "events": trimmed(window, state) },
        "timeline": { "events": trimmed(window, events), "limited": timeline.limited, "prev_batch": prev_batch.unwrap_or_default() },
        "account_data": { "events": [] },
    }))
}

/// Whether the user was joined until the event that ended it.
async fn was_joined(server: &Server, room: &Room, window: &Window, leave: EventNumber) -> Result<bool, Error> {
    let before = server.rooms.ask(room, |view| {
        let before = view.event(leave)?.decided.before.event(view, &StateEventType::RoomMember, window.user.as_str())?;
        before.map(|number| view.event(number)).transpose()
    });
    Ok(before.await?.and_then(|event| event.pdu.content_str("membership")).as_deref() == Some("join"))
}
