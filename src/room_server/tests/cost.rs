//! What an event costs must not depend on how many members a room has.

use std::rc::Rc;

use serde_json::json;

use super::{
    support::{FailingStore, Work},
    world::{ALICE, BOB, Peer, Recipe, World, user},
};
use crate::{
    event::NewEvent,
    room_server::{InputKind, Verdict, stored::Status},
    storage::MemoryStore,
};

/// So many at once make for fewer commits.
const AT_ONCE: usize = 50;

/// A room of a server of its own.
struct Room {
    world: World,
    store: FailingStore,
    peer: Peer,
}

fn room(members: usize) -> Room {
    let world = World::new("12");
    let store = FailingStore::new(MemoryStore::new());
    let identity = Rc::clone(&world.workshop.identity);
    let peer = Peer::over(Rc::new(store.clone()), &world.version, world.workshop.room.id.clone(), identity);
    for id in world.made() {
        assert_eq!(peer.receive(&world.event(&id), InputKind::New), Verdict::Stored(Status::Accepted));
    }
    let serials: Vec<_> = (0..members).collect();
    for serials in serials.chunks(AT_ONCE) {
        let join = |serial: &usize| {
            let member = format!("@member{serial}:a.example");
            NewEvent::state(user(&member), "m.room.member", member.clone(), json!({ "membership": "join" }))
        };
        peer.transact(|draft| serials.iter().try_for_each(|serial| draft.add(join(serial), None).map(drop))).unwrap();
    }
    Room { world, store, peer }
}

impl Room {
    /// The work of a message, by a server that has been up for a while or has only just begun.
    fn work_of_message(&self, peer: &Peer) -> Work {
        self.store.take_work();
        let event = NewEvent::message(user(ALICE), "m.room.message", json!({ "body": "hello" }));
        peer.transact(|draft| draft.add(event.clone(), None)).unwrap();
        self.store.take_work()
    }

    /// The work of a join that raced with a message.
    fn work_of_raced_join(&mut self) -> Work {
        let event = NewEvent::message(user(ALICE), "m.room.message", json!({ "body": "meanwhile" }));
        let base = self.peer.extremities().pop_first().unwrap();
        std::mem::swap(&mut self.world.workshop, &mut self.peer);
        let join = self.world.build(Recipe::member(BOB, BOB, "join").after(&[&base]));
        std::mem::swap(&mut self.world.workshop, &mut self.peer);
        self.peer.transact(|draft| draft.add(event.clone(), None)).unwrap();
        let peer = self.peer.reopened();
        self.store.take_work();
        assert_eq!(peer.receive(&join, InputKind::New), Verdict::Stored(Status::Accepted));
        self.store.take_work()
    }
}

#[test]
fn a_message_costs_the_same_in_a_large_room() {
    let (small, large) = (room(10), room(1_000));
    let (in_small, in_large) = (small.work_of_message(&small.peer), large.work_of_message(&large.peer));
    assert_eq!((in_small.rows_read, in_large.rows_read), (0, 0), "all is in memory");
    assert!(in_large.bytes_written * 10 <= in_small.bytes_written * 12, "{in_large:?} {in_small:?}");
}

#[test]
fn after_a_restart_a_message_reads_but_the_way_to_what_authorises_it() {
    let (small, large) = (room(10), room(1_000));
    let in_small = small.work_of_message(&small.peer.reopened());
    let in_large = large.work_of_message(&large.peer.reopened());
    assert!(in_large.rows_read <= in_small.rows_read + 12, "{in_large:?} {in_small:?}");
    assert!(in_large.reads <= in_small.reads + 4, "{in_large:?} {in_small:?}");
}

#[test]
fn a_fork_costs_what_is_disputed_and_not_the_whole_state() {
    let (mut small, mut large) = (room(10), room(1_000));
    let (in_small, in_large) = (small.work_of_raced_join(), large.work_of_raced_join());
    assert!(in_large.rows_read <= in_small.rows_read + 40, "{in_large:?} {in_small:?}");
}
