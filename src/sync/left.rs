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
    sight::{Sight, was_joined_before},
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

/// The part of a sync about a room that the user is invited to, unless they ignore who invites them.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>
pub(crate) async fn invited_room(server: &Server, window: &Window, room: &RoomOfUser) -> Result<Option<Sections>, Error> {
    if is_ignored(server, window, room).await? {
        return Ok(None);
    }
    Ok(Some(Sections::of("invite_state", &json!({ "events": stripped_state(server, room).await? }))))
}

/// Whether this is an invitation by somebody whom the user ignores.
pub(super) async fn is_ignored(server: &Server, window: &Window, room: &RoomOfUser) -> Result<bool, Error> {
    if room.membership.membership != "invite" {
        return Ok(false);
    }
    let number = room.membership.event;
    let event = server.rooms.ask(&room.room, |view| view.event(number)).await?;
    Ok(window.rules.ignores_sender(&event.pdu.sender))
}

/// The last position up to which the user was in a room that they are not in any more; zero for who never was.
pub(super) async fn joined_until(server: &Server, window: &Window, room: &RoomOfUser) -> Result<Position, Error> {
    let RoomOfUser { room, membership } = room;
    if was_joined_before(server, room, &window.user, membership).await? {
        return Ok(membership.position);
    }
    Ok(Sight::of(server, room, &window.user).await?.joined_until().unwrap_or_default())
}

/// The part of a sync about a room that the user left: what happened up to then.
pub(crate) async fn left_room(server: &Rc<Server>, window: &Window, room: &RoomOfUser) -> Result<Sections, Error> {
    let joined_until = joined_until(server, window, room).await?;
    let RoomOfUser { room, membership } = room;
    let range = timeline::Range { from: window.start(), upto: membership.position, joined_until };
    let timeline = timeline::read(server, room, window, range).await?;
    // Who was only invited, or banned, is told nothing of what the room is like.
    let begins_in_stay = timeline.events.first().is_some_and(|event| event.decided.position <= joined_until);
    let at = if begins_in_stay && !window.state.is_after() { timeline.before } else { state_at(server, room, joined_until).await? };
    let known = match window.since {
        Some(since) if !window.full_state => {
            Some(state_at(server, room, since.position.min(joined_until)).await?).filter(|state| *state != Snapshot::default())
        }
        _ => None,
    };
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
