//! Redactions and their targets, in whichever order they come.

use futures_executor::block_on;
use serde_json::json;

use super::world::{ALICE, BOB, CAROL, Peer, Recipe, World};
use crate::{
    event::STABLE_ROOM_VERSIONS,
    room_server::{InputKind, Verdict, relation::all_children, stored::Status},
    storage::{Key, Scan, Table},
};

/// A world in which Bob and Carol have joined, and nothing was said yet.
fn world(version: &str) -> World {
    let world = World::new(version);
    world.make(Recipe::member(BOB, BOB, "join"));
    world.make(Recipe::member(CAROL, CAROL, "join"));
    world
}

fn rows(peer: &Peer, table: Table) -> usize {
    block_on(peer.store.scan(&Scan::prefix(Key::new(table)))).unwrap().len()
}

#[test]
fn a_redaction_takes_the_content_whichever_comes_first() {
    for version in STABLE_ROOM_VERSIONS {
        let world = world(version.as_str());
        let (early, late) = (world.informed_peer(), world.informed_peer());
        let target = world.make(Recipe::message(BOB, "a secret"));
        let redaction = world.make(Recipe::redaction(ALICE, &target));
        // Both build on what was there before, so that neither must wait for the other.
        let redaction_event = world.event(&redaction);
        late.receive(&world.event(&target), InputKind::New);
        late.receive(&redaction_event, InputKind::New);

        let told = crate::room_server::Input {
            event: redaction_event,
            kind: InputKind::New,
            state_before: Some(world.workshop.before(&redaction).into_values().collect()),
        };
        assert_eq!(early.receive_input(&told), Verdict::Stored(Status::Accepted), "version {version}");
        assert_eq!(early.receive(&world.event(&target), InputKind::Old), Verdict::Stored(Status::Accepted), "version {version}");
        for peer in [&early, &late] {
            let stored = peer.stored(&target);
            assert_eq!(peer.content(&target), json!({}), "version {version}");
            assert_eq!(stored.decided.redacted_by, Some(peer.stored(&redaction).number), "version {version}");
            assert!(!stored.pdu.json.get().contains("secret"), "version {version}");
            assert_eq!(rows(peer, Table::PendingRedactions), 0, "version {version}");
        }
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions>
#[test]
fn a_redaction_without_power_does_nothing() {
    for version in STABLE_ROOM_VERSIONS {
        let world = world(version.as_str());
        let target = world.make(Recipe::message(BOB, "not a secret"));
        let (redaction, verdict) = world.try_make(Recipe::redaction(CAROL, &target));
        // The first versions refuse the event, the others its effect.
        let by_the_rules = world.version.rules.authorization.special_case_room_redaction;
        let expected = if by_the_rules { Status::Rejected } else { Status::Accepted };
        assert_eq!(verdict, Verdict::Stored(expected), "version {version}");
        assert_eq!(world.workshop.content(&target)["body"], "not a secret", "version {version}: {redaction}");
        assert_eq!(world.workshop.stored(&target).decided.redacted_by, None);
    }
}

#[test]
fn a_useless_redaction_that_comes_first_does_not_stand_in_the_way_of_another() {
    for order in [[0, 1], [1, 0]] {
        let world = world("11");
        let target = world.build(Recipe::message(BOB, "a secret"));
        let id = target.pdu().event_id.clone();
        let peer = world.informed_peer();
        let redactions = [world.make(Recipe::redaction(CAROL, &id)), world.make(Recipe::redaction(ALICE, &id))];
        for index in order {
            let event = world.event(&redactions[index]);
            let state_before = Some(world.workshop.before(&redactions[index]).into_values().collect());
            peer.receive_input(&crate::room_server::Input { event, kind: InputKind::New, state_before });
        }
        assert_eq!(peer.receive(&target, InputKind::New), Verdict::Stored(Status::Accepted));
        assert_eq!(peer.content(&id), json!({}), "order {order:?}");
        assert_eq!(peer.stored(&id).decided.redacted_by, Some(peer.stored(&redactions[1]).number), "order {order:?}");
    }
}

#[test]
fn both_in_one_transaction_are_paired_as_well() {
    let world = world("11");
    let target = world.build(Recipe::message(BOB, "a secret"));
    let id = target.pdu().event_id.clone();
    let peer = world.informed_peer();
    let redaction = world.make(Recipe::redaction(ALICE, &id));
    let inputs = [world.event(&redaction), target];
    let verdicts = peer.transact(|draft| {
        let receive = |event: &crate::event::CheckedPdu| {
            draft.receive(&crate::room_server::Input { event: event.clone(), kind: InputKind::New, state_before: None })
        };
        inputs.iter().map(receive).collect::<Result<Vec<_>, _>>()
    });
    assert_eq!(verdicts.unwrap(), [Verdict::Stored(Status::Accepted), Verdict::Stored(Status::Accepted)]);
    assert_eq!(peer.content(&id), json!({}));
    assert_eq!(rows(&peer, Table::PendingRedactions), 0);
}

#[test]
fn an_outlier_that_was_redacted_stays_so_when_it_gets_its_place() {
    let world = world("11");
    let peer = world.informed_peer();
    let topic = world.make(Recipe::topic(ALICE, "a secret"));
    let redaction = world.make(Recipe::redaction(ALICE, &topic));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Outlier), Verdict::Stored(Status::Outlier));
    let state_before = Some(world.workshop.before(&redaction).into_values().collect());
    let input = crate::room_server::Input { event: world.event(&redaction), kind: InputKind::New, state_before };
    assert_eq!(peer.receive_input(&input), Verdict::Stored(Status::Accepted));
    assert_eq!(peer.content(&topic), json!({}));
    assert_eq!(peer.receive(&world.event(&topic), InputKind::Old), Verdict::Stored(Status::Accepted));
    assert_eq!(peer.content(&topic), json!({}));
    assert_eq!(peer.stored(&topic).decided.redacted_by, Some(peer.stored(&redaction).number));
}

