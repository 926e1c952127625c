//! State resolution in rooms that people fight over: what comes out of it, in words.

use ruma::OwnedEventId;
use serde_json::json;

use super::{
    resolution_oracle::check_states_before,
    world::{ALICE, BOB, CAROL, DAVE, Recipe, World},
};
use crate::room_server::{Input, InputKind, Verdict, stored::Status};

/// Versions of state resolution: 1 in room version 1, 2 until room version 11, 2.1 in room version 12.
const VERSIONS: [&str; 4] = ["1", "2", "11", "12"];

/// A world in which all have joined, Bob and Carol may moderate, and a message was sent last.
fn world(version: &str) -> (World, OwnedEventId) {
    let world = World::new(version);
    for user in [BOB, CAROL, DAVE] {
        world.make(Recipe::member(user, user, "join"));
    }
    world.make(world.power(ALICE, &[(BOB, 50), (CAROL, 50)]));
    let base = world.make(Recipe::message(ALICE, "base"));
    (world, base)
}

/// A message on top of all branches, at which they are merged; its state, and the oracle's word for it.
fn merged(world: &World) -> super::world::State {
    let merge = world.make(Recipe::message(ALICE, "merge"));
    assert_eq!(world.workshop.extremities().len(), 1);
    check_states_before(world, &world.workshop);
    let state = world.workshop.before(&merge);
    assert_eq!(world.workshop.current(), state);
    state
}

fn event<'a>(state: &'a super::world::State, kind: &str, state_key: &str) -> Option<&'a OwnedEventId> {
    state.get(&(kind.to_owned(), state_key.to_owned()))
}

#[test]
fn the_later_of_two_topics_wins() {
    for version in VERSIONS {
        let (world, base) = world(version);
        let early = world.make(Recipe::topic(BOB, "early").after(&[&base]).at(1_000));
        let late = world.make(Recipe::topic(CAROL, "late").after(&[&base]).at(2_000));
        let winner = event(&merged(&world), "m.room.topic", "").cloned();
        // Room version 1 does not look at the time, but at the depth, and then at a hash.
        assert!(winner == Some(late) || (version == "1" && winner == Some(early)), "version {version}");
    }
}

#[test]
fn in_room_version_1_the_deeper_of_two_topics_wins() {
    let (world, base) = world("1");
    let between = world.make(Recipe::message(BOB, "between").after(&[&base]));
    let deep = world.make(Recipe::topic(BOB, "deep").after(&[&between]).at(1_000));
    world.make(Recipe::topic(CAROL, "shallow").after(&[&base]).at(2_000));
    assert_eq!(event(&merged(&world), "m.room.topic", ""), Some(&deep));
}

#[test]
fn topics_of_different_ages_are_ordered_by_the_power_levels_that_they_know() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        world.make(Recipe::topic(BOB, "with a clock that is fast").after(&[&base]).at(9_000));
        let levels = world.make(world.power(ALICE, &[(BOB, 50), (CAROL, 50), (DAVE, 50)]).after(&[&base]).at(1_000));
        let newer = world.make(Recipe::topic(DAVE, "knows the newer levels").after(&[&levels]).at(2_000));
        assert_eq!(event(&merged(&world), "m.room.topic", ""), Some(&newer), "version {version}");
    }
}

#[test]
fn a_ban_beats_what_the_banned_did_meanwhile() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        let topic = world.make(Recipe::topic(BOB, "meanwhile").after(&[&base]).at(5_000));
        let ban = world.make(Recipe::member(ALICE, BOB, "ban").after(&[&base]).at(1_000));
        let state = merged(&world);
        assert_eq!(event(&state, "m.room.member", BOB), Some(&ban), "version {version}");
        assert_eq!(event(&state, "m.room.topic", ""), None, "version {version}: {topic} was sent by a banned user");
    }
}

#[test]
fn of_a_ban_and_the_taking_of_power_the_more_powerful_wins() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        let base = world.make(world.power(ALICE, &[(BOB, 90), (CAROL, 50)]).after(&[&base]));
        let ban = world.make(Recipe::member(BOB, CAROL, "ban").after(&[&base]).at(2_000));
        let levels = world.make(world.power(ALICE, &[(CAROL, 50)]).after(&[&base]).at(9_000));
        let state = merged(&world);
        assert_eq!(event(&state, "m.room.power_levels", ""), Some(&levels), "version {version}");
        assert_ne!(event(&state, "m.room.member", CAROL), Some(&ban), "version {version}");
    }
}

