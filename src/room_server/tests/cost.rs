//! What an event costs must not depend on how many members a room has, nor on how old it is.

use std::rc::Rc;

use serde_json::json;

use super::{
    support::{FailingStore, Host, User, Work, encode, room_path},
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

/// Something that is done in a room.
type Step = fn(&OldRoom);

/// A room that has been written in for a while, and who is there.
struct OldRoom {
    host: Host,
    alice: User,
    bob: User,
    carol: User,
    id: String,
    last: String,
    /// Where bob's client stands, who has read everything.
    since: String,
}

impl OldRoom {
    fn with(messages: usize) -> Self {
        let host = Host::new();
        let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| host.register(name));
        let id = host.create_room(&alice, json!({ "preset": "public_chat" }));
        host.join(&bob, &id);
        host.join(&dave, &id);
        // By somebody who does nothing else, since a device's transactions are looked up together.
        let last = (0..messages).map(|serial| host.send(&dave, &id, &serial.to_string())).last().unwrap();
        host.post(&bob, &room_path(&id, &format!("receipt/m.read/{}", encode(&last))), json!({})).ok();
        let since = host.sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
        Self { host, alice, bob, carol, id, last, since }
    }

    /// What one step asks of the store, by a server that has been up for a while or has only just begun.
    fn work_of(&mut self, step: Step, after_restart: bool) -> Work {
        if after_restart {
            self.host.restart();
            // Who asks is looked up, which does not concern the room.
            for user in [&self.alice, &self.bob, &self.carol] {
                self.host.get(user, "/_matrix/client/v3/account/whoami").ok();
            }
        }
        self.host.store.take_work();
        step(self);
        self.host.store.take_work()
    }

    fn state_event(&self) {
        self.host.put_state(&self.alice, &self.id, "m.room.topic", "", json!({ "topic": "Another" }));
    }

    fn join(&self) {
        self.host.join(&self.carol, &self.id);
    }

    fn redaction(&self) {
        let target = room_path(&self.id, &format!("redact/{}/r", encode(&self.last)));
        self.host.put(&self.alice, &target, json!({})).ok();
    }

    fn sync(&self) {
        let told = self.host.sync(&self.bob, Some(&self.since));
        assert_eq!(told["rooms"]["join"][&self.id]["timeline"]["events"].as_array().unwrap().len(), 3);
    }

    fn messages(&self) {
        let page = self.host.get(&self.bob, &room_path(&self.id, "messages?dir=b&limit=10")).ok();
        assert_eq!(page.body["chunk"].as_array().unwrap().len(), 10);
    }
}

#[test]
fn what_is_done_in_an_old_room_costs_the_same_as_in_a_young_one() {
    let steps: [(&str, Step); 5] = [
        ("a state event", OldRoom::state_event),
        ("a join", OldRoom::join),
        ("a redaction", OldRoom::redaction),
        ("an incremental sync", OldRoom::sync),
        ("a page of the history", OldRoom::messages),
    ];
    for after_restart in [false, true] {
        let (mut young, mut old) = (OldRoom::with(10), OldRoom::with(3_000));
        for (name, step) in steps {
            let (in_young, in_old) = (young.work_of(step, after_restart), old.work_of(step, after_restart));
            let said = format!("{name}, restart {after_restart}: {in_old:?} {in_young:?}");
            assert!(in_old.rows_read <= in_young.rows_read + 4, "{said}");
            assert!(in_old.bytes_read <= in_young.bytes_read + 2_000, "{said}");
            assert!(in_old.bytes_written * 10 <= in_young.bytes_written * 11, "{said}");
        }
    }
}
