//! A gap: events that wait, and what was found of the events before them; what of it can be placed, and what is missing.

use std::rc::Rc;

use ruma::{EventId, OwnedEventId};

use super::{deliver::Arrival, order::in_order};
use crate::{
    error::Error,
    event::CheckedPdu,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    room_server::{Room, cover::has_place},
    server::Server,
};

/// So many events of a gap, and bytes of them, are held in memory at once. What is left is asked for anew when these have their
/// place.
const MAX_EVENTS: usize = 2_000;
const MAX_BYTES: usize = 8 << 20;

/// So many events are looked up in one go.
const CHUNK: usize = 200;

/// Events that are to be placed.
#[derive(Default)]
pub(super) struct Gap {
    arrivals: OrderedMap<OwnedEventId, Arrival>,
    bytes: usize,
}

impl Gap {
    /// Adds an event that waits.
    pub(super) fn insert(&mut self, arrival: Arrival) {
        self.bytes += arrival.event.pdu().json.get().len();
        self.arrivals.insert(arrival.event.pdu().event_id.clone(), arrival);
    }

    /// Adds those of the events that are missing, or that missing ones build on; they must not be less deep than told. Returns
    /// how many there were.
    pub(super) fn add_missing(&mut self, events: Vec<CheckedPdu>, missing: &OrderedSet<OwnedEventId>, min_depth: u64) -> usize {
        let mut offered: OrderedMap<OwnedEventId, CheckedPdu> =
            events.into_iter().map(|event| (event.pdu().event_id.clone(), event)).gather();
        let mut queue: Vec<OwnedEventId> = missing.iter().cloned().collect();
        let mut added = 0;
        while let Some(id) = queue.pop() {
            let fits = self.arrivals.len() < MAX_EVENTS && self.bytes < MAX_BYTES;
            let Some(event) = offered.remove(&id).filter(|event| fits && event.pdu().depth >= min_depth) else { continue };
            queue.extend(event.pdu().prev_events.iter().filter(|previous| !self.arrivals.contains_key(*previous)).cloned());
            self.insert(Arrival { event, row: None });
            added += 1;
        }
        added
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    pub(super) fn get(&self, id: &EventId) -> Option<&Arrival> {
        self.arrivals.get(id)
    }

    pub(super) fn remove(&mut self, id: &EventId) -> Option<Arrival> {
        let arrival = self.arrivals.remove(id)?;
        self.bytes -= arrival.event.pdu().json.get().len();
        Some(arrival)
    }

    /// Events before these that are neither among them nor have a place in the room.
    pub(super) async fn missing(&self, server: &Server, room: &Rc<Room>) -> Result<OrderedSet<OwnedEventId>, Error> {
        let named: OrderedSet<_> = self.arrivals.values().flat_map(|arrival| &arrival.event.pdu().prev_events).gather();
        let named: Vec<_> = named.into_iter().filter(|id| !self.arrivals.contains_key(*id)).cloned().collect();
        let mut missing = OrderedSet::new();
        for chunk in named.chunks(CHUNK) {
            let found = server.rooms.ask(room, |view| view.events_by_id(chunk.iter())).await?;
            let absent = chunk.iter().zip(found).filter(|(_, event)| !event.as_ref().is_some_and(|event| has_place(event)));
            missing.extend(absent.map(|(id, _)| id.clone()));
        }
        Ok(missing)
    }

    /// The events that name one of these as before them.
    pub(super) fn builders_on(&self, missing: &OrderedSet<OwnedEventId>) -> Vec<OwnedEventId> {
        let builds = |arrival: &Arrival| arrival.event.pdu().prev_events.iter().any(|previous| missing.contains(previous));
        self.arrivals.iter().filter(|(_, arrival)| builds(arrival)).map(|(id, _)| id.clone()).collect()
    }

    /// Takes out the events before which nothing is missing.
    pub(super) fn take_placeable(&mut self, missing: &OrderedSet<OwnedEventId>) -> Vec<Arrival> {
        let mut blocked = missing.clone();
        let mut placeable = Vec::new();
        for id in self.order() {
            let Some(arrival) = self.arrivals.get(&id) else { continue };
            if arrival.event.pdu().prev_events.iter().any(|previous| blocked.contains(previous)) {
                blocked.insert(id);
            } else {
                placeable.push(id);
            }
        }
        placeable.into_iter().filter_map(|id| self.remove(&id)).collect()
    }

    /// Takes out an event before which something is missing, and so many at most of those that could be placed behind it, each behind
    /// those that it names.
    pub(super) fn take_with_what_follows(&mut self, edge: &EventId, missing: &OrderedSet<OwnedEventId>, limit: usize) -> Vec<Arrival> {
        let mut blocked = missing.clone();
        let mut taken = Vec::new();
        for id in self.order() {
            let Some(arrival) = self.arrivals.get(&id) else { continue };
            let is_blocked = id != edge && arrival.event.pdu().prev_events.iter().any(|previous| blocked.contains(previous));
            if is_blocked || taken.len() >= limit {
                blocked.insert(id);
            } else {
                taken.push(id);
            }
        }
        taken.into_iter().filter_map(|id| self.remove(&id)).collect()
    }

    /// The first event before which something is missing.
    pub(super) fn edge(&self, missing: &OrderedSet<OwnedEventId>, skipped: &OrderedSet<OwnedEventId>) -> Option<OwnedEventId> {
        let mut blocked = skipped.clone();
        for id in self.order() {
            let previous = &self.arrivals.get(&id)?.event.pdu().prev_events;
            if blocked.contains(&id) || previous.iter().any(|previous| blocked.contains(previous)) {
                blocked.insert(id);
            } else if previous.iter().any(|previous| missing.contains(previous)) {
                return Some(id);
            }
        }
        None
    }

    /// Takes out events that name each other in a circle, which can never have a place, and returns those that have waited. What
    /// was only found on the way goes first: perhaps others tell it otherwise.
    pub(super) fn take_circular(&mut self) -> Vec<Arrival> {
        let found: Vec<_> = self.unordered().into_iter().filter(|id| self.get(id).is_some_and(|arrival| arrival.row.is_none())).collect();
        found.iter().for_each(|id| drop(self.remove(id)));
        let mut circle = self.unordered();
        loop {
            let named: OrderedSet<OwnedEventId> = circle.iter().filter_map(|id| self.get(id)).flat_map(names).gather();
            let before = circle.len();
            // What nobody names is behind the circle and not in it.
            circle.retain(|id| named.contains(id));
            if circle.len() == before {
                break;
            }
        }
        circle.into_iter().filter_map(|id| self.remove(&id)).collect()
    }

    fn unordered(&self) -> OrderedSet<OwnedEventId> {
        let ordered: OrderedSet<_> = self.order().into_iter().gather();
        self.arrivals.keys().filter(|id| !ordered.contains(*id)).cloned().gather()
    }

    fn order(&self) -> Vec<OwnedEventId> {
        in_order(self.arrivals.values().map(|arrival| &arrival.event))
    }
}

fn names(arrival: &Arrival) -> Vec<OwnedEventId> {
    let pdu = arrival.event.pdu();
    pdu.prev_events.iter().chain(&pdu.auth_events).cloned().collect()
}
