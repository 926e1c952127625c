//! Tests of the tests' own host: the clock, the faults and restarts do what other tests rely on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use futures_util::FutureExt;
use inglenook::{
    http::Method,
    ports::{Clock, Store, StoreError},
    storage::{Batch, Key, Table},
};

use self::support::{Fault, Host, ManualClock, Network};

fn batch(name: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(Key::new(Table::Meta).text(name), *b"1");
    batch
}

fn has(host: &Host, name: &str) -> bool {
    let keys = [Key::new(Table::Meta).text(name)];
    host.block_on(host.database().get_many(&keys)).unwrap()[0].is_some()
}

#[test]
fn an_unknown_path_is_answered() {
    let host = Host::new();
    host.request(Method::Get, "/_matrix/client/v3/nothing", None, None).refused(404, "M_UNRECOGNIZED");
}

#[test]
fn sleepers_wake_when_the_clock_is_moved_far_enough() {
    let clock = Rc::new(ManualClock::new());
    let mut sleeping = clock.sleep(1_000);
    clock.advance(999);
    assert!((&mut sleeping).now_or_never().is_none());
    clock.advance(1);
    assert!(sleeping.now_or_never().is_some());
}

#[test]
fn a_failed_commit_writes_nothing_and_the_next_works() {
    let host = Host::new();
    host.store.set_fault(Some(Fault::FailAt(1)));
    assert!(matches!(host.block_on(host.store.commit(batch("a"))), Err(StoreError::Failed(_))));
    assert!(host.block_on(host.store.commit(batch("b"))).is_ok());
    assert_eq!((has(&host, "a"), has(&host, "b")), (false, true));
}

#[test]
fn a_stopped_store_never_answers_again() {
    for (fault, written) in [(Fault::StopBefore(1), false), (Fault::StopAfter(1), true)] {
        let mut host = Host::new();
        host.store.set_fault(Some(fault));
        assert!(host.store.commit(batch("a")).now_or_never().is_none());
        assert!(host.store.get_many(&[]).now_or_never().is_none());
        host.restart();
        assert_eq!(has(&host, "a"), written);
    }
}

#[test]
fn a_restart_keeps_the_server_and_takes_the_database_over() {
    let mut host = Host::new();
    let (old_store, name) = (host.store.clone(), host.server().name().to_owned());
    host.restart();
    assert_eq!(host.server().name(), name);
    assert_eq!(host.block_on(old_store.commit(batch("a"))), Err(StoreError::Superseded));
}

/// Simulations make thousands of worlds in one process.
#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let mut network = Network::of_keys(2);
    network.add_relay("https://relay.example");
    network[0].register("alice");
    let mut servers: Vec<_> = (0..2).map(|at| Rc::downgrade(&network[at].server())).collect();
    network[1].restart();
    servers.push(Rc::downgrade(&network[1].server()));
    let (wires, clock) = (Rc::downgrade(&network.wires), Rc::downgrade(&network.clock));
    network.advance(1_000);
    assert!(servers[1].upgrade().is_none(), "a server that was killed is gone");
    drop(network);
    let left: Vec<_> = servers.iter().map(std::rc::Weak::strong_count).collect();
    assert_eq!((left, wires.strong_count(), clock.strong_count()), (vec![0; 3], 0, 0));
}
