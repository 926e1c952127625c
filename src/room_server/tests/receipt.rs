//! The checks on receipt of a PDU, one by one.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>

use std::collections::BTreeSet;

use futures_executor::block_on;
use ruma::OwnedEventId;
use serde_json::json;

use super::world::{ALICE, BOB, CAROL, DAVE, Peer, Recipe, World};
use crate::{
    event::CheckedPdu,
    log::Output,
    room_server::{
        Input, InputKind, Position, Verdict,
        commit::{read_room_log_row, timeline_key},
        stored::Status,
    },
    storage::{Key, Scan, Table},
};

const ACCEPTED: Verdict = Verdict::Stored(Status::Accepted);
const REJECTED: Verdict = Verdict::Stored(Status::Rejected);
const SOFT_FAILED: Verdict = Verdict::Stored(Status::SoftFailed);

/// A world in which Bob and Carol have joined.
fn world() -> World {
    let world = World::new("11");
    world.make(Recipe::member(BOB, BOB, "join"));
    world.make(Recipe::member(CAROL, CAROL, "join"));
    world
}

fn set<'a>(ids: impl IntoIterator<Item = &'a OwnedEventId>) -> BTreeSet<OwnedEventId> {
    ids.into_iter().cloned().collect()
}

fn with_state(event: CheckedPdu, kind: InputKind, state: impl IntoIterator<Item = OwnedEventId>) -> Input {
    Input { event, kind, state_before: Some(state.into_iter().collect()) }
}

/// The events of the room's log, oldest first.
fn told(peer: &Peer) -> Vec<OwnedEventId> {
    let rows = block_on(peer.store.scan(&Scan::prefix(Key::new(Table::RoomLog)))).unwrap();
    let events = rows.iter().map(|row| read_room_log_row(&row.value).unwrap().0);
    let events = block_on(peer.rooms.events(&peer.room, &events.collect::<Vec<_>>())).unwrap();
    events.into_iter().map(|event| event.pdu.event_id.clone()).collect()
}

/// Whether the event has a place in the order that clients page through.
fn is_in_timeline(peer: &Peer, id: &OwnedEventId) -> bool {
    let event = peer.stored(id);
    let key = timeline_key(peer.room.number, event.pdu.depth, event.number);
    block_on(peer.store.get_many(&[key])).unwrap()[0].is_some()
}

#[test]
fn an_event_is_known_when_it_comes_again() {
    let world = world();
    let message = world.make(Recipe::message(BOB, "hello"));
    let peer = world.informed_peer();
    let (extremities, end) = (peer.extremities(), peer.log.end());
    for kind in [InputKind::New, InputKind::Old, InputKind::Outlier] {
        for id in world.made() {
            assert_eq!(peer.receive(&world.event(&id), kind), Verdict::Known);
        }
    }
    assert_eq!((peer.extremities(), peer.log.end()), (extremities, end));
    assert_eq!(told(&peer).iter().filter(|id| **id == message).count(), 1);
}

#[test]
fn an_event_waits_for_what_authorises_it_and_for_what_is_before_it() {
    let world = world();
    let first = world.make(Recipe::message(CAROL, "first"));
    let peer = world.peer();
    let message = world.make(Recipe::message(CAROL, "second"));
    let event = world.event(&message);
    let auth_events = event.pdu().auth_events.clone();
    assert_eq!(peer.receive(&event, InputKind::New), Verdict::Missing { auth_events, prev_events: Vec::new() });
    let everything = world.made();
    let but_the_last_two = &everything[..everything.len() - 2];
    but_the_last_two.iter().for_each(|id| assert_eq!(peer.receive(&world.event(id), InputKind::New), ACCEPTED));
    let missing = Verdict::Missing { auth_events: Vec::new(), prev_events: vec![first.clone()] };
    assert_eq!(peer.receive(&event, InputKind::New), missing);
    assert!(peer.find(&message).is_none(), "nothing is stored of an event that waits");
    assert_eq!(peer.receive(&world.event(&first), InputKind::New), ACCEPTED);
    assert_eq!(peer.receive(&event, InputKind::New), ACCEPTED);
}

