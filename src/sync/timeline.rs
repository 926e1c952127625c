//! A room's timeline in a window: the last events that the client may and wants to see.

use std::sync::Arc;

use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::window::Window;
use crate::{
    client_event::{ClientEvent, RoomId, client_event, state_event},
    error::Error,
    filter::{EventFormat, keep_fields},
    room_server::{
        Position, Room,
        room_log::{self, LogRow},
        snapshot::Snapshot,
        stored::StoredEvent,
        view::collect,
    },
    server::Server,
    visibility::is_visible,
};

/// Events of a timeline when the client does not say how many.
const DEFAULT_LIMIT: usize = 10;

/// The most events of one room in one answer, so that an answer stays of a size that a client can take in.
const MAX_LIMIT: usize = 200;

/// So many events are looked at for one timeline, however few of them pass the filter; then the timeline is limited.
const MAX_SCANNED: usize = 1_000;

/// The last events of a window, oldest first.
pub(crate) struct Timeline {
    pub(crate) events: Vec<Arc<StoredEvent>>,
    /// Whether older events of the window were left out, or are missing here.
    pub(crate) limited: bool,
    /// The room's state before the first event.
    pub(crate) before: Snapshot,
}

/// Which part of a room's log is read.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    /// The position behind which it begins.
    pub(crate) from: Position,
    /// The last position.
    pub(crate) upto: Position,
    /// The last position up to which the user was in the room, and may look back.
    pub(crate) joined_until: Position,
}

/// Of who is in the room now.
pub(crate) const STILL_JOINED: Position = Position(u64::MAX);

/// Reads the timeline of a room, newest events first until the limit is reached.
pub(crate) async fn read(server: &Server, room: &Room, window: &Window, range: Range) -> Result<Timeline, Error> {
    let Range { from, upto, joined_until } = range;
    let filter = &window.filter.room.timeline;
    if !filter.allows_room(room.id.as_str()) {
        return Ok(Timeline { events: Vec::new(), limited: false, before: super::window::state_at(server, room, upto).await? });
    }
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let mut walk = Walk { server, room, from, next: upto, scanned: 0 };
    let mut kept: Vec<(LogRow, Arc<StoredEvent>)> = Vec::new();
    let mut limited = false;
    'pages: while let Some(page) = walk.page(limit + 1).await? {
        let events = looked_at(server, room, window, &page, joined_until).await?;
        for (place, LookedAt { event, sight }) in page.into_iter().zip(events) {
            // A client has state from the timeline, too: what it may not see of that would be unknown to it for good.
            let is_hidden_state = sight == Sight::Hidden && event.pdu.state_key.is_some();
            if (is_hidden_state && !kept.is_empty()) || (sight == Sight::Wanted && kept.len() == limit) {
                limited = true;
                break 'pages;
            }
            if sight == Sight::Wanted {
                kept.push((place, Arc::clone(&event)));
            }
            if event.decided.gap {
                limited = true;
                break 'pages;
            }
        }
        if walk.next <= from {
            break;
        }
        if walk.scanned >= MAX_SCANNED {
            limited = true;
            break;
        }
    }
    let before = match kept.last() {
        // What is missing before it has no place in the room's log: the state before it there is an older one. The state behind
        // it has all that came to be known with it.
        Some((place, event)) if event.decided.gap => place.after,
        Some((place, _)) => super::window::state_at(server, room, Position(place.position.0 - 1)).await?,
        None => super::window::state_at(server, room, upto).await?,
    };
    kept.reverse();
    Ok(Timeline { events: kept.into_iter().map(|(_, event)| event).collect(), limited, before })
}

/// Walks a range of a room's log backwards in pages.
struct Walk<'a> {
    server: &'a Server,
    room: &'a Room,
    from: Position,
    next: Position,
    scanned: usize,
}

impl Walk<'_> {
    async fn page(&mut self, size: usize) -> Result<Option<Vec<LogRow>>, Error> {
        let page = room_log::newest_first(&*self.server.ports.store, self.room, self.from, self.next, size).await?;
        let Some(last) = page.last() else { return Ok(None) };
        // A page that is not full is the last one.
        self.next = if page.len() < size { self.from } else { Position(last.position.0 - 1) };
        self.scanned += page.len();
        Ok(Some(page))
    }
}

/// An event, and whether the client gets to see it.
struct LookedAt {
    event: Arc<StoredEvent>,
    sight: Sight,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Wanted,
    /// The client's filter leaves it out.
    Filtered,
    /// The user may not see it.
    Hidden,
}

/// The events of a page.
async fn looked_at(server: &Server, room: &Room, window: &Window, page: &[LogRow], joined_until: Position) -> Result<Vec<LookedAt>, Error> {
    let filter = &window.filter.room.timeline;
    server
        .rooms
        .ask(room, |view| {
            let events = view.events(page.iter().map(|place| place.event))?;
            collect(events.into_iter(), |event| {
                let pdu = &event.pdu;
                let passes =
                    !window.rules.ignores(pdu) && filter.allows(&pdu.kind.to_string(), pdu.sender.as_str(), || pdu.content_as::<Value>());
                let joined_since = event.decided.position <= joined_until;
                let sight = match passes || pdu.state_key.is_some() {
                    true if !is_visible(view, &event, &window.user, joined_since)? => Sight::Hidden,
                    true if passes => Sight::Wanted,
                    _ => Sight::Filtered,
                };
                Ok(LookedAt { event, sight })
            })
        })
        .await
}

/// Events of a state as the client sees them.
pub(crate) async fn state_events(
    server: &Server,
    room: &Room,
    window: &Window,
    events: &[Arc<StoredEvent>],
) -> Result<Vec<ClientEvent>, Error> {
    server.rooms.ask(room, |view| collect(events.iter(), |event| state_event(view, event, window.viewer(), RoomId::Implied))).await
}

/// The timeline's events as the client sees them.
pub(crate) async fn client_events(
    server: &Server,
    room: &Room,
    window: &Window,
    events: &[Arc<StoredEvent>],
) -> Result<Vec<ClientEvent>, Error> {
    server.rooms.ask(room, |view| collect(events.iter(), |event| client_event(view, event, window.viewer(), RoomId::Implied))).await
}

/// What is told of events: in the format that the client asked for, all of it or only some fields.
pub(crate) fn told(window: &Window, events: &[ClientEvent]) -> Box<RawValue> {
    let fields = window.filter.event_fields.as_deref();
    let told = match window.filter.event_format {
        Some(EventFormat::Federation) => to_raw_value(&chosen(events, ClientEvent::to_federation_format, fields)),
        _ if fields.is_some() => to_raw_value(&chosen(events, ClientEvent::to_value, fields)),
        _ => to_raw_value(events),
    };
    told.unwrap_or_default()
}

fn chosen(events: &[ClientEvent], form: fn(&ClientEvent) -> Value, fields: Option<&[String]>) -> Vec<Value> {
    let told = events.iter().map(form);
    let keep = |event| match fields {
        Some(fields) => keep_fields(&event, fields),
        None => event,
    };
    told.map(keep).collect()
}
