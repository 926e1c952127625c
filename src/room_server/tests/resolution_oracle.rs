//! State resolution written for clarity alone: whole states and whole chains, to hold the real one against.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::StateResolutionVersion,
    state_res::{self, StateMap, check_state_dependent_auth_rules, utils::event_id_set::EventIdSet},
};
use sha1::{Digest, Sha1};

use super::{
    random::{self, steps, version},
    world::{Peer, State, World},
};
use crate::event::{Pdu, RoomVersion};

/// All events of a room.
pub(super) struct Oracle {
    version: RoomVersion,
    events: BTreeMap<OwnedEventId, Arc<Pdu>>,
}

impl Oracle {
    pub(super) fn new(world: &World, peer: &Peer) -> Self {
        let events = world.made().into_iter().map(|id| (id.clone(), Arc::clone(&peer.stored(&id).pdu)));
        Self { version: world.version.clone(), events: events.collect() }
    }

    /// The state that these states resolve to.
    pub(super) fn resolve(&self, states: &BTreeSet<State>) -> State {
        match (states.len(), &self.version.rules.state_res) {
            (0, _) => State::new(),
            (1, _) => states.iter().next().unwrap().clone(),
            (_, StateResolutionVersion::V2(rules)) => self.resolve_v2(rules, states),
            _ => self.resolve_v1(states),
        }
    }

    /// The events of a state and all that authorise them.
    fn chain<'a>(&self, events: impl IntoIterator<Item = &'a OwnedEventId>) -> BTreeSet<OwnedEventId> {
        let mut queue: Vec<_> = events.into_iter().cloned().collect();
        let mut chain = BTreeSet::new();
        while let Some(id) = queue.pop() {
            if chain.insert(id.clone()) {
                queue.extend(self.events[&id].auth_events.iter().cloned());
            }
        }
        chain
    }

    fn resolve_v2(&self, rules: &ruma::room_version_rules::StateResolutionV2Rules, states: &BTreeSet<State>) -> State {
        let to_map = |state: &State| -> StateMap<OwnedEventId> {
            state.iter().map(|((kind, key), id)| ((kind.as_str().into(), key.clone()), id.clone())).collect()
        };
        let maps: Vec<_> = states.iter().map(to_map).collect();
        let chains: Vec<EventIdSet<OwnedEventId>> = states.iter().map(|state| self.chain(state.values()).into_iter().collect()).collect();
        let fetch = |id: &EventId| self.events.get(id).map(Arc::clone);
        let subgraph = |conflicted: &StateMap<Vec<OwnedEventId>>| {
            let conflicted: BTreeSet<_> = conflicted.values().flatten().cloned().collect();
            let leads_to = |id: &OwnedEventId| self.chain([id]).iter().any(|below| conflicted.contains(below));
            Some(self.chain(&conflicted).into_iter().filter(leads_to).collect())
        };
        let resolved = state_res::resolve(&self.version.rules.authorization, rules, &maps, chains, fetch, subgraph).unwrap();
        resolved.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect()
    }

    /// <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>
    fn resolve_v1(&self, states: &BTreeSet<State>) -> State {
        let mut candidates: BTreeMap<(String, String), BTreeSet<OwnedEventId>> = BTreeMap::new();
        for (key, id) in states.iter().flatten() {
            candidates.entry(key.clone()).or_default().insert(id.clone());
        }
        let (conflicts, agreed): (BTreeMap<_, _>, BTreeMap<_, _>) = candidates.into_iter().partition(|(_, ids)| ids.len() > 1);
        let mut result: State = agreed.into_iter().map(|(key, ids)| (key, ids.into_iter().next().unwrap())).collect();
        for kind in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            for (key, ids) in conflicts.iter().filter(|((of, _), _)| of == kind) {
                let mut list: Vec<_> = ids.iter().collect();
                list.sort_by_key(|id| (self.events[*id].depth, Reverse(sha1(id))));
                result.insert(key.clone(), list[0].clone());
                for id in &list[1..] {
                    if !self.allows(&result, id) {
                        break;
                    }
                    result.insert(key.clone(), (*id).clone());
                }
            }
        }
        let before_the_rest = result.clone();
        let decisive = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];
        for (key, ids) in conflicts.iter().filter(|((kind, _), _)| !decisive.contains(&kind.as_str())) {
            let allowed = ids.iter().filter(|id| self.allows(&before_the_rest, id));
            if let Some(best) = allowed.min_by_key(|id| (Reverse(self.events[*id].depth), sha1(id))) {
                result.insert(key.clone(), best.clone());
            }
        }
        result
    }

    fn allows(&self, state: &State, id: &EventId) -> bool {
        let fetch = |kind: &StateEventType, key: &str| {
            let id = state.get(&(kind.to_string(), key.to_owned()))?;
            Some(Arc::clone(&self.events[id]))
        };
        check_state_dependent_auth_rules(&self.version.rules.authorization, Arc::clone(&self.events[id]), fetch).is_ok()
    }
}

fn sha1(id: &EventId) -> String {
    Sha1::digest(id.as_str()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every state before an event, against the oracle's resolution of the states after those that it builds on.
pub(super) fn check_states_before(world: &World, peer: &Peer) {
    let oracle = Oracle::new(world, peer);
    for id in world.made() {
        let event = peer.stored(&id);
        let states = event.pdu.prev_events.iter().map(|prev| peer.state(peer.stored(prev).decided.after)).collect();
        assert_eq!(peer.before(&id), oracle.resolve(&states), "{}", event.pdu.json);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn states_resolve_as_the_oracle_says(version in version(), steps in steps(5..45)) {
        let world = random::world(version, &steps);
        check_states_before(&world, &world.workshop);
    }

    #[test]
    fn any_states_of_a_room_resolve_as_the_oracle_says(
        version in version(),
        steps in steps(5..45),
        picks in proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 2..6), 1..8),
    ) {
        let world = random::world(version, &steps);
        let (made, workshop) = (world.made(), &world.workshop);
        let oracle = Oracle::new(&world, workshop);
        for picks in picks {
            let events: Vec<_> = picks.iter().map(|pick| pick.get(&made).clone()).collect();
            let states = events.iter().map(|id| workshop.state(workshop.stored(id).decided.after)).collect();
            prop_assert_eq!(workshop.resolved_after(&events), oracle.resolve(&states), "{:?}", events);
        }
    }
}
