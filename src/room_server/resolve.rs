//! State resolution: one state out of several, at a cost that follows the conflict and not the room.
//!
//! The rules are ruma's. They leave out every event that their look-up does not return, so each miss is recorded and a
//! resolution that was reached with one is thrown away.

use std::sync::Arc;

use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::{StateResolutionV2Rules, StateResolutionVersion},
    state_res::{self, StateMap, auth_types_for_event, utils::event_id_set::EventIdSet},
};

use super::{
    auth::recording,
    graph::{Shared, auth_difference, conflicted_subgraph},
    number::EventNumber,
    resolve_v1,
    snapshot::{Change, Snapshot, StateKey},
    stored::StoredEvent,
    view::{Need, Undecided, View},
};
use crate::{
    error::Error,
    event::{Pdu, RoomVersion},
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
};

/// A place that not all states fill alike, and the event that each has there.
pub(super) type Conflicts = OrderedMap<StateKey, Vec<Option<EventNumber>>>;

/// The state that several states resolve to.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution>
pub(crate) fn resolve(view: &View<'_>, version: &RoomVersion, states: &OrderedSet<Snapshot>) -> Result<Snapshot, Undecided> {
    let Some(first) = states.first().copied() else { return Ok(Snapshot::default()) };
    if states.len() == 1 {
        return Ok(first);
    }
    let states: Vec<_> = states.iter().copied().collect();
    let conflicts = conflicts(view, &states)?;
    let resolved = match &version.rules.state_res {
        StateResolutionVersion::V2(rules) => resolve_v2(view, version, rules, first, &conflicts)?,
        _ => resolve_v1::resolve(view, version, first, &conflicts)?,
    };
    let mut changes: OrderedMap<StateKey, Option<EventNumber>> = conflicts.into_keys().map(|key| (key, None)).gather();
    changes.extend(resolved.into_iter().map(|(key, event)| (key, Some(event))));
    Ok(first.with(view, &changes.into_iter().collect::<Vec<Change>>())?)
}

fn conflicts(view: &View<'_>, states: &[Snapshot]) -> Result<Conflicts, Need> {
    let Some(first) = states.first() else { return Ok(Conflicts::new()) };
    let mut conflicts = Conflicts::new();
    for (index, state) in states.iter().enumerate() {
        for (key, (before, after)) in first.difference(*state, view)? {
            let events = conflicts.entry(key).or_insert_with(|| vec![before; states.len()]);
            if let Some(event) = events.get_mut(index) {
                *event = after;
            }
        }
    }
    Ok(conflicts)
}

fn resolve_v2(
    view: &View<'_>,
    version: &RoomVersion,
    rules: &StateResolutionV2Rules,
    any: Snapshot,
    conflicts: &Conflicts,
) -> Result<OrderedMap<StateKey, EventNumber>, Undecided> {
    let sets = conflicted_sets(conflicts);
    let conflicted: OrderedSet<EventNumber> = sets.iter().flatten().copied().gather();
    let difference = auth_difference(view, &sets, &Agreed { view, any, conflicts })?;
    let subgraph = if rules.consider_conflicted_state_subgraph { conflicted_subgraph(view, &conflicted)? } else { OrderedSet::new() };
    let full: OrderedSet<EventNumber> = conflicted.iter().chain(&difference).chain(&subgraph).copied().gather();
    let events = view.events(full.into_iter())?;
    let shared = shared_state(view, version, any, conflicts, &events)?;
    let maps = state_maps(view, conflicts, sets.len(), &shared)?;

    // Two chains of which one is empty: their difference is exactly the events of the other.
    let chains = vec![event_ids(view, &difference)?, EventIdSet::new()];
    let subgraph: Vec<_> = view.events(subgraph.into_iter())?.iter().map(|event| event.pdu.event_id.clone()).collect();
    let resolved = recording(|missed| {
        let fetch = |id: &EventId| -> Option<Arc<Pdu>> { missed.take(view.event_by_id(id)).flatten().map(|event| Arc::clone(&event.pdu)) };
        state_res::resolve(&version.rules.authorization, rules, &maps, chains, fetch, |_| Some(subgraph.iter().cloned().collect()))
    })?;
    let resolved = resolved.map_err(|error| Error::bug(format!("state resolution: {error}")))?;
    numbered(view, resolved, any, conflicts)
}

