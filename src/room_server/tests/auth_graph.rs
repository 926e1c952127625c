//! Walks over the graph of authorising events, against the definitions word by word.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};
use ruma::{EventId, OwnedEventId};
use serde_json::{json, value::to_raw_value};

use crate::{
    event::{Pdu, RoomVersion},
    ordered::OrderedSet,
    room_server::{
        EventNumber, Need, RoomNumber, View,
        cache::Cache,
        graph::{Shared, auth_difference, conflicted_subgraph},
        snapshot::Snapshot,
        stored::{Decided, Status, StoredEvent},
    },
};

type Edges = BTreeMap<EventNumber, Vec<EventNumber>>;

/// A graph in which each event is authorised by some of those before it.
fn edges() -> impl Strategy<Value = Edges> {
    vec(vec(any::<Index>(), 0..4), 1..40).prop_map(|events| {
        let below = |number: usize, picks: Vec<Index>| {
            let below: OrderedSet<_> =
                picks.iter().filter(|_| number > 0).map(|pick| EventNumber(pick.index(number.max(1)) as u64)).collect();
            (EventNumber(number as u64), below.into_iter().collect())
        };
        events.into_iter().enumerate().map(|(number, picks)| below(number, picks)).collect()
    })
}

fn id(number: EventNumber) -> OwnedEventId {
    EventId::parse(format!("${}", number.0)).unwrap()
}

fn view<'a>(cache: &'a Cache, edges: &Edges) -> View<'a> {
    let version = RoomVersion::parse("11").unwrap();
    let view = View::new(cache);
    for (number, below) in edges {
        let json = json!({
            "type": "m.room.topic", "room_id": "!r:a.example", "sender": "@u:a.example", "content": {}, "origin_server_ts": 1, "depth": 1,
            "prev_events": [], "auth_events": below.iter().map(|event| id(*event)).collect::<Vec<_>>(), "state_key": "",
        });
        let pdu = Pdu::read(id(*number), to_raw_value(&json).unwrap(), &version).unwrap();
        let decided = Decided::new(Status::Accepted, Snapshot::default());
        let event = StoredEvent { number: *number, room: RoomNumber(1), pdu: pdu.into(), decided };
        view.loaded().ids.insert(id(*number), Some(*number));
        view.loaded().events.insert(*number, event.into());
    }
    view
}

fn chain(edges: &Edges, events: &OrderedSet<EventNumber>) -> OrderedSet<EventNumber> {
    let mut chain = events.clone();
    let mut queue: Vec<_> = events.iter().copied().collect();
    while let Some(event) = queue.pop() {
        queue.extend(edges[&event].iter().filter(|below| chain.insert(**below)));
    }
    chain
}

impl Shared for OrderedSet<EventNumber> {
    fn contains(&self, event: EventNumber) -> Result<bool, Need> {
        Ok(self.contains(&event))
    }

    fn all(&self) -> Result<OrderedSet<EventNumber>, Need> {
        Ok(self.clone())
    }
}

fn pick(picks: &[Index], edges: &Edges) -> OrderedSet<EventNumber> {
    picks.iter().map(|pick| EventNumber(pick.index(edges.len()) as u64)).collect()
}

proptest! {
    #[test]
    fn the_auth_difference_is_the_union_of_the_chains_without_what_they_share(
        edges in edges(),
        sets in vec(vec(any::<Index>(), 0..5), 2..7),
        copies in prop_oneof![9 => Just(1_usize), 1 => Just(30)],
        common in vec(any::<Index>(), 0..6),
    ) {
        let cache = Cache::default();
        let common = pick(&common, &edges);
        let sets: Vec<OrderedSet<_>> = sets.iter().map(|set| pick(set, &edges)).cycle().take(sets.len() * copies).collect();
        let chains: Vec<_> = sets.iter().map(|set| chain(&edges, &set.iter().chain(&common).copied().collect())).collect();
        let union: OrderedSet<_> = chains.iter().flatten().copied().collect();
        let mut expected: OrderedSet<_> = union.into_iter().filter(|event| !chains.iter().all(|chain| chain.contains(event))).collect();
        expected.extend(sets.iter().flatten().copied());
        prop_assert_eq!(auth_difference(&view(&cache, &edges), &sets, &common).unwrap(), expected);
    }

    #[test]
    fn the_conflicted_subgraph_is_what_lies_on_paths_between_conflicted_events(edges in edges(), conflicted in vec(any::<Index>(), 0..6)) {
        let cache = Cache::default();
        let conflicted = pick(&conflicted, &edges);
        let leads_down = |event: &EventNumber| chain(&edges, &OrderedSet::from([*event])).iter().any(|event| conflicted.contains(event));
        let expected: OrderedSet<_> = chain(&edges, &conflicted).into_iter().filter(leads_down).collect();
        prop_assert_eq!(conflicted_subgraph(&view(&cache, &edges), &conflicted).unwrap(), expected);
    }
}

/// Most forks dispute over events whose authorising events all branches share; finding that out must not take the whole state.
#[test]
fn what_shared_events_authorise_is_settled_without_looking_at_all_of_them() {
    struct Huge;
    impl Shared for Huge {
        fn contains(&self, event: EventNumber) -> Result<bool, Need> {
            Ok(event <= EventNumber(3))
        }

        fn all(&self) -> Result<OrderedSet<EventNumber>, Need> {
            panic!("there is no need to")
        }
    }
    let cache = Cache::default();
    let numbers = |numbers: &[u64]| numbers.iter().copied().map(EventNumber).collect::<Vec<_>>();
    let edges = Edges::from([
        (EventNumber(0), vec![]),
        (EventNumber(1), numbers(&[0])),
        (EventNumber(2), numbers(&[0, 1])),
        (EventNumber(3), numbers(&[0, 2])),
        (EventNumber(4), numbers(&[0, 2])),
        (EventNumber(5), numbers(&[3, 1])),
    ]);
    let sets = [OrderedSet::from([EventNumber(4)]), OrderedSet::from([EventNumber(5)]), OrderedSet::new()];
    let difference = auth_difference(&view(&cache, &edges), &sets, &Huge).unwrap();
    assert_eq!(difference, OrderedSet::from([EventNumber(4), EventNumber(5)]));
}

/// A room can have more forward extremities than a machine word has bits.
#[test]
fn seventy_sets_are_told_apart() {
    let cache = Cache::default();
    // Event 0 authorises one event of each set but the last.
    let edges: Edges =
        (0..=70).map(|number| (EventNumber(number), if (1..70).contains(&number) { vec![EventNumber(0)] } else { vec![] })).collect();
    let sets: Vec<_> = (1..=70).map(|number| OrderedSet::from([EventNumber(number)])).collect();
    let expected: OrderedSet<_> = (0..=70).map(EventNumber).collect();
    assert_eq!(auth_difference(&view(&cache, &edges), &sets, &OrderedSet::<EventNumber>::new()).unwrap(), expected);
}
