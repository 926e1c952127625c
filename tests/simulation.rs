//! Simulation: several servers, an unreliable network, crashes at any commit and people who do anything, from one seed.
//!
//! At the end, when everything is mended and has had its time, all members of each room must agree. A seed that fails is printed with what
//! was done; `SIMULATION_SEED=<seed> cargo test --test simulation` replays it. `SIMULATION_SEEDS=<count>` runs more of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

#[path = "simulation/actions.rs"]
mod actions;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/devices.rs"]
mod devices;
#[path = "simulation/receipts.rs"]
mod receipts;
#[path = "simulation/rooms.rs"]
mod rooms;
#[path = "simulation/world.rs"]
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use self::world::World;

/// So many seeds run where nobody says otherwise: what takes some minutes on two cores.
const SEEDS: u64 = 2_000;

/// So many things are done in each.
const ACTIONS: usize = 40;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs one seed; the world tells what was done where it fails.
fn simulate(seed: u64) -> bool {
    let mut world = World::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..ACTIONS {
            world.act();
        }
        world.mend();
        checks::all(&world);
    }));
    if outcome.is_err() {
        eprintln!("seed {seed} failed; SIMULATION_SEED={seed} cargo test --test simulation replays it:\n{}", world.story());
    }
    outcome.is_ok()
}

#[test]
fn all_members_agree_in_the_end() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (seeds, failed) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let next = || seeds.lock().unwrap().next();
    // A world is one thread's own.
    let work = || {
        while let Some(seed) = next() {
            if !simulate(seed) {
                failed.lock().unwrap().push(seed);
            }
        }
    };
    thread::scope(|scope| (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// Of so many seeds each, everything that is broken on purpose must be seen by the checks.
fn is_caught_each_time(breaking: impl Fn(&mut World)) {
    let caught = (1..=5).filter(|seed| {
        let mut world = World::new(*seed);
        breaking(&mut world);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..ACTIONS {
                world.act();
            }
            world.mend();
            checks::all(&world);
        }));
        outcome.is_err()
    });
    assert_eq!(caught.count(), 5);
}

/// A network that says it has delivered what it has dropped breaks every promise.
#[test]
fn a_network_that_lies_is_caught() {
    is_caught_each_time(World::swallow_transactions);
}

/// So does one that does it in one room only, beside which all is well in the others.
#[test]
fn a_network_that_loses_a_room_is_caught() {
    is_caught_each_time(|world| {
        world.swallow_events_of(1);
        world.everybody(|world, node| world.speak_up(node, 1));
    });
}

/// So does one that delivers all events, but not what people have read.
#[test]
fn a_network_that_loses_receipts_is_caught() {
    is_caught_each_time(|world| {
        world.swallow_edus("m.receipt");
        world.everybody(|world, node| world.read(node, 0));
    });
}

/// So does one that delivers all events, but not what devices people have.
#[test]
fn a_network_that_loses_device_lists_is_caught() {
    is_caught_each_time(|world| {
        world.swallow_edus("m.device_list_update");
        world.everybody(World::log_in);
    });
}

/// So does a disk that says it has written what it has not.
#[test]
fn a_disk_that_lies_is_caught() {
    is_caught_each_time(|world| {
        world.lose_commits();
        // A node that is started again has another disk.
        (0..4).for_each(|_| world.everybody(|world, node| world.speak_up(node, 0)));
    });
}