#[test]
fn of_two_changes_with_the_same_power_the_earlier_goes_first() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        let base = world.make(world.power(ALICE, &[(BOB, 90), (CAROL, 90)]).after(&[&base]));
        let late = world.make(Recipe::state(BOB, "m.room.join_rules", "", json!({ "join_rule": "invite" })).after(&[&base]).at(9_000));
        let early = world.make(Recipe::state(CAROL, "m.room.join_rules", "", json!({ "join_rule": "knock" })).after(&[&base]).at(2_000));
        let winner = event(&merged(&world), "m.room.join_rules", "").cloned();
        assert_eq!(winner, Some(late), "version {version}: what goes last stays, and that is not {early}");
    }
}

/// Makes an event in a room whose state another server tells.
fn make_with_state(world: &World, recipe: Recipe, state: &[&OwnedEventId]) -> OwnedEventId {
    let event = world.build(recipe);
    let state_before = Some(state.iter().copied().cloned().collect());
    let input = Input { event: event.clone(), kind: InputKind::New, state_before };
    assert!(matches!(world.workshop.receive_input(&input), Verdict::Stored(Status::Accepted | Status::SoftFailed)));
    world.remember(event)
}

/// What version 2.1 mends: judged upon the undisputed state, the rules of joining are lost with the power of who has left.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
#[test]
fn rules_of_one_who_has_left_since_are_kept_from_version_12_on() {
    for (version, kept) in [("11", false), ("12", true)] {
        let world = World::new(version);
        let of = |kind: &str, key: &str| world.workshop.current_event(kind, key).unwrap();
        let bob = world.make(Recipe::member(BOB, BOB, "join"));
        let carol = world.make(Recipe::member(CAROL, CAROL, "join"));
        let (create, levels, public) = (world.create(), of("m.room.power_levels", ""), of("m.room.join_rules", ""));
        let invite = world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" })));
        let left = world.make(Recipe::member(ALICE, ALICE, "leave"));
        let named =
            |user: &str, name: &str| Recipe::state(user, "m.room.member", user, json!({ "membership": "join", "displayname": name }));
        let new_bob = world.make(named(BOB, "Bobby").after(&[&left]));
        let new_carol = world.make(named(CAROL, "Caro").after(&[&left]));
        let bobs = [&create, &levels, &carol, &invite, &left, &new_bob];
        let carols = [&create, &levels, &public, &bob, &left, &new_carol];
        let one = make_with_state(&world, Recipe::message(BOB, "x").after(&[&new_bob]), &bobs);
        let other = make_with_state(&world, Recipe::message(CAROL, "x").after(&[&new_carol]), &carols);
        let state = world.workshop.resolved_after(&[one, other]);
        assert_eq!(event(&state, "m.room.join_rules", ""), kept.then_some(&invite), "version {version}");
    }
}

/// What version 2.1 mends: what lies between two disputed events is judged as well, so that power levels do not fall back.
#[test]
fn power_levels_do_not_fall_back_from_version_12_on() {
    for (version, kept) in [("11", false), ("12", true)] {
        let world = World::new(version);
        let of = |kind: &str, key: &str| world.workshop.current_event(kind, key).unwrap();
        let bob = world.make(Recipe::member(BOB, BOB, "join"));
        let (create, alice) = (world.create(), of("m.room.member", ALICE));
        let (oldest, rules) = (of("m.room.power_levels", ""), of("m.room.join_rules", ""));
        world.make(world.power(ALICE, &[(BOB, 50)]));
        let newest = world.make(world.power(BOB, &[(BOB, 50), (CAROL, 50)]));
        let carol = world.make(Recipe::member(CAROL, CAROL, "join").after(&[&newest]));
        let dave = world.make(Recipe::member(DAVE, DAVE, "join").after(&[&newest]));
        let one = make_with_state(&world, Recipe::message(ALICE, "x").after(&[&carol]), &[&create, &alice, &oldest, &rules, &bob, &carol]);
        let other = make_with_state(&world, Recipe::message(ALICE, "y").after(&[&dave]), &[&create, &alice, &newest, &rules, &bob, &dave]);
        let state = world.workshop.resolved_after(&[one, other]);
        let expected = if kept { &newest } else { &oldest };
        assert_eq!(event(&state, "m.room.power_levels", ""), Some(expected), "version {version}");
    }
}

/// Who joins on a branch that does not know yet that the room was closed is not in.
#[test]
fn joining_behind_the_back_of_new_join_rules_does_not_help() {
    for version in &VERSIONS[1..] {
        let world = World::new(version);
        let base = world.make(Recipe::message(ALICE, "base"));
        world.make(Recipe::member(BOB, BOB, "join").after(&[&base]).at(1_000));
        let rules = world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" })).after(&[&base]).at(9_000));
        let state = merged(&world);
        assert_eq!(event(&state, "m.room.join_rules", ""), Some(&rules), "version {version}");
        assert_eq!(event(&state, "m.room.member", BOB), None, "version {version}");
        assert_eq!(world.workshop.room.head().joined, 1, "version {version}");
    }
}