#[test]
fn an_event_that_its_own_authorising_events_forbid_is_rejected() {
    let world = world();
    let alices_join = world.workshop.current_event("m.room.member", ALICE).unwrap();
    let levels = world.workshop.current_event("m.room.power_levels", "").unwrap();
    let create = world.create();
    // The state would allow it; what it names does not.
    let without_membership = Recipe::message(BOB, "x").authorised_by(&[&create, &levels]);
    let anothers_membership = Recipe::message(BOB, "x").authorised_by(&[&create, &levels, &alices_join]);
    let without_create = Recipe::message(BOB, "x").authorised_by(&[&levels]);
    let twice = Recipe::message(ALICE, "x").authorised_by(&[&create, &levels, &alices_join, &alices_join]);
    for recipe in [without_membership, anothers_membership, without_create, twice] {
        let (id, verdict) = world.try_make(recipe);
        assert_eq!(verdict, REJECTED);
        assert!(world.workshop.stored(&id).pdu.rejected);
        assert!(!world.workshop.extremities().contains(&id));
    }
}

#[test]
fn an_event_that_the_state_before_it_forbids_is_rejected() {
    let world = world();
    let bobs_join = world.workshop.current_event("m.room.member", BOB).unwrap();
    let levels = world.workshop.current_event("m.room.power_levels", "").unwrap();
    let ban = world.make(Recipe::member(ALICE, BOB, "ban"));
    let (message, verdict) =
        world.try_make(Recipe::message(BOB, "x").after(&[&ban]).authorised_by(&[&world.create(), &levels, &bobs_join]));
    assert_eq!(verdict, REJECTED);
    assert_eq!(world.workshop.extremities(), set([&ban]));
    assert!(!told(&world.workshop).contains(&message));
    assert!(!is_in_timeline(&world.workshop, &message));
}

#[test]
fn an_event_with_a_rejected_authorising_event_is_rejected() {
    let world = world();
    let (join, verdict) = world.try_make(Recipe::member(BOB, DAVE, "join"));
    assert_eq!(verdict, REJECTED, "nobody joins in another's name");
    let peer = world.informed_peer().reopened();
    let levels = world.workshop.current_event("m.room.power_levels", "").unwrap();
    let rules = world.workshop.current_event("m.room.join_rules", "").unwrap();
    // By itself all of this would do: a public room, and a membership that need not be there.
    let (id, verdict) = world.try_make(Recipe::member(DAVE, DAVE, "join").authorised_by(&[&world.create(), &levels, &rules, &join]));
    assert_eq!(verdict, REJECTED);
    assert_eq!(peer.receive(&world.event(&id), InputKind::New), REJECTED, "after a restart as well");
}

/// What builds on a rejected event builds on the state before that event.
#[test]
fn a_rejected_event_leaves_the_state_as_it_was() {
    let world = world();
    let before = world.workshop.current();
    let (topic, verdict) = world.try_make(Recipe::topic(BOB, "not allowed"));
    assert_eq!(verdict, REJECTED);
    assert_eq!(world.workshop.current(), before);
    let message = world.make(Recipe::message(CAROL, "after it").after(&[&topic]));
    assert_eq!(world.workshop.before(&message), before);
    assert_eq!(world.workshop.current(), before);
    assert_eq!(world.workshop.status(&topic), Status::Rejected);
}

#[test]
fn a_message_that_raced_with_the_ban_of_its_sender_is_soft_failed() {
    let world = world();
    let base = world.workshop.extremities().pop_first().unwrap();
    let ban = world.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]));
    let (message, verdict) = world.try_make(Recipe::message(BOB, "one more thing").after(&[&base]));
    assert_eq!(verdict, SOFT_FAILED);
    let workshop = &world.workshop;
    assert_eq!(workshop.extremities(), set([&ban]), "nothing is built on it");
    assert!(!told(workshop).contains(&message) && !is_in_timeline(workshop, &message), "nobody sees it");
    let late = world.peer();
    let rest = world.made().into_iter().filter(|id| *id != ban && *id != message);
    rest.for_each(|id| assert_eq!(late.receive(&world.event(&id), InputKind::New), ACCEPTED));
    assert_eq!(late.receive(&world.event(&message), InputKind::New), ACCEPTED, "where the ban is not known yet, it is as good as any");
    assert_eq!(late.receive(&world.event(&ban), InputKind::New), ACCEPTED);
    assert_eq!(late.current(), workshop.current(), "its sender is banned all the same");
}

