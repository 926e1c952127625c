//! Reading events of a room: one, what stands around it, and page after page of the history.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

use std::{rc::Rc, sync::Arc};

use ruma::{EventId, OwnedUserId, events::StateEventType};
use serde_json::Value;

use super::{Access, Call, Route, handler};
use crate::{
    client_event::{ClientEvent, RoomId, client_event, state_event},
    error::Error,
    federation,
    filter::EventFilter,
    gather::Gather,
    history::{self, Direction, Page, Range, locate},
    http::{Method, Response},
    ordered::OrderedSet,
    relations,
    room_server::{
        EventNumber, Room, View,
        commit::{event_id_prefix, room_of_event_id},
        cover::has_state,
        snapshot::Snapshot,
        stored::StoredEvent,
        view::collect,
    },
    sections::Sections,
    sight::Sight,
    storage::Scan,
    tokens::TopologicalToken,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/event/{eventId}",
        access: Access::Token,
        handler: handler!(event),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/events/{eventId}",
        access: Access::Token,
        handler: handler!(event_of_any_room),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/context/{eventId}",
        access: Access::Token,
        handler: handler!(context),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/rooms/{roomId}/messages",
        access: Access::Token,
        handler: handler!(messages),
    },
];

/// Events of an answer when the client does not say how many.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
pub(super) const DEFAULT_LIMIT: u64 = 10;

/// The most events of one answer, so that an answer stays of a size that a client can take in.
pub(super) const MAX_LIMIT: u64 = 500;

/// So often other servers are asked for one page, each time for what is before the answer to the last one.
const MAX_BACKFILLS: usize = 3;

/// In so many rooms an event is looked for at most whose room is not named.
const MAX_ROOMS: usize = 20;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>
async fn event(call: Call) -> Result<Response, Error> {
    let (room, event, _) = call.visible_event(0, 1).await?;
    call.one_told(&room, event).await
}