#[test]
fn a_demoted_moderator_cannot_go_on_from_before() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        let demoted = world.make(world.power(ALICE, &[(CAROL, 50)]).after(&[&base]).at(1_000));
        let (topic, verdict) = world.try_make(Recipe::topic(BOB, "from before").after(&[&base]).at(2_000));
        assert_eq!(verdict, Verdict::Stored(Status::SoftFailed));
        // Carol builds on it all the same.
        world.make(Recipe::message(CAROL, "on both").after(&[&topic, &demoted]));
        let state = merged(&world);
        assert_eq!(event(&state, "m.room.power_levels", ""), Some(&demoted), "version {version}");
        assert_eq!(event(&state, "m.room.topic", ""), None, "version {version}");
    }
}

/// An event that authorises another may come back into a place that no state fills any more.
#[test]
fn a_membership_that_no_state_has_can_come_back() {
    for version in &VERSIONS[1..] {
        let world = World::new(version);
        world.make(world.power(ALICE, &[(BOB, 50)]));
        let base = world.make(Recipe::message(ALICE, "base"));
        let join = world.make(Recipe::member(BOB, BOB, "join").after(&[&base]).at(1_000));
        // Nobody can do without the membership that authorises them, so what Bob does stays where his join does not.
        let name = world.make(Recipe::state(BOB, "m.room.name", "", json!({ "name": "Bob's" })).after(&[&join]).at(2_000));
        let closed = world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" })).after(&[&base]).at(9_000));
        let merge = world.make(Recipe::message(ALICE, "merge").after(&[&closed, &name]));
        let state = world.workshop.before(&merge);
        assert_eq!((event(&state, "m.room.member", BOB), event(&state, "m.room.name", "")), (None, Some(&name)), "version {version}");

        let open = Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })).after(&[&merge]).at(10_000);
        let open = world.make(open);
        let left = world.make(Recipe::state(ALICE, "m.room.name", "", json!({ "name": "Alice's" })).after(&[&open]).at(11_000));
        let right = world.make(Recipe::message(ALICE, "keeps Bob's name").after(&[&open]));
        let state = world.workshop.resolved_after(&[left, right]);
        assert_eq!(event(&state, "m.room.member", BOB), Some(&join), "version {version}");
        let peer = world.informed_peer();
        assert_eq!(peer.current(), world.workshop.current());
        let state = merged(&world);
        assert_eq!(event(&state, "m.room.member", BOB), Some(&join), "version {version}");
    }
}

/// A user who leaves the state by a merge is out of the room for readers as well.
#[test]
fn a_local_user_whom_a_merge_puts_out_is_told() {
    let world = World::new("11");
    let base = world.make(Recipe::message(ALICE, "base"));
    world.make(Recipe::member(BOB, BOB, "join").after(&[&base]).at(1_000));
    let peer = world.peer_of("b.example");
    world.made().iter().for_each(|id| drop(peer.receive(&world.event(id), InputKind::New)));
    assert_eq!(peer.membership(BOB).as_deref(), Some("join"));
    let rules = world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "invite" })).after(&[&base]).at(9_000));
    peer.receive(&world.event(&rules), InputKind::New);
    assert_eq!(peer.membership(BOB), None);
    let position = peer.stored(&rules).decided.position;
    let entries = futures_executor::block_on(peer.log.read(position, 1)).unwrap();
    let crate::log::Output::Event { users, .. } = &entries[0].1 else { panic!("an event") };
    assert_eq!(users, &[super::world::user(BOB)]);
    super::consistency::check(&peer);
}

#[test]
fn who_was_kicked_does_not_come_back_by_what_others_said_meanwhile() {
    for version in &VERSIONS[1..] {
        let (world, base) = world(version);
        let hello = world.make(Recipe::message(ALICE, "hello").after(&[&base]));
        let kick = world.make(Recipe::member(ALICE, DAVE, "leave").after(&[&hello]));
        let topic = world.make(Recipe::topic(ALICE, "quiet").after(&[&kick]));
        let meanwhile = world.make(Recipe::message(BOB, "meanwhile").after(&[&base]));
        let both = world.make(Recipe::message(ALICE, "both").after(&[&topic, &meanwhile]));
        assert_eq!(event(&world.workshop.before(&both), "m.room.member", DAVE), Some(&kick), "version {version}, first merge");
        world.make(world.power(ALICE, &[(BOB, 50)]).after(&[&both]));
        world.make(Recipe::message(CAROL, "late").after(&[&base]));
        assert_eq!(event(&merged(&world), "m.room.member", DAVE), Some(&kick), "version {version}, second merge");
    }
}
