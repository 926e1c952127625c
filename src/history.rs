//! A room's history: the events that a user may and wants to see, page by page in topological order.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    error::Error,
    filter::EventFilter,
    room_server::{
        EventNumber, Position, Room, View,
        commit::{read_room_log_row, room_log_key, timeline_key},
        stored::StoredEvent,
        view::collect,
    },
    server::Server,
    sight::Looker,
    storage::{Key, KeyReader, Row, Scan},
    tokens::{Token, TopologicalToken},
};

/// So many events are looked at for one page, however few of them are seen and wanted; then the page ends early.
const MAX_SCANNED: usize = 1_000;

/// So many events are read at once: a usual page, and one more to know whether there are others.
const MAX_CHUNK: usize = 128;

/// So many of the last events before a position are looked at for the deepest one, since a branch may end below others.
const BRANCHES: usize = 20;

/// A direction through the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// A part of the history, and the direction in which it is walked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) direction: Direction,
    pub(crate) from: TopologicalToken,
    /// Where to stop.
    pub(crate) to: TopologicalToken,
}

/// A page of the history.
pub(crate) struct Page {
    /// The events in the order in which they were walked.
    pub(crate) events: Vec<Arc<StoredEvent>>,
    /// Where the next page begins; `None` at the end of the range.
    pub(crate) next: Option<TopologicalToken>,
}

impl Direction {
    /// Reads the parameter `dir`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "f" => Ok(Self::Forward),
            "b" => Ok(Self::Backward),
            _ => Err(Error::invalid_param("dir must be f or b.")),
        }
    }

    /// Where a walk begins if nothing else is said.
    pub(crate) fn origin(self) -> TopologicalToken {
        match self {
            Self::Forward => TopologicalToken::START,
            Self::Backward => TopologicalToken::END,
        }
    }

    /// Where a walk ends if nothing else is said.
    pub(crate) fn destination(self) -> TopologicalToken {
        match self {
            Self::Forward => TopologicalToken::END,
            Self::Backward => TopologicalToken::START,
        }
    }
}

impl Range {
    /// The whole history from a place on.
    pub(crate) fn from(direction: Direction, from: TopologicalToken) -> Self {
        Self { direction, from, to: direction.destination() }
    }

    /// Whether an event at that place is in the range.
    pub(crate) fn contains(self, place: TopologicalToken) -> bool {
        match self.direction {
            Direction::Forward => (self.from..self.to).contains(&place),
            Direction::Backward => (self.to..self.from).contains(&place),
        }
    }

    /// The rest of the range, behind the event at that place.
    pub(crate) fn behind(self, place: TopologicalToken) -> Self {
        let from = match self.direction {
            Direction::Forward => place.next(),
            Direction::Backward => place,
        };
        Self { from, ..self }
    }

    /// The range as a scan over rows whose keys end with depth and event.
    pub(crate) fn scan(self, key: impl Fn(u64, EventNumber) -> Key) -> Scan {
        let key = |token: TopologicalToken| key(token.depth, token.event);
        match self.direction {
            Direction::Forward => Scan::range(key(self.from), key(self.to)),
            Direction::Backward => Scan::range(key(self.to), key(self.from)).reversed(),
        }
    }
}

/// Reads a page of at most `limit` events.
pub(crate) async fn page(
    server: &Server,
    room: &Room,
    sight: &dyn Looker,
    range: Range,
    filter: &EventFilter,
    limit: usize,
) -> Result<Page, Error> {
    let mut rest = clamp(range, sight.end());
    let (mut events, mut scanned) = (Vec::new(), 0);
    let mut next = rest.from;
    while scanned < MAX_SCANNED {
        let size = if scanned == 0 { (limit + 1).min(MAX_CHUNK) } else { MAX_CHUNK };
        let rows = server.ports.store.scan(&rest.scan(|depth, event| timeline_key(room.number, depth, event)).limited(size)).await?;
        let places: Vec<_> = rows.iter().filter_map(place).collect();
        let Some(last) = places.last() else { return Ok(Page { events, next: None }) };
        scanned += places.len();
        rest = rest.behind(*last);
        for (place, event) in places.iter().zip(seen(server, room, sight, filter, &places).await?) {
            if let Some(event) = event {
                if events.len() == limit {
                    return Ok(Page { events, next: Some(next) });
                }
                events.push(event);
                next = rest.behind(*place).from;
            }
        }
    }
    Ok(Page { events, next: Some(rest.from) })
}

/// Nothing behind `end` is walked through, to spare the events that are not seen anyway.
fn clamp(range: Range, end: TopologicalToken) -> Range {
    match range.direction {
        Direction::Forward => Range { to: range.to.min(end), ..range },
        Direction::Backward => Range { from: range.from.min(end), ..range },
    }
}

/// The events at these places, `None` for one that the user may not or does not want to see.
async fn seen(
    server: &Server,
    room: &Room,
    sight: &dyn Looker,
    filter: &EventFilter,
    places: &[TopologicalToken],
) -> Result<Vec<Option<Arc<StoredEvent>>>, Error> {
    let question = |view: &View<'_>| {
        let wanted =
            |event: &StoredEvent| filter.allows(&event.pdu.kind.to_string(), event.pdu.sender.as_str(), || event.pdu.content_as::<Value>());
        let events = view.events(places.iter().map(|place| place.event))?;
        collect(events.into_iter(), |event| Ok((wanted(&event) && sight.sees(view, &event)?).then_some(event)))
    };
    server.rooms.ask(room, question).await
}

/// The place that a row's key names behind its room.
pub(crate) fn place(row: &Row) -> Option<TopologicalToken> {
    let mut key = KeyReader::new(&row.key);
    key.number()?;
    Some(TopologicalToken { depth: key.number()?, event: EventNumber(key.number()?) })
}

/// The place in a room's timeline that a client's token means.
pub(crate) async fn locate(server: &Server, room: &Room, token: &str) -> Result<TopologicalToken, Error> {
    match Token::read(server, token)? {
        Token::Topological(token) => Ok(token),
        Token::Stream(token) => behind_position(server, room, token.position).await,
    }
}

/// The place behind all events that were told up to a position.
async fn behind_position(server: &Server, room: &Room, position: Position) -> Result<TopologicalToken, Error> {
    if position >= room.head().position {
        return Ok(TopologicalToken::END);
    }
    let scan = Scan::range(room_log_key(room.number, Position(0)), room_log_key(room.number, Position(position.0 + 1)));
    let rows = server.ports.store.scan(&scan.reversed().limited(BRANCHES)).await?;
    let numbers: Vec<_> = rows.iter().filter_map(|row| read_room_log_row(&row.value)).map(|(event, _)| event).collect();
    let events = server.rooms.events(room, &numbers).await?;
    Ok(events.iter().map(|event| TopologicalToken::after(event)).max().unwrap_or(TopologicalToken::START))
}
