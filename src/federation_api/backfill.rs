//! The past of a room: what came before some events.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;

use super::{
    Access, Call, Route, handler,
    pdus::{ObjectWriter, shown_to, transaction},
};
use crate::{
    arrange::Arrange,
    error::Error,
    gather::Gather,
    http::{Method, Response},
    ordered::{OrderedMap, OrderedSet},
    room_server::{
        EventNumber, Room,
        stored::{Status, StoredEvent},
    },
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/federation/v1/backfill/{roomId}", access: Access::Signed, handler: handler!(backfill) },
    Route {
        method: Method::Post,
        path: "/_matrix/federation/v1/get_missing_events/{roomId}",
        access: Access::Signed,
        handler: handler!(get_missing_events),
    },
];

/// Events of one answer at most: two transactions' worth, some 6 MB where all are as large as may be.
const MAX_EVENTS: usize = 100;

/// Events that a request may name: more than a room has branches, fewer than would cost more to look up than to answer.
const MAX_NAMED: usize = 100;

/// Events of an answer where the caller does not say.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
const DEFAULT_MISSING: usize = 10;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid>
async fn backfill(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let limit = call.query("limit").and_then(|limit| limit.parse::<usize>().ok());
    let limit = limit.ok_or_else(|| Error::missing_param("limit must be a number."))?.min(MAX_EVENTS);
    let from: Vec<_> = call.query_all("v").take(MAX_NAMED).filter_map(|id| EventId::parse(id).ok()).collect();
    if from.is_empty() {
        return Err(Error::missing_param("v must name an event to begin with."));
    }
    let events = preceding(&call.server, &room, from, limit).await?;
    let events = shown_to(&call.server, &room, call.origin()?, &events).await?;
    Ok(Response::bytes(200, "application/json", transaction(&call.server, &events)?))
}

/// The events and what came before them, the deepest first.
async fn preceding(server: &Server, room: &Rc<Room>, from: Vec<OwnedEventId>, limit: usize) -> Result<Vec<Arc<StoredEvent>>, Error> {
    let mut found = Vec::new();
    let mut reached: OrderedSet<OwnedEventId> = from.iter().cloned().gather();
    let mut waiting: OrderedMap<(u64, EventNumber), Arc<StoredEvent>> = OrderedMap::new();
    let mut ids = from;
    while found.len() < limit {
        waiting.extend(placed(server, room, &ids).await?.into_iter().map(|event| ((event.pdu.depth, event.number), event)));
        let Some((_, deepest)) = waiting.pop_last() else { break };
        ids = deepest.pdu.prev_events.iter().filter(|id| reached.insert((*id).clone())).cloned().collect();
        found.push(deepest);
    }
    Ok(found)
}

/// Those of the events that have a place in the graph that this server knows.
async fn placed(server: &Server, room: &Rc<Room>, ids: &[OwnedEventId]) -> Result<Vec<Arc<StoredEvent>>, Error> {
    let events = server.rooms.ask(room, |view| view.events_by_id(ids.iter())).await?;
    let is_placed = |event: &Arc<StoredEvent>| matches!(event.decided.status, Status::Accepted | Status::SoftFailed);
    Ok(events.into_iter().flatten().filter(is_placed).collect())
}

#[derive(Deserialize)]
struct Missing {
    earliest_events: Vec<OwnedEventId>,
    latest_events: Vec<OwnedEventId>,
    #[serde(default = "default_missing")]
    limit: usize,
    #[serde(default)]
    min_depth: u64,
}

fn default_missing() -> usize {
    DEFAULT_MISSING
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid>
async fn get_missing_events(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let asked: Missing = call.body()?;
    if asked.earliest_events.len().max(asked.latest_events.len()) > MAX_NAMED {
        return Err(Error::invalid_param(format!("No more than {MAX_NAMED} events may be named.")));
    }
    let events = asked.find(&call.server, &room).await?;
    let events = shown_to(&call.server, &room, call.origin()?, &events).await?;
    let mut body = ObjectWriter::new();
    body.begin_events("events");
    events.iter().for_each(|event| body.event(event));
    body.end_events();
    Ok(Response::bytes(200, "application/json", body.finish()))
}

impl Missing {
    /// The events between the earliest and the latest, breadth first from the latest; told with the oldest first.
    async fn find(&self, server: &Server, room: &Rc<Room>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        let limit = self.limit.min(MAX_EVENTS);
        let mut reached: OrderedSet<_> = self.earliest_events.iter().chain(&self.latest_events).cloned().gather();
        let mut waiting: VecDeque<_> = placed(server, room, &self.latest_events).await?.into();
        let mut found = Vec::new();
        while let Some(event) = waiting.pop_front() {
            let ids: Vec<_> = event.pdu.prev_events.iter().filter(|id| reached.insert((*id).clone())).cloned().collect();
            let before = placed(server, room, &ids).await?.into_iter().filter(|event| event.pdu.depth >= self.min_depth);
            for event in before {
                found.push(Arc::clone(&event));
                waiting.push_back(event);
            }
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        found.arrange_by_key(|event| (event.pdu.depth, event.number));
        Ok(found)
    }
}
