//! Finding the event of a room that was sent at about some time.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use std::{rc::Rc, sync::Arc};

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    federation,
    filter::EventFilter,
    history::{self, Direction, Range, place},
    http::{Method, Response},
    room_server::{EventNumber, Room, commit::timeline_key, stored::StoredEvent},
    server::Server,
    sight::{Looker, Sight},
    storage::Scan,
    tokens::TopologicalToken,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/{version}/rooms/{roomId}/timestamp_to_event",
    access: Access::Token,
    handler: handler!(timestamp_to_event),
}];

/// Times run nearly along with the timeline. So many events to either side are looked at for one that is still closer.
const NEIGHBOURS: usize = 50;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>
async fn timestamp_to_event(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let sight = Sight::of_reader(&call.server, &room, call.user()?).await?;
    let time = call.query_number("ts")?.ok_or_else(|| Error::missing_param("ts must be a time in milliseconds."))?;
    let direction = Direction::parse(call.query("dir").ok_or_else(|| Error::missing_param("dir must be f or b."))?)?;
    let mut found = closest(&call.server, &room, &sight, time, direction).await?;
    if sight.is_joined() && is_next_to_gap(&call.server, &room, found.as_deref(), time, direction).await? {
        found = closest_of_all(&call, &room, &sight, found, time, direction).await?;
    }
    let found = found.ok_or_else(|| Error::not_found("There is no event in that direction."))?;
    Ok(Response::ok(&json!({ "event_id": found.pdu.event_id, "origin_server_ts": found.pdu.origin_server_ts })))
}

/// Whether an event may be missing here that is closer to the time than what was found.
async fn is_next_to_gap(server: &Server, room: &Room, found: Option<&StoredEvent>, time: u64, direction: Direction) -> Result<bool, Error> {
    let Some(found) = found else { return Ok(true) };
    let middle = first_at(server, room, time).await?;
    // A gap lies before the event that it belongs to, and so does what is missing in it.
    let (from, to) = match direction {
        Direction::Forward => (TopologicalToken::after(found), middle),
        Direction::Backward => (middle.next(), TopologicalToken::after(found)),
    };
    Ok(to < from && federation::last_gap(server, room, from, to).await?.is_some())
}

/// The closer of what was found here and what others find, which is brought here.
async fn closest_of_all(
    call: &Call,
    room: &Rc<Room>,
    sight: &Sight<'_>,
    found: Option<Arc<StoredEvent>>,
    time: u64,
    direction: Direction,
) -> Result<Option<Arc<StoredEvent>>, Error> {
    let server = &call.server;
    let Some(told) = federation::event_of_time(server, room, time, direction).await? else { return Ok(found) };
    if found.as_ref().is_some_and(|found| found.pdu.origin_server_ts.abs_diff(time) <= told.origin_server_ts.abs_diff(time)) {
        return Ok(found);
    }
    call.find_if_missing(room, &told.event_id).await?;
    let brought = server.rooms.ask(room, |view| {
        let Some(event) = view.event_by_id(&told.event_id)? else { return Ok(None) };
        Ok(sight.sees(view, &event)?.then_some(event))
    });
    // What it says of its time is what counts, whatever the other server has said.
    let brought = brought.await?.filter(|event| event.pdu.origin_server_ts == told.origin_server_ts);
    Ok(brought.or(found))
}

/// The event closest to a time among those before it, or among those behind it.
pub(crate) async fn closest(
    server: &Server,
    room: &Room,
    sight: &dyn Looker,
    time: u64,
    direction: Direction,
) -> Result<Option<Arc<StoredEvent>>, Error> {
    let middle = first_at(server, room, time).await?;
    let mut near = Vec::new();
    for side in [Direction::Backward, Direction::Forward] {
        let range = Range::from(side, middle);
        near.extend(history::page(server, room, sight, range, &EventFilter::default(), NEIGHBOURS).await?.events);
    }
    let distance = |event: &Arc<StoredEvent>| match direction {
        Direction::Forward => event.pdu.origin_server_ts.checked_sub(time),
        Direction::Backward => time.checked_sub(event.pdu.origin_server_ts),
    };
    let near = near.into_iter().filter_map(|event| Some((distance(&event)?, event)));
    // Of several events of one time, the one that a walk in this direction meets first.
    Ok(near.min_by_key(|(distance, event)| (*distance, nearness(direction, event))).map(|(_, event)| event))
}

fn nearness(direction: Direction, event: &StoredEvent) -> TopologicalToken {
    let TopologicalToken { depth, event } = TopologicalToken::before(event);
    match direction {
        Direction::Forward => TopologicalToken { depth, event },
        Direction::Backward => TopologicalToken { depth: u64::MAX - depth, event: EventNumber(u64::MAX - event.0) },
    }
}

/// The place of the first event that was sent at that time or later, as if times never ran back: halved by depth.
async fn first_at(server: &Server, room: &Room, time: u64) -> Result<TopologicalToken, Error> {
    let mut found = TopologicalToken::END;
    let (mut low, mut high) = (0, deepest(room).saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match first_from(server, room, middle).await? {
            Some(event) if event.pdu.origin_server_ts < time => low = event.pdu.depth.saturating_add(1),
            Some(event) => {
                found = TopologicalToken::before(&event);
                high = middle;
            }
            None => high = middle,
        }
    }
    Ok(found)
}

fn deepest(room: &Room) -> u64 {
    room.head().extremities.iter().map(|extremity| extremity.depth).max().unwrap_or_default()
}

/// The first event of that depth or deeper.
async fn first_from(server: &Server, room: &Room, depth: u64) -> Result<Option<Arc<StoredEvent>>, Error> {
    let key = |depth, event| timeline_key(room.number, depth, EventNumber(event));
    let rows = server.ports.store.scan(&Scan::range(key(depth, 0), key(u64::MAX, u64::MAX)).limited(1)).await?;
    let Some(place) = rows.first().and_then(place) else { return Ok(None) };
    Ok(server.rooms.events(room, &[place.event]).await?.pop())
}
