//! Servers that get the same events in whatever order come to the same room.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::RngSeed};
use ruma::OwnedEventId;

use super::{
    consistency,
    random::{self, steps, version},
    resolution_oracle::Oracle,
    world::{Peer, State, World},
};
use crate::room_server::{InputKind, Verdict, stored::Status};

/// A shuffle that is the same for the same seed.
struct Order(u64);

impl Order {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.next(last + 1));
        }
        items
    }
}

/// Delivers everything in some order, some of it twice and some of it first as outliers, until nothing is missing any more.
/// Now and then the server begins anew from what is stored.
fn deliver(world: &World, mut peer: Peer, seed: u64) -> Peer {
    let mut order = Order(seed);
    let made = world.made();
    let mut waiting: Vec<_> = made.iter().map(|id| (id.clone(), InputKind::New)).collect();
    waiting.extend(made.iter().filter(|_| order.next(5) == 0).map(|id| (id.clone(), InputKind::New)));
    // An outlier passes for good if its own authorising events allow it, so those that its place forbids are no outliers here.
    let fit = made.iter().filter(|id| world.workshop.status(id) != Status::Rejected);
    waiting.extend(fit.filter(|_| order.next(4) == 0).map(|id| (id.clone(), InputKind::Outlier)));
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting = order.shuffled(waiting);
        if order.next(3) == 0 {
            peer = peer.reopened();
        }
        waiting.retain(|(id, kind)| matches!(peer.receive(&world.event(id), *kind), Verdict::Missing { .. }));
        assert!(waiting.len() < before, "these wait for ever: {waiting:?}");
    }
    peer
}

/// What all servers must agree on.
#[derive(Debug, PartialEq)]
struct Agreed {
    rejected: BTreeSet<OwnedEventId>,
    before: BTreeMap<OwnedEventId, State>,
    after_all: State,
}

fn agreed(world: &World, peer: &Peer) -> Agreed {
    let made = world.made();
    let rejected: BTreeSet<_> = made.iter().filter(|id| peer.status(id) == Status::Rejected).cloned().collect();
    let built_on: BTreeSet<_> = made.iter().flat_map(|id| world.event(id).pdu().prev_events.clone()).collect();
    let last: Vec<_> = made.iter().filter(|id| !rejected.contains(*id) && !built_on.contains(*id)).cloned().collect();
    let before = made.iter().map(|id| (id.clone(), peer.before(id))).collect();
    Agreed { rejected, before, after_all: peer.resolved_after(&last) }
}

fn check_current(world: &World, peer: &Peer) {
    let states = peer.extremities().iter().map(|id| peer.state(peer.stored(id).decided.after)).collect();
    assert_eq!(peer.current(), Oracle::new(world, peer).resolve(&states), "the current state is that of the extremities");
}

/// Delivers a room's events in the orders of these seeds.
fn check_orders(world: &World, seeds: [u64; 3]) -> Result<(), TestCaseError> {
    let expected = agreed(world, &world.workshop);
    check_current(world, &world.workshop);
    consistency::check(&world.workshop);
    let mut by_extremities = BTreeMap::from([(world.workshop.extremities(), world.workshop.current())]);
    for seed in seeds {
        // A server of the room, so that some of the members are its own.
        let peer = deliver(world, world.peer_of("b.example"), seed);
        prop_assert_eq!(&agreed(world, &peer), &expected);
        check_current(world, &peer);
        consistency::check(&peer.reopened());
        let current = by_extremities.entry(peer.extremities()).or_insert_with(|| peer.current());
        prop_assert_eq!(&*current, &peer.current());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_delivery_does_not_matter(version in version(), steps in steps(5..40), seeds in any::<[u64; 3]>()) {
        check_orders(&random::world(version, &steps), seeds)?;
    }
}

proptest! {
    // Other rooms at each run. What fails is printed, and kept beside the sources to be played first the next time.
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_delivery_does_not_matter_in_any_room(version in version(), steps in steps(5..40), seeds in any::<[u64; 3]>()) {
        check_orders(&random::world(version, &steps), seeds)?;
    }
}
