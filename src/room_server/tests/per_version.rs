//! The life of a small room, in every room version.

use ruma::EventId;
use serde_json::{Value, json};

use super::world::{ALICE, BOB, Peer, Recipe, World};
use crate::{
    event::STABLE_ROOM_VERSIONS,
    room_server::{InputKind, Verdict, stored::Status},
};

fn each(test: impl Fn(u32, World)) {
    for (number, id) in (1..).zip(STABLE_ROOM_VERSIONS) {
        test(number, World::new(id.as_str()));
    }
}

fn json(peer: &Peer, id: &EventId) -> Value {
    serde_json::from_str(peer.stored(id).pdu.json.get()).unwrap()
}

#[test]
fn members_join_speak_and_are_moderated() {
    each(|version, world| {
        let workshop = &world.workshop;
        world.make(Recipe::member(BOB, BOB, "join"));
        let message = world.make(Recipe::message(BOB, "hello"));
        let (_, verdict) = world.try_make(Recipe::topic(BOB, "mine"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}: Bob has no power");
        world.make(world.power(ALICE, &[(BOB, 50)]));
        let topic = world.make(Recipe::topic(BOB, "now mine"));
        assert_eq!(workshop.current_event("m.room.topic", ""), Some(topic), "version {version}");
        let (_, verdict) = world.try_make(Recipe::member(BOB, ALICE, "ban"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}: Alice has more power");
        world.make(Recipe::member(ALICE, BOB, "ban"));
        let (_, verdict) = world.try_make(Recipe::message(BOB, "still here"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}: Bob is banned");
        let (_, verdict) = world.try_make(Recipe::member(BOB, BOB, "join"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}: Bob is banned");
        assert_eq!(workshop.membership(BOB).as_deref(), Some("ban"));
        assert_eq!((workshop.room.head().joined, workshop.room.head().invited), (1, 0));
        assert_eq!(workshop.status(&message), Status::Accepted);
    });
}

#[test]
fn events_have_their_versions_shape() {
    each(|version, world| {
        let message = world.make(Recipe::message(ALICE, "hello"));
        let redaction = world.make(Recipe::redaction(ALICE, &message));
        let (create, message_json, redaction_json) =
            (json(&world.workshop, &world.create()), json(&world.workshop, &message), json(&world.workshop, &redaction));
        assert_eq!(create.get("room_id").is_some(), version <= 11);
        assert_eq!(message_json.get("event_id").is_some(), version <= 2);
        let reference = if version <= 2 { &redaction_json["prev_events"][0][0] } else { &redaction_json["prev_events"][0] };
        assert_eq!(reference.as_str(), Some(message.as_str()), "version {version}");
        assert_eq!(redaction_json["redacts"].as_str(), (version <= 10).then_some(message.as_str()), "version {version}");
        assert_eq!(redaction_json["content"]["redacts"].as_str(), (version >= 11).then_some(message.as_str()), "version {version}");
        let names_create = message_json["auth_events"].to_string().contains(world.create().as_str());
        assert_eq!(names_create, version <= 11, "version {version}");
        let room_of_create = format!("!{}", world.create().as_str().trim_start_matches('$'));
        assert_eq!(world.workshop.room.id.as_str() == room_of_create, version >= 12);
    });
}

/// <https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules>
#[test]
fn creators_stand_above_the_levels_from_version_12_on() {
    each(|version, world| {
        world.make(Recipe::member(BOB, BOB, "join"));
        let (_, verdict) = world.try_make(Recipe::state(ALICE, "m.room.power_levels", "", json!({ "users": { ALICE: 100 } })));
        let expected = if version >= 12 { Status::Rejected } else { Status::Accepted };
        assert_eq!(verdict, Verdict::Stored(expected), "version {version}: whether a creator may be named in the levels");
        world.make(world.power(ALICE, &[(BOB, 100)]));
        let (_, verdict) = world.try_make(Recipe::member(BOB, ALICE, "kick_is_no_membership"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected));
        let (_, verdict) = world.try_make(Recipe::member(BOB, ALICE, "leave"));
        assert_eq!(verdict, Verdict::Stored(Status::Rejected), "version {version}: equal or higher power cannot be kicked");
    });
}

#[test]
fn additional_creators_have_power_in_version_12_alone() {
    for (version, id) in (1..).zip(STABLE_ROOM_VERSIONS) {
        let world = World::created_with(id.as_str(), json!({ "additional_creators": [BOB] }));
        world.make(Recipe::member(ALICE, ALICE, "join"));
        world.make(Recipe::state(ALICE, "m.room.power_levels", "", world.power_levels(&[])));
        world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })));
        world.make(Recipe::member(BOB, BOB, "join"));
        let (_, verdict) = world.try_make(Recipe::topic(BOB, "creators may"));
        let expected = if version >= 12 { Status::Accepted } else { Status::Rejected };
        assert_eq!(verdict, Verdict::Stored(expected), "version {version}");
    }
}

#[test]
fn knocking_and_restricted_joins_come_with_their_versions() {
    each(|version, world| {
        world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "knock" })));
        let (_, verdict) = world.try_make(Recipe::member(BOB, BOB, "knock"));
        let expected = if version >= 7 { Status::Accepted } else { Status::Rejected };
        assert_eq!(verdict, Verdict::Stored(expected), "version {version}: knock");
        let allow = json!([{ "type": "m.room_membership", "room_id": "!other:a.example" }]);
        world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "restricted", "allow": allow })));
        let content = json!({ "membership": "join", "join_authorised_via_users_server": ALICE });
        let join = Recipe::state(BOB, "m.room.member", BOB, content);
        // Alice's server must sign as well; the rules that follow are those of authorisation alone.
        let (_, verdict) = world.try_make(join);
        let expected = if version >= 8 { Status::Accepted } else { Status::Rejected };
        assert_eq!(verdict, Verdict::Stored(expected), "version {version}: restricted join");
    });
}

#[test]
fn what_one_server_makes_another_takes_over_the_wire() {
    each(|version, world| {
        world.make(Recipe::member(BOB, BOB, "join"));
        let message = world.make(Recipe::message(BOB, "hello"));
        world.make(Recipe::redaction(BOB, &message));
        world.make(Recipe::topic(ALICE, "t"));
        let peer = world.peer();
        for id in world.made() {
            let json = serde_json::from_str(world.event(&id).pdu().json.get()).unwrap();
            let event = world.checked(&json).unwrap_or_else(|unfit| panic!("version {version}: {unfit}"));
            assert_eq!(event.pdu().event_id, id, "version {version}");
            assert_eq!(peer.receive(&event, InputKind::New), Verdict::Stored(Status::Accepted), "version {version}: {json}");
        }
        assert_eq!(peer.current(), world.workshop.current(), "version {version}");
        assert_eq!(peer.extremities(), world.workshop.extremities(), "version {version}");
        assert_eq!(peer.content(&message), json!({}), "version {version}");
    });
}