/// A soft-failed state event is part of the state that it leads to, if somebody builds on it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#soft-failure>
#[test]
fn what_builds_on_a_soft_failed_event_takes_its_place_among_the_extremities() {
    let world = world();
    world.make(world.power(ALICE, &[(BOB, 50), (CAROL, 50)]));
    let base = world.workshop.extremities().pop_first().unwrap();
    let ban = world.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]));
    let (topic, verdict) = world.try_make(Recipe::topic(BOB, "raced").after(&[&base]));
    assert_eq!(verdict, SOFT_FAILED);
    let message = world.make(Recipe::message(CAROL, "on both").after(&[&topic, &ban]));
    assert_eq!(world.workshop.extremities(), set([&message]));
    let before = world.workshop.before(&message);
    assert_eq!(before.get(&("m.room.member".into(), BOB.into())), Some(&ban));
    assert_eq!(world.workshop.current(), before, "the current state is that of the only extremity");
}

/// An extremity that is reached only through events that are no extremities themselves is one no more.
#[test]
fn what_a_soft_failed_event_built_on_is_no_extremity_once_something_builds_on_that() {
    let world = world();
    let base = world.make(Recipe::message(ALICE, "base"));
    let (rejected, verdict) = world.try_make(Recipe::topic(BOB, "not allowed").after(&[&base]));
    assert_eq!(verdict, REJECTED);
    let (second, verdict) = world.try_make(Recipe::topic(BOB, "not allowed either").after(&[&rejected]));
    assert_eq!(verdict, REJECTED);
    assert_eq!(world.workshop.extremities(), set([&base]));
    let message = world.make(Recipe::message(CAROL, "behind").after(&[&second]));
    assert_eq!(world.workshop.extremities(), set([&message]));
}

#[test]
fn forks_leave_several_extremities_and_a_merge_one() {
    let world = world();
    let base = world.make(Recipe::message(ALICE, "base"));
    let left = world.make(Recipe::message(ALICE, "left").after(&[&base]));
    let right = world.make(Recipe::message(BOB, "right").after(&[&base]));
    assert_eq!(world.workshop.extremities(), set([&left, &right]));
    let merge = world.make(Recipe::message(CAROL, "merge"));
    assert_eq!(set(&world.workshop.stored(&merge).pdu.prev_events), set([&left, &right]));
    assert_eq!(world.workshop.extremities(), set([&merge]));
}

/// An event that came with the state told, before what it builds on: when that comes, something builds on it already.
#[test]
fn an_event_whose_descendants_came_first_is_no_extremity() {
    let world = world();
    let peer = world.informed_peer();
    let first = world.make(Recipe::message(BOB, "first"));
    let second = world.make(Recipe::message(BOB, "second"));
    let state = world.workshop.before(&second).into_values();
    assert_eq!(peer.receive_input(&with_state(world.event(&second), InputKind::New, state)), ACCEPTED);
    assert_eq!(peer.receive(&world.event(&first), InputKind::Old), ACCEPTED);
    assert!(!peer.extremities().contains(&first));
    assert!(peer.extremities().contains(&second));
}

#[test]
fn an_outlier_has_no_place_until_it_gets_one() {
    let world = world();
    let peer = world.informed_peer();
    let topic = world.make(Recipe::topic(ALICE, "t"));
    let before = peer.current();
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), Verdict::Stored(Status::Outlier));
    assert_eq!(peer.current(), before);
    assert!(!peer.extremities().contains(&topic) && !told(&peer).contains(&topic) && !is_in_timeline(&peer, &topic));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), Verdict::Known);
    let number = peer.stored(&topic).number;

    assert_eq!(peer.receive(&world.event(&topic), InputKind::New), ACCEPTED);
    assert_eq!(peer.stored(&topic).number, number, "other rows may name it by its number already");
    assert_eq!(peer.current(), world.workshop.current());
    assert_eq!(peer.extremities(), set([&topic]));
    assert!(told(&peer).contains(&topic) && is_in_timeline(&peer, &topic));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::New), Verdict::Known);
}

#[test]
fn an_outlier_is_there_after_a_restart() {
    let world = world();
    let peer = world.informed_peer();
    let topic = world.make(Recipe::topic(ALICE, "t"));
    peer.receive(&world.event(&topic), InputKind::Outlier);
    let again = peer.reopened();
    assert_eq!(again.status(&topic), Status::Outlier);
    assert_eq!(again.current(), peer.current());
    assert_eq!(again.extremities(), peer.extremities());
}