/// An event that clients of old ask for without naming its room. In the first room versions, events of several rooms may have
/// one ID.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid>
async fn event_of_any_room(call: Call) -> Result<Response, Error> {
    let (server, id) = (&call.server, call.event_id(0)?);
    let rows = server.ports.store.scan(&Scan::prefix(event_id_prefix(id.as_str())).limited(MAX_ROOMS)).await?;
    for (room, event) in rows.iter().filter_map(|row| Some((room_of_event_id(row)?, EventNumber::from_bytes(&row.value)?))) {
        let room = server.rooms.room_by_number(room, event).await?;
        if let Some((event, _)) = call.event_if_seen(&room, &id).await? {
            return call.one_told(&room, event).await;
        }
    }
    Err(unseen())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
async fn messages(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let sight = Sight::of_reader(&call.server, &room, call.user()?).await?;
    let direction = Direction::parse(call.query("dir").ok_or_else(|| Error::missing_param("dir must be f or b."))?)?;
    let filter = call.event_filter()?;
    let range = call.range(&room, direction).await?;
    let page = call.complete_page(&room, &sight, range, &filter, call.limit()?).await?;
    let start = call.query("from").map_or_else(|| start_of(&page, range).to_string(), str::to_owned);
    let mut body = Sections::of("start", &start);
    body.insert("chunk", &call.told(&room, &page.events).await?);
    body.insert_some("end", page.next.map(|next| next.to_string()));
    if let (true, Some(first)) = (filter.lazy_load_members, page.events.first()) {
        let senders = senders(page.events.iter());
        body.insert("state", &call.members_of(&room, first.decided.after, senders).await?);
    }
    Ok(Response::ok(&body))
}

/// The place where a page begins that the client gave no token for.
fn start_of(page: &Page, range: Range) -> TopologicalToken {
    match (range.direction, page.events.first()) {
        (Direction::Backward, Some(newest)) => TopologicalToken::after(newest),
        (Direction::Backward, None) => TopologicalToken::START,
        (Direction::Forward, _) => range.from,
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>
async fn context(call: Call) -> Result<Response, Error> {
    let (limit, filter) = (call.limit()?, call.event_filter()?);
    let (room, event, sight) = call.visible_event(0, 1).await?;
    let sight = sight.ignoring(&call.server).await?;
    let (from_before, from_after) = (TopologicalToken::before(&event), TopologicalToken::after(&event));
    let limit_after = limit / 2;
    let before = Range::from(Direction::Backward, from_before);
    let before = call.complete_page(&room, &sight, before, &filter, limit - limit_after).await?;
    let after = Range::from(Direction::Forward, from_after);
    let after = call.complete_page(&room, &sight, after, &filter, limit_after).await?;
    let last = after.events.last().unwrap_or(&event);
    let shown = before.events.iter().chain(&after.events).chain([&event]);
    let state = call.state_around(&room, last.decided.after, &filter, senders(shown)).await?;
    let start = before.next.or_else(|| before.events.last().map(|event| TopologicalToken::before(event))).unwrap_or(from_before);
    let end = after.next.or_else(|| after.events.last().map(|event| TopologicalToken::after(event))).unwrap_or(from_after);
    let mut body = Sections::of("start", &start.to_string());
    body.insert("end", &end.to_string());
    body.insert_some("event", call.told(&room, std::slice::from_ref(&event)).await?.pop());
    body.insert("events_before", &call.told(&room, &before.events).await?);
    body.insert("events_after", &call.told(&room, &after.events).await?);
    body.insert("state", &state);
    Ok(Response::ok(&body))
}

fn senders<'a>(events: impl Iterator<Item = &'a Arc<StoredEvent>>) -> OrderedSet<OwnedUserId> {
    events.map(|event| event.pdu.sender.clone()).gather()
}

fn unseen() -> Error {
    Error::not_found("There is no such event, or you may not see it.")
}

impl Call {
    /// The event at these places of the path, if the caller sees it; 404 otherwise, whatever the reason.
    pub(super) async fn visible_event(&self, room: usize, event: usize) -> Result<(Rc<Room>, Arc<StoredEvent>, Sight<'_>), Error> {
        let (room_id, event_id) = (self.room_id(room)?, self.event_id(event)?);
        let room = self.server.rooms.room(&room_id).await?.ok_or_else(unseen)?;
        self.find_if_missing(&room, &event_id).await?;
        let (event, sight) = self.event_if_seen(&room, &event_id).await?.ok_or_else(unseen)?;
        Ok((room, event, sight))
    }

    async fn event_if_seen(&self, room: &Room, id: &EventId) -> Result<Option<(Arc<StoredEvent>, Sight<'_>)>, Error> {
        let sight = Sight::of(&self.server, room, self.user()?).await?;
        let found = self.server.rooms.ask(room, |view| {
            let Some(event) = view.event_by_id(id)? else { return Ok(None) };
            Ok(sight.sees(view, &event)?.then_some(event))
        });
        Ok(found.await?.map(|event| (event, sight)))
    }

    /// Has others tell an event that is missing here, for a user who is in the room.
    pub(super) async fn find_if_missing(&self, room: &Rc<Room>, id: &EventId) -> Result<(), Error> {
        let is_here = self.server.rooms.event_by_id(room, id).await?.is_some_and(|event| event.pdu.rejected || has_state(&event));
        if !is_here && Sight::of(&self.server, room, self.user()?).await?.is_joined() {
            federation::find_event(&self.server, room, id).await?;
        }
        Ok(())
    }

    async fn one_told(&self, room: &Room, event: Arc<StoredEvent>) -> Result<Response, Error> {
        let told = self.told(room, &[event]).await?.pop();
        told.map(|event| Response::ok(&event)).ok_or_else(|| Error::bug("one event was asked for"))
    }

    /// A page of the history; what is missing in it is fetched from other servers, as far as they are there.
    async fn complete_page(
        &self,
        room: &Rc<Room>,
        sight: &Sight<'_>,
        range: Range,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<Page, Error> {
        if !filter.allows_room(room.id.as_str()) {
            return Ok(Page { events: Vec::new(), next: None });
        }
        let server = &self.server;
        let mut page = history::page(server, room, sight, range, filter, limit).await?;
        if range.direction == Direction::Forward {
            return Ok(page);
        }
        for _ in 0..MAX_BACKFILLS {
            let Some(gap) = federation::last_gap(server, room, range.from, page.next.unwrap_or(range.to)).await? else { return Ok(page) };
            if !federation::backfill(server, room, gap).await? {
                break;
            }
            page = history::page(server, room, sight, range, filter, limit).await?;
        }
        if page.next.is_none() {
            // Where the history ends with a gap, there is more that may be told another time.
            let gap = federation::last_gap(server, room, range.from, range.to).await?;
            let end = page.events.last().map_or(range.from, |event| TopologicalToken::before(event));
            page.next = gap.filter(|gap| *gap <= end);
        }
        Ok(page)
    }

    /// The part of the history that the parameters `from` and `to` mean.
    pub(super) async fn range(&self, room: &Room, direction: Direction) -> Result<Range, Error> {
        let from = match self.query("from") {
            Some(token) => locate(&self.server, room, token).await?,
            None => direction.origin(),
        };
        let to = match self.query("to") {
            Some(token) => locate(&self.server, room, token).await?,
            None => direction.destination(),
        };
        Ok(Range { direction, from, to })
    }

    /// The parameter `limit`, within bounds.
    pub(super) fn limit(&self) -> Result<usize, Error> {
        let limit = self.query_number("limit")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        usize::try_from(limit).map_err(|_| Error::bug("the greatest limit fits"))
    }

    /// The parameter `filter`.
    pub(super) fn event_filter(&self) -> Result<EventFilter, Error> {
        let parse = |text| serde_json::from_str(text).map_err(|error| Error::invalid_param(format!("The filter does not fit: {error}.")));
        self.query("filter").map(parse).transpose().map(Option::unwrap_or_default)
    }

    /// Events as the caller sees them, with their aggregations.
    pub(super) async fn told(&self, room: &Room, events: &[Arc<StoredEvent>]) -> Result<Vec<ClientEvent>, Error> {
        let viewer = self.viewer()?;
        let tell = |view: &View<'_>| collect(events.iter(), |event| client_event(view, event, viewer, RoomId::Named));
        let mut told = self.server.rooms.ask(room, tell).await?;
        relations::bundle(&self.server, room, viewer, &mut told).await?;
        Ok(told)
    }

    /// The membership events of these users in a state.
    async fn members_of(&self, room: &Room, state: Snapshot, users: OrderedSet<OwnedUserId>) -> Result<Vec<ClientEvent>, Error> {
        let viewer = self.viewer()?;
        let question = |view: &View<'_>| {
            let numbers = collect(users.iter(), |user| state.event(view, &StateEventType::RoomMember, user.as_str()))?;
            let members = view.events(numbers.into_iter().flatten())?;
            collect(members.iter(), |member| state_event(view, member, viewer, RoomId::Named))
        };
        self.server.rooms.ask(room, question).await
    }

    /// The events of a state that the filter wants; with lazy loading, only the members who are needed.
    async fn state_around(
        &self,
        room: &Room,
        state: Snapshot,
        filter: &EventFilter,
        needed: OrderedSet<OwnedUserId>,
    ) -> Result<Vec<ClientEvent>, Error> {
        if !filter.allows_room(room.id.as_str()) {
            return Ok(Vec::new());
        }
        let viewer = self.viewer()?;
        let is_needed = |kind: &StateEventType, state_key: &str| {
            !filter.lazy_load_members || *kind != StateEventType::RoomMember || needed.iter().any(|user| user == state_key)
        };
        let question = |view: &View<'_>| {
            let entries = state.entries(view)?;
            let entries =
                entries.iter().filter(|entry| is_needed(&entry.kind, &entry.state_key) && filter.allows_type(&entry.kind.to_string()));
            let events = view.events(entries.map(|entry| entry.event))?;
            let passes = |event: &StoredEvent| {
                filter.allows(&event.pdu.kind.to_string(), event.pdu.sender.as_str(), || event.pdu.content_as::<Value>())
            };
            collect(events.iter().filter(|event| passes(event)), |event| client_event(view, event, viewer, RoomId::Named))
        };
        self.server.rooms.ask(room, question).await
    }
}
