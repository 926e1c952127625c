//! What waits has little space, and nobody has all of it for good.

use std::rc::Rc;

use futures_executor::block_on;
use ruma::{OwnedEventId, RoomId, ServerName};
use serde_json::json;

use super::{
    super::{
        schedule::GapId,
        waiting::{NewWaiting, Waiting},
    },
    scene::{A, B, Scene, json_of},
};
use crate::{
    ports::Store,
    room_server::tests::world::{ALICE, BOB, Recipe},
    storage::{Key, MemoryStore, Scan, Table},
};

const MEGABYTE: usize = 1 << 20;

fn gap(room: usize, origin: usize) -> GapId {
    (RoomId::parse(format!("!{room}:a.example")).unwrap(), ServerName::parse(format!("s{origin}.example")).unwrap())
}

/// So many bytes in events of 64 kB that name nothing of each other.
fn flood(bytes: usize) -> Vec<NewWaiting> {
    thread_local!(static SERIAL: std::cell::Cell<usize> = const { std::cell::Cell::new(0) });
    let event = |_| {
        let serial = SERIAL.replace(SERIAL.get() + 1);
        let id: OwnedEventId = ruma::EventId::parse(format!("$e{serial}:s.example")).unwrap();
        NewWaiting { id, prev_events: Vec::new(), json: format!("\"{}\"", "x".repeat((64 << 10) - 2)) }
    };
    (0..bytes / (64 << 10)).map(event).collect()
}

struct Space {
    store: MemoryStore,
    waiting: Waiting,
}

impl Space {
    fn new() -> Self {
        let store = MemoryStore::new();
        let waiting = block_on(Waiting::open(Rc::new(store.clone()))).unwrap();
        Self { store, waiting }
    }

    fn add(&self, gap: &GapId, bytes: usize, has_failed: impl Fn(&GapId) -> bool) -> bool {
        block_on(self.waiting.add(gap, flood(bytes), true, &has_failed)).unwrap()
    }

    fn add_of_stranger(&self, gap: &GapId, has_failed: impl Fn(&GapId) -> bool) -> bool {
        block_on(self.waiting.add(gap, flood(64 << 10), false, &has_failed)).unwrap()
    }

    fn stored(&self) -> usize {
        let rows = block_on(self.store.scan(&Scan::prefix(Key::new(Table::Waiting)))).unwrap();
        rows.iter().map(|row| row.value.len()).sum()
    }

    /// Where events wait, by what is in memory and by what is stored.
    fn gaps(&self) -> Vec<GapId> {
        let stored = block_on(Waiting::open(Rc::new(self.store.clone()))).unwrap().gaps();
        assert_eq!(stored, self.waiting.gaps());
        stored
    }
}

#[test]
fn servers_that_fill_all_space_and_fall_silent_keep_nobody_out() {
    let space = Space::new();
    for number in 0..16 {
        assert!(space.add(&gap(number, number), 4 * MEGABYTE, |_| false));
    }
    assert_eq!(space.stored(), 64 * MEGABYTE);
    assert!(!space.add(&gap(99, 99), MEGABYTE, |_| false), "nothing is given up that was not tried");
    assert_eq!(space.stored(), 64 * MEGABYTE);
    assert!(space.add(&gap(99, 99), MEGABYTE, |_| true));
    assert!(space.add(&gap(98, 98), MEGABYTE, |_| true), "there is space left of what was given up");
    assert_eq!(space.stored(), 62 * MEGABYTE);
    assert_eq!(space.gaps().len(), 17);
    assert!(space.gaps().contains(&gap(99, 99)) && space.gaps().contains(&gap(98, 98)));
}

#[test]
fn the_gap_goes_that_takes_up_most_of_those_that_were_tried_in_vain() {
    let space = Space::new();
    for number in 0..16 {
        assert!(space.add(&gap(number, number), if number == 3 { MEGABYTE } else { 4 * MEGABYTE }, |_| false));
    }
    assert!(space.add(&gap(99, 99), 4 * MEGABYTE, |failed| [gap(3, 3), gap(7, 7)].contains(failed)));
    assert!(!space.gaps().contains(&gap(7, 7)) && space.gaps().contains(&gap(3, 3)));
}

#[test]
fn one_server_has_little_space_in_all_rooms_together() {
    let space = Space::new();
    assert!(space.add(&gap(1, 1), 4 * MEGABYTE, |_| false) && space.add(&gap(2, 1), 4 * MEGABYTE, |_| false));
    assert!(!space.add(&gap(3, 1), MEGABYTE, |_| false));
    assert!(space.add(&gap(3, 2), MEGABYTE, |_| false), "another has its own");
    assert!(space.add(&gap(3, 1), MEGABYTE, |_| true), "what was tried in vain makes space");
    assert_eq!(space.stored(), 6 * MEGABYTE);
    assert!(space.gaps().contains(&gap(3, 2)), "of the same server");
}

#[test]
fn strangers_who_were_there_first_keep_no_others_out() {
    let space = Space::new();
    let resident = gap(1, 99);
    assert!(space.add(&resident, MEGABYTE, |_| false));
    assert!((0..10).all(|origin| space.add_of_stranger(&gap(1, origin), |_| false)));
    assert!(!space.add_of_stranger(&gap(1, 10), |_| false));
    assert!(space.add_of_stranger(&gap(2, 10), |_| false), "another room has its own");
    assert!(space.add_of_stranger(&gap(1, 10), |_| true));
    assert_eq!(space.gaps().len(), 12);
    assert!(space.gaps().contains(&resident));
}

#[test]
fn strangers_make_no_space_at_the_cost_of_those_who_are_in_the_room() {
    let space = Space::new();
    for number in 0..16 {
        assert!(space.add(&gap(number, number), 4 * MEGABYTE, |_| false));
    }
    assert!(!space.add_of_stranger(&gap(99, 99), |_| true));
    assert_eq!(space.stored(), 64 * MEGABYTE);
}

/// An event of which its sender is told an error would not come again.
#[test]
fn where_there_is_no_space_the_transaction_is_to_come_again() {
    let scene = Scene::new("12");
    scene.silence(A);
    scene.silence(B);
    let unknown: OwnedEventId = ruma::EventId::parse("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let mut answers = Vec::new();
    for number in 0..11 {
        let pdus: Vec<_> = (0..50).map(|_| json_of(&scene.world.build_after_unknown(Recipe::message(ALICE, "flood"), &unknown))).collect();
        answers.push(scene.send_as(A, &format!("flood{number}"), json!({ "pdus": pdus })));
    }
    let (status, body) = answers.pop().unwrap();
    assert!(answers.iter().all(|(status, body)| *status == 200 && !body.to_string().contains("error")), "{answers:?}");
    assert_eq!((status, &body["errcode"]), (429, &json!("M_LIMIT_EXCEEDED")));
    assert!(body["retry_after_ms"].as_u64().unwrap() > 0);
    let honest = scene.make(Recipe::message(BOB, "honest"));
    assert_eq!(scene.send(B, &[&honest])["pdus"][honest.as_str()], json!({}), "that is the one server's trouble");
}