#[test]
fn what_builds_on_an_outlier_waits_until_that_has_its_place() {
    let world = world();
    let peer = world.informed_peer();
    let topic = world.make(Recipe::topic(ALICE, "t"));
    let message = world.make(Recipe::message(BOB, "x"));
    peer.receive(&world.event(&topic), InputKind::Outlier);
    let missing = Verdict::Missing { auth_events: Vec::new(), prev_events: vec![topic.clone()] };
    assert_eq!(peer.receive(&world.event(&message), InputKind::New), missing);
    assert_eq!(peer.receive(&world.event(&topic), InputKind::New), ACCEPTED);
    assert_eq!(peer.receive(&world.event(&message), InputKind::New), ACCEPTED);
}

/// Without this, what builds on such an event would wait for ever.
#[test]
fn what_builds_on_a_rejected_outlier_need_not_wait_once_that_has_its_place() {
    let world = world();
    let peer = world.informed_peer();
    let (topic, verdict) = world.try_make(Recipe::topic(BOB, "not allowed"));
    assert_eq!(verdict, REJECTED);
    let message = world.make(Recipe::message(CAROL, "x").after(&[&topic]));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), REJECTED);
    let missing = Verdict::Missing { auth_events: Vec::new(), prev_events: vec![topic.clone()] };
    assert_eq!(peer.receive(&world.event(&message), InputKind::New), missing);
    assert_eq!(peer.receive(&world.event(&topic), InputKind::New), REJECTED);
    assert_eq!(peer.receive(&world.event(&message), InputKind::New), ACCEPTED);
}

#[test]
fn an_outlier_that_its_place_forbids_is_rejected_there() {
    let world = world();
    world.make(world.power(ALICE, &[(BOB, 50)]));
    let levels = world.workshop.current_event("m.room.power_levels", "").unwrap();
    let bobs_join = world.workshop.current_event("m.room.member", BOB).unwrap();
    world.make(Recipe::member(ALICE, BOB, "ban"));
    let peer = world.informed_peer();
    let (topic, verdict) = world.try_make(Recipe::topic(BOB, "raced").authorised_by(&[&world.create(), &levels, &bobs_join]));
    assert_eq!(verdict, REJECTED);
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), Verdict::Stored(Status::Outlier));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::New), REJECTED);
    assert!(peer.stored(&topic).pdu.rejected);
    assert_eq!(peer.current(), world.workshop.current());
}

/// A server that joins knows the state by being told, and nothing of what was before.
#[test]
fn a_room_can_begin_with_a_state_that_is_told() {
    let world = world();
    let topic = world.make(Recipe::topic(ALICE, "t"));
    let message = world.make(Recipe::message(ALICE, "before"));
    let join = world.make(Recipe::member(DAVE, DAVE, "join"));
    let peer = world.peer();
    let state = world.workshop.before(&join);
    let in_order = world.made().into_iter().filter(|id| state.values().any(|event| event == id));
    in_order.for_each(|id| assert_eq!(peer.receive(&world.event(&id), InputKind::Outlier), Verdict::Stored(Status::Outlier)));
    assert_eq!(peer.receive_input(&with_state(world.event(&join), InputKind::New, state.clone().into_values())), ACCEPTED);
    assert_eq!(peer.before(&join), state);
    assert_eq!(peer.current(), world.workshop.current());
    assert_eq!(peer.extremities(), set([&join]));
    assert_eq!((peer.room.head().joined, world.workshop.room.head().joined), (4, 4));
    assert_eq!(told(&peer), std::slice::from_ref(&join));

    // What was before is back-filled, and changes nothing.
    let head = peer.room.head();
    let told_before = world.workshop.before(&message).into_values();
    assert_eq!(peer.receive_input(&with_state(world.event(&message), InputKind::Old, told_before)), ACCEPTED);
    let told_before = world.workshop.before(&topic).into_values();
    assert_eq!(peer.receive_input(&with_state(world.event(&topic), InputKind::Old, told_before)), ACCEPTED);
    assert!(is_in_timeline(&peer, &message) && is_in_timeline(&peer, &topic));
    assert_eq!(peer.stored(&message).decided.position, Position(0));
    assert_eq!((peer.extremities(), peer.current()), (set([&join]), world.workshop.current()));
    assert_eq!((peer.room.head().position, peer.room.head().joined), (head.position, head.joined));
    assert_eq!(told(&peer), [join]);
}