/// Each state's own events in the places of conflict.
fn conflicted_sets(conflicts: &Conflicts) -> Vec<OrderedSet<EventNumber>> {
    let states = conflicts.values().next().map_or(0, Vec::len);
    (0..states).map(|index| conflicts.values().filter_map(|events| *events.get(index)?).gather()).collect()
}

/// What all states agree on.
struct Agreed<'a> {
    view: &'a View<'a>,
    any: Snapshot,
    conflicts: &'a Conflicts,
}

impl Shared for Agreed<'_> {
    fn contains(&self, event: EventNumber) -> Result<bool, Need> {
        let pdu = &self.view.event(event)?.pdu;
        let Some(state_key) = &pdu.state_key else { return Ok(false) };
        let key = (StateEventType::from(pdu.kind.to_string()), state_key.clone());
        Ok(!self.conflicts.contains_key(&key) && self.any.event(self.view, &key.0, &key.1)? == Some(event))
    }

    fn all(&self) -> Result<OrderedSet<EventNumber>, Need> {
        let entries = self.any.entries(self.view)?.into_iter();
        let agreed = entries.filter(|entry| !self.conflicts.contains_key(&(entry.kind.clone(), entry.state_key.clone())));
        Ok(agreed.map(|entry| entry.event).gather())
    }
}

/// The part of the undisputed state that the rules can ask for when they judge these events.
fn shared_state(
    view: &View<'_>,
    version: &RoomVersion,
    any: Snapshot,
    conflicts: &Conflicts,
    events: &[Arc<StoredEvent>],
) -> Result<StateMap<OwnedEventId>, Undecided> {
    let mut keys: OrderedSet<StateKey> = OrderedSet::new();
    for event in events {
        let pdu = &event.pdu;
        // An event that is malformed for its type is left out by the rules later.
        if let Ok(types) =
            auth_types_for_event(&pdu.kind, &pdu.sender, pdu.state_key.as_deref(), &pdu.content, &version.rules.authorization)
        {
            keys.extend(types);
        }
    }
    keys.insert((StateEventType::RoomPowerLevels, String::new()));
    keys.insert((StateEventType::RoomCreate, String::new()));
    let mut shared = StateMap::new();
    for key in keys.into_iter().filter(|key| !conflicts.contains_key(key)) {
        if let Some(number) = any.event(view, &key.0, &key.1)? {
            shared.insert(key, view.event(number)?.pdu.event_id.clone());
        }
    }
    Ok(shared)
}

fn state_maps(
    view: &View<'_>,
    conflicts: &Conflicts,
    states: usize,
    shared: &StateMap<OwnedEventId>,
) -> Result<Vec<StateMap<OwnedEventId>>, Need> {
    let mut maps = vec![shared.clone(); states];
    for (key, events) in conflicts {
        for (map, event) in maps.iter_mut().zip(events) {
            if let Some(number) = event {
                map.insert(key.clone(), view.event(*number)?.pdu.event_id.clone());
            }
        }
    }
    Ok(maps)
}

fn event_ids(view: &View<'_>, numbers: &OrderedSet<EventNumber>) -> Result<EventIdSet<OwnedEventId>, Need> {
    let events = view.events(numbers.iter().copied())?;
    Ok(events.into_iter().map(|event| event.pdu.event_id.clone()).collect())
}

/// The events in the places of conflict, and in places that no state fills: an event that authorises another may come back
/// there.
fn numbered(
    view: &View<'_>,
    resolved: StateMap<OwnedEventId>,
    any: Snapshot,
    conflicts: &Conflicts,
) -> Result<OrderedMap<StateKey, EventNumber>, Undecided> {
    let mut numbers = OrderedMap::new();
    for (key, id) in resolved {
        if conflicts.contains_key(&key) || any.event(view, &key.0, &key.1)?.is_none() {
            let number = view.number(&id)?.ok_or_else(|| Error::bug(format!("state resolution named {id}, which is not stored")))?;
            numbers.insert(key, number);
        }
    }
    Ok(numbers)
}