#[test]
fn a_redacted_reaction_is_no_relation_any_more() {
    let world = world("11");
    let message = world.make(Recipe::message(ALICE, "hello"));
    let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": message, "key": "x" } });
    let reaction = crate::event::NewEvent::message(super::world::user(BOB), "m.reaction", content);
    let reaction = world.make(Recipe::of(reaction));
    let children = || block_on(world.workshop.store.scan(&all_children(world.workshop.room.number, &message))).unwrap().len();
    assert_eq!(children(), 1);
    world.make(Recipe::redaction(BOB, &reaction));
    assert_eq!(children(), 0);
}

#[test]
fn a_redacted_state_event_keeps_its_place_in_the_state() {
    for version in STABLE_ROOM_VERSIONS {
        let world = world(version.as_str());
        let topic = world.make(Recipe::topic(ALICE, "a secret"));
        let before = world.workshop.current();
        world.make(Recipe::redaction(ALICE, &topic));
        assert_eq!(world.workshop.current(), before, "version {version}");
        assert_eq!(world.workshop.content(&topic), json!({}), "version {version}");
    }
}

#[test]
fn a_redaction_is_applied_once() {
    let world = world("11");
    let target = world.make(Recipe::message(BOB, "a secret"));
    let first = world.make(Recipe::redaction(BOB, &target));
    world.make(Recipe::redaction(ALICE, &target));
    assert_eq!(world.workshop.stored(&target).decided.redacted_by, Some(world.workshop.stored(&first).number));
}

#[test]
fn an_outlier_whose_redaction_came_first_is_found_redacted() {
    let world = world("11");
    let topic = world.build(Recipe::topic(ALICE, "a secret"));
    let id = topic.pdu().event_id.clone();
    let peer = world.informed_peer();
    let redaction = world.make(Recipe::redaction(ALICE, &id));
    peer.receive(&world.event(&redaction), InputKind::New);
    assert_eq!(peer.receive(&topic, InputKind::Outlier), Verdict::Stored(Status::Outlier));
    let again = peer.reopened();
    assert_eq!(again.content(&id), json!({}));
    assert_eq!(again.receive(&topic, InputKind::New), Verdict::Stored(Status::Accepted));
    assert_eq!(again.content(&id), json!({}));
}

/// From then on the rules see what the room version leaves of it; what it allowed before stays allowed.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#rejection> (redacted events still affect the state)
#[test]
fn redacted_power_levels_go_on_by_what_is_left_of_them() {
    for version in STABLE_ROOM_VERSIONS {
        let world = world(version.as_str());
        let mut levels = world.power_levels(&[(BOB, 60)]);
        levels["invite"] = 70.into();
        levels["events"] = json!({ "m.room.topic": 60 });
        let levels = world.make(Recipe::state(ALICE, "m.room.power_levels", "", levels));
        let allowed = world.make(Recipe::topic(BOB, "allowed"));
        let invite = || Recipe::member(BOB, "@erin:c.example", "invite");
        let (refused, verdict) = world.try_make(invite());
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}");

        world.make(Recipe::redaction(ALICE, &levels));
        assert_eq!(world.workshop.current_event("m.room.power_levels", ""), Some(levels.clone()), "version {version}");
        assert_eq!(world.workshop.status(&allowed), Status::Accepted, "version {version}");
        assert_eq!(world.workshop.status(&refused), Status::Rejected, "version {version}");
        // Users and the levels of events outlive a redaction in every version, the level for invitations from version 11 on.
        assert_eq!(world.try_make(Recipe::topic(BOB, "still")).1, Verdict::Stored(Status::Accepted), "version {version}");
        assert_eq!(world.try_make(Recipe::topic(CAROL, "no")).1, Verdict::Stored(Status::Rejected), "version {version}");
        let keeps_invite = world.version.rules.redaction.keep_room_power_levels_invite;
        let expected = if keeps_invite { Status::Rejected } else { Status::Accepted };
        assert_eq!(world.try_make(invite()).1, Verdict::Stored(expected), "version {version}");

        // One who hears of all of it in the order in which it came about decides the same.
        let peer = world.informed_peer();
        for id in world.made() {
            assert_eq!(peer.status(&id), world.workshop.status(&id), "version {version}");
        }
        assert_eq!(peer.reopened().current(), world.workshop.current(), "version {version}");
    }
}

#[test]
fn a_redacted_create_event_still_says_who_made_the_room() {
    for version in STABLE_ROOM_VERSIONS {
        let world = World::created_with(version.as_str(), json!({ "m.federate": false, "topic": "a secret" }));
        world.make(Recipe::member(ALICE, ALICE, "join"));
        // Nobody has set power levels, so that all power comes from the create event.
        world.make(Recipe::topic(ALICE, "first"));
        world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })));
        assert_eq!(world.try_make(Recipe::member(BOB, BOB, "join")).1, Verdict::Stored(Status::Rejected), "version {version}");
        let (_, redacted) = world.try_make(Recipe::redaction(ALICE, &world.create()));
        assert_eq!(redacted, Verdict::Stored(Status::Accepted), "version {version}");
        world.make(Recipe::topic(ALICE, "second"));
        let keeps_all = world.version.rules.redaction.keep_room_create_content;
        let expected = if keeps_all { Status::Rejected } else { Status::Accepted };
        assert_eq!(world.try_make(Recipe::member(BOB, BOB, "join")).1, Verdict::Stored(expected), "version {version}");
        assert_eq!(world.workshop.content(&world.create()).get("topic").is_some(), keeps_all, "version {version}");
    }
}
