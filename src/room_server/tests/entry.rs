//! Entering a room that another server tells of.

use futures_executor::block_on;
use ruma::OwnedEventId;

use super::world::{ALICE, BOB, CAROL, Peer, Recipe, World};
use crate::{
    event::CheckedPdu,
    room_server::{
        InputKind, Verdict,
        auth::Allowed,
        commit::{gap_key, members_prefix, user_room_key},
        import::ToldEvent,
        stored::Status,
    },
    storage::{Key, Scan, Table},
};

/// Takes in events, each in a commit of its own as the smallest chunks are, and returns what may stand in a state.
fn take_in(peer: &Peer, events: &[CheckedPdu]) -> Vec<Option<ToldEvent>> {
    events.iter().flat_map(|event| peer.transact(|draft| draft.take_in(std::slice::from_ref(event))).unwrap()).collect()
}

fn enter(peer: &Peer, event: &CheckedPdu, state: &[ToldEvent]) -> Allowed {
    peer.transact(|draft| draft.enter(event, state)).unwrap()
}

fn events(world: &World, ids: &[OwnedEventId]) -> Vec<CheckedPdu> {
    ids.iter().map(|id| world.event(id)).collect()
}

fn rows(peer: &Peer, prefix: Key) -> usize {
    block_on(peer.store.scan(&Scan::prefix(prefix))).unwrap().len()
}

#[test]
fn a_room_that_was_told_of_is_entered_with_its_state() {
    let world = World::new("11");
    let state = world.made();
    world.make(Recipe::message(ALICE, "before Bob comes"));
    let join = world.make(Recipe::member(BOB, BOB, "join"));
    let peer = world.peer_of("b.example");
    let told: Vec<_> = take_in(&peer, &events(&world, &state)).into_iter().flatten().collect();
    assert_eq!(peer.room.head().extremities, [], "what is told is not entered yet");
    assert_eq!(rows(&peer, Key::new(Table::UserRooms)), 0);

    assert_eq!(enter(&peer, &world.event(&join), &told), Ok(()));
    assert_eq!(peer.current(), world.workshop.current());
    assert_eq!(peer.extremities(), [join.clone()].into());
    assert_eq!((peer.room.head().joined, rows(&peer, members_prefix(peer.room.number, "join"))), (2, 2));
    assert_eq!(rows(&peer, user_room_key(&super::world::user(BOB), peer.room.number)), 1);
    let entered = peer.stored(&join);
    assert!(entered.decided.gap, "the message before it is missing");
    assert_eq!(rows(&peer, gap_key(peer.room.number, entered.pdu.depth, entered.number)), 1);

    let reply = world.make(Recipe::message(ALICE, "welcome"));
    let reopened = peer.reopened();
    assert_eq!(reopened.receive(&world.event(&reply), InputKind::New), Verdict::Stored(Status::Accepted));
    assert!(!reopened.stored(&reply).decided.gap);
}

#[test]
fn nobody_enters_where_the_told_state_does_not_let_them() {
    let world = World::new("11");
    let state = world.made();
    let join = world.make(Recipe::member(BOB, BOB, "join"));
    let private = world.make(Recipe::state(ALICE, "m.room.join_rules", "", serde_json::json!({ "join_rule": "invite" })));
    let peer = world.peer_of("b.example");
    let mut told: Vec<_> = take_in(&peer, &events(&world, &state)).into_iter().flatten().collect();
    let rules = take_in(&peer, &events(&world, &[private]));
    told.retain(|told| told.kind != ruma::events::StateEventType::RoomJoinRules);
    told.extend(rules.into_iter().flatten());
    assert!(enter(&peer, &world.event(&join), &told).is_err());
    assert_eq!((peer.find(&join).is_none(), peer.room.head().extremities.len(), rows(&peer, Key::new(Table::UserRooms))), (true, 0, 0));
}

#[test]
fn what_is_not_authorised_stands_in_no_state() {
    let world = World::new("11");
    let state = world.made();
    let forbidden = world.build(Recipe::topic(CAROL, "Carol was never here"));
    let message = world.build(Recipe::message(ALICE, "no state"));
    let join = world.make(Recipe::member(BOB, BOB, "join"));
    let orphan = world.build(Recipe::topic(BOB, "its authorising events are not told"));
    let peer = world.peer_of("b.example");
    assert!(take_in(&peer, &events(&world, &state)).iter().all(Option::is_some));
    assert_eq!(take_in(&peer, &[forbidden, message, orphan]), [None, None, None]);
    assert!(enter(&peer, &world.event(&join), &[]).is_err(), "nothing is not the state of a room");
}

#[test]
fn a_room_is_entered_anew_with_the_state_that_was_told() {
    let world = World::new("11");
    world.make(Recipe::member(BOB, BOB, "join"));
    let old_topic = world.make(Recipe::topic(ALICE, "old"));
    let leave = world.make(Recipe::member(BOB, BOB, "leave"));
    let peer = world.peer_of("b.example");
    world.made().iter().for_each(|id| drop(peer.receive(&world.event(id), InputKind::New)));
    assert_eq!(peer.current_event("m.room.topic", ""), Some(old_topic));

    world.make(Recipe::member(CAROL, CAROL, "join"));
    world.make(Recipe::member(CAROL, CAROL, "leave"));
    let topic = world.make(Recipe::topic(ALICE, "new"));
    let state: Vec<_> = world.workshop.current().into_values().collect();
    let authorising = world.made();
    let join = world.make(Recipe::member(BOB, BOB, "join"));
    let told = take_in(&peer, &events(&world, &authorising)).into_iter().flatten();
    let told: Vec<_> = told.filter(|told| state.iter().any(|id| peer.stored(id).number == told.number)).collect();
    assert_eq!(enter(&peer, &world.event(&join), &told), Ok(()));
    assert_eq!(peer.current(), world.workshop.current());
    assert_eq!(peer.current_event("m.room.topic", ""), Some(topic));
    assert_eq!(peer.extremities(), [join.clone()].into(), "{leave} is behind");
    assert_eq!(peer.membership(BOB).as_deref(), Some("join"));
    assert_eq!(peer.room.head().joined, 2);
}

#[test]
fn the_first_event_and_its_successors_have_no_gap() {
    let world = World::new("11");
    let peer = world.informed_peer();
    assert!(world.made().iter().all(|id| !peer.stored(id).decided.gap));
    assert_eq!(rows(&peer, Key::new(Table::Gaps)), 0);
}