#[test]
fn an_old_event_is_judged_by_its_own_place_and_not_by_the_current_state() {
    let world = world();
    let message = world.make(Recipe::message(BOB, "before the ban"));
    world.make(Recipe::member(ALICE, BOB, "ban"));
    let peer = world.peer();
    for id in world.made().into_iter().filter(|id| *id != message) {
        let state = Some(world.workshop.before(&id).into_values().collect());
        assert_eq!(peer.receive_input(&Input { event: world.event(&id), kind: InputKind::New, state_before: state }), ACCEPTED);
    }
    assert_eq!(peer.receive(&world.event(&message), InputKind::Old), ACCEPTED);
    assert_eq!(peer.membership(BOB).as_deref(), Some("ban"));
}

#[test]
fn a_rejected_event_is_left_out_of_a_state_that_is_told() {
    let world = world();
    let peer = world.informed_peer();
    let (topic, _) = world.try_make(Recipe::topic(BOB, "not allowed"));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), REJECTED);
    let message = world.make(Recipe::message(CAROL, "x"));
    let state = world.workshop.before(&message).into_values().chain([topic]);
    assert_eq!(peer.receive_input(&with_state(world.event(&message), InputKind::New, state)), ACCEPTED);
    assert_eq!(peer.before(&message), world.workshop.before(&message));
}

#[test]
fn a_told_state_must_be_known() {
    let world = world();
    let topic = world.make(Recipe::topic(ALICE, "t"));
    let message = world.make(Recipe::message(BOB, "x"));
    let peer = world.peer();
    world.made().iter().take(6).for_each(|id| drop(peer.receive(&world.event(id), InputKind::New)));
    let state = world.workshop.before(&message).into_values();
    let verdict = peer.receive_input(&with_state(world.event(&message), InputKind::New, state));
    assert_eq!(verdict, Verdict::Missing { auth_events: Vec::new(), prev_events: vec![topic] });
}

#[test]
fn a_state_event_knows_what_it_replaced() {
    let world = world();
    let first = world.make(Recipe::topic(ALICE, "first"));
    let second = world.make(Recipe::topic(ALICE, "second"));
    let workshop = &world.workshop;
    assert_eq!(workshop.stored(&first).decided.replaces, None);
    assert_eq!(workshop.stored(&second).decided.replaces, Some(workshop.stored(&first).number));
}

/// The log tells what came into the current state and what went out of it, also where a merge decides that.
#[test]
fn the_log_tells_of_each_change_of_the_state() {
    let world = world();
    world.make(world.power(ALICE, &[(BOB, 50)]));
    let base = world.workshop.extremities().pop_first().unwrap();
    let first = world.make(Recipe::topic(BOB, "first").after(&[&base]).at(2_000));
    let ban = world.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]).at(1_000));
    let workshop = &world.workshop;
    let number = |id: &OwnedEventId| workshop.stored(id).number;
    let position = workshop.stored(&ban).decided.position;
    let entries = block_on(workshop.log.read(position, 1)).unwrap();
    let Output::Event { event, added, removed, .. } = &entries[0].1 else { panic!("an event") };
    assert_eq!(*event, number(&ban));
    assert_eq!(added, &[number(&ban)]);
    assert_eq!(workshop.current_event("m.room.topic", ""), None, "the ban comes first");
    let bobs_join = workshop.stored(&ban).decided.replaces.unwrap();
    assert_eq!(BTreeSet::from_iter(removed.iter().copied()), BTreeSet::from([bobs_join, number(&first)]));
}

#[test]
fn counts_of_members_follow_the_current_state() {
    let world = World::new("11");
    let counts = || (world.workshop.room.head().joined, world.workshop.room.head().invited);
    assert_eq!(counts(), (1, 0));
    world.make(Recipe::member(ALICE, BOB, "invite"));
    assert_eq!(counts(), (1, 1));
    world.make(Recipe::member(BOB, BOB, "join"));
    assert_eq!(counts(), (2, 0));
    world.make(Recipe::state(BOB, "m.room.member", BOB, json!({ "membership": "join", "displayname": "Bob" })));
    assert_eq!(counts(), (2, 0), "a change of name changes no count");
    world.make(Recipe::member(ALICE, BOB, "ban"));
    assert_eq!(counts(), (1, 0));
    world.make(Recipe::member(ALICE, BOB, "leave"));
    world.make(Recipe::member(ALICE, BOB, "invite"));
    world.make(Recipe::member(BOB, BOB, "leave"));
    assert_eq!(counts(), (1, 0));
}

/// An event names twenty others at most, so where there are more extremities it does not build on all of them.
#[test]
fn the_state_before_an_event_is_that_of_the_extremities_it_names() {
    let world = world();
    let base = world.workshop.extremities().pop_first().unwrap();
    let fork = |serial: usize| Recipe::state(ALICE, "m.fork", &serial.to_string(), json!({})).after(&[&base]);
    let forks: Vec<_> = (0..25).map(|serial| world.make(fork(serial))).collect();
    assert_eq!(world.workshop.extremities(), set(&forks));
    let event = crate::event::NewEvent::message(super::world::user(ALICE), "m.room.message", json!({}));
    let id = world.workshop.transact(|draft| draft.add(event.clone(), None)).unwrap();
    let stored = world.workshop.stored(&id);
    assert_eq!(stored.pdu.prev_events.len(), 20);
    assert_eq!(world.workshop.before(&id), world.workshop.resolved_after(&stored.pdu.prev_events));
    assert_eq!(world.workshop.extremities().len(), 6);
    let peer = world.informed_peer();
    let event = world.checked(&serde_json::from_str(stored.pdu.json.get()).unwrap()).unwrap();
    assert_eq!(peer.receive(&event, InputKind::New), ACCEPTED);
    assert_eq!(peer.before(&id), world.workshop.before(&id));
    assert_eq!(peer.current(), world.workshop.current());
    super::consistency::check(&world.workshop);
}

/// The rules allow a create event in any state. That it is the first of its room is not for them to see, nor in which room it
/// is from version 12 on, where it would be another room's.
#[test]
fn a_room_is_created_once() {
    for version in crate::event::STABLE_ROOM_VERSIONS.iter().take(11) {
        let world = World::new(version.as_str());
        let another = world.another_create();
        let id = world.remember(another.clone());
        for kind in [InputKind::New, InputKind::Old, InputKind::Outlier] {
            let peer = world.informed_peer_but(&id);
            let (current, extremities) = (peer.current(), peer.extremities());
            assert_eq!(peer.receive(&another, kind), REJECTED, "version {version}, {kind:?}");
            assert_eq!((peer.current(), peer.extremities()), (current, extremities), "version {version}, {kind:?}");
            assert!(!is_in_timeline(&peer, &id));
        }
        // What came before the room was known cannot be judged before it is.
        let early = world.peer();
        assert_eq!(early.receive(&another, InputKind::Outlier), Verdict::Stored(Status::Outlier));
        for made in world.made().iter().filter(|made| **made != id) {
            assert_eq!(early.receive(&world.event(made), InputKind::New), ACCEPTED, "version {version}");
        }
        let (join, levels) =
            (early.current_event("m.room.member", ALICE).unwrap(), early.current_event("m.room.power_levels", "").unwrap());
        let message = world.build(Recipe::message(ALICE, "x").authorised_by(&[&id, &join, &levels]));
        assert_eq!(early.receive(&message, InputKind::New), REJECTED, "version {version}");
        let topic = world.event(&world.make(Recipe::topic(ALICE, "x")));
        let told = early.current().into_values().filter(|event| *event != world.create()).chain([id.clone()]);
        assert_eq!(early.receive_input(&with_state(topic, InputKind::New, told)), REJECTED, "version {version}");
        assert_eq!(early.receive(&another, InputKind::New), REJECTED, "version {version}");
        assert_eq!(early.current_event("m.room.create", ""), Some(world.create()), "version {version}");
    }
}

#[test]
fn an_event_of_another_room_is_refused() {
    let (world, other) = (world(), World::new("12"));
    let peer = world.informed_peer();
    let event = other.event(&other.create());
    let input = Input { event, kind: InputKind::New, state_before: None };
    assert!(peer.transact(|draft| draft.receive(&input)).is_err());
    assert!(peer.find(&other.create()).is_none());
}
