//! createRoom: every option, the order of events, and that nothing is left of what was refused.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};
use support::{Fault, Host, User, encode};

const CREATE: &str = "/_matrix/client/v3/createRoom";

/// The events of the only room, in the order in which they were made.
fn events(host: &Host) -> Vec<Value> {
    let rows = host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::Events)))).expect("the store reads");
    rows.iter().map(|row| serde_json::from_slice::<Value>(&row.value).expect("rows are JSON")["e"].clone()).collect()
}

fn kinds(host: &Host) -> Vec<String> {
    events(host).iter().map(|event| event["type"].as_str().expect("events have types").to_owned()).collect()
}

fn content(host: &Host, user: &User, room: &str, kind: &str) -> Value {
    host.state(user, room, kind, "").ok().body
}

#[track_caller]
fn refused(host: &Host, user: &User, body: Value, status: u16, code: &str) {
    host.post(user, CREATE, body).refused(status, code);
    assert_eq!(host.get(user, "/_matrix/client/v3/joined_rooms").ok().body, json!({ "joined_rooms": [] }), "nothing is left of it");
    assert!(events(host).is_empty(), "nothing is left of it");
}

#[test]
fn events_come_in_the_specified_order() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(
        &alice,
        json!({
            "name": "Pub", "topic": "Happy hour", "room_alias_name": "pub", "invite": [bob.id], "is_direct": true,
            "initial_state": [
                { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
                { "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": "forbidden" } },
                { "type": "org.example", "state_key": "k", "content": { "a": 1 } },
            ],
        }),
    );
    let expected = [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "m.room.encryption",
        "m.room.guest_access",
        "org.example",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ];
    assert_eq!(kinds(&host), expected);
    assert_eq!(content(&host, &alice, &room, "m.room.guest_access"), json!({ "guest_access": "forbidden" }), "takes precedence");
    assert_eq!(content(&host, &alice, &room, "m.room.name"), json!({ "name": "Pub" }));
    let block = json!({ "m.text": [{ "body": "Happy hour", "mimetype": "text/plain" }] });
    assert_eq!(content(&host, &alice, &room, "m.room.topic"), json!({ "topic": "Happy hour", "m.topic": block }));
    assert_eq!(content(&host, &alice, &room, "m.room.canonical_alias"), json!({ "alias": "#pub:example.org" }));
    assert_eq!(host.state(&alice, &room, "org.example", "k").ok().body, json!({ "a": 1 }));
    let invitation = host.state(&alice, &room, "m.room.member", &bob.id).ok().body;
    assert_eq!((&invitation["membership"], &invitation["is_direct"]), (&json!("invite"), &json!(true)));
    let found = host.request(Method::Get, &format!("/_matrix/client/v3/directory/room/{}", encode("#pub:example.org")), None, None);
    assert_eq!(found.ok().body, json!({ "room_id": room, "servers": ["example.org"] }));
}

#[test]
fn the_default_is_a_private_room_of_version_12() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    assert!(!room.contains(':'), "{room} is a hash");
    assert_eq!(content(&host, &alice, &room, "m.room.create"), json!({ "room_version": "12" }));
    assert_eq!(content(&host, &alice, &room, "m.room.join_rules"), json!({ "join_rule": "invite" }));
    assert_eq!(content(&host, &alice, &room, "m.room.history_visibility"), json!({ "history_visibility": "shared" }));
    assert_eq!(content(&host, &alice, &room, "m.room.guest_access"), json!({ "guest_access": "can_join" }));
    let levels = content(&host, &alice, &room, "m.room.power_levels");
    assert_eq!(levels["users"], json!({}), "creators are not listed");
    assert_eq!(levels["events"]["m.room.tombstone"], json!(150));
    let visibility = host.request(Method::Get, &format!("/_matrix/client/v3/directory/list/room/{}", encode(&room)), None, None);
    assert_eq!(visibility.ok().body, json!({ "visibility": "private" }));
}

#[test]
fn every_version_makes_a_room() {
    for version in 1..=12 {
        let host = Host::new();
        let alice = host.register("alice");
        let room = host.create_room(&alice, json!({ "room_version": version.to_string(), "name": "N", "preset": "public_chat" }));
        let create = content(&host, &alice, &room, "m.room.create");
        assert_eq!(create["room_version"], json!(version.to_string()));
        assert_eq!(create.get("creator").is_some(), version < 11, "version {version}");
        let levels = content(&host, &alice, &room, "m.room.power_levels");
        assert_eq!(levels["users"].get(&alice.id).is_some(), version < 12, "version {version}");
        let bob = host.register("bob");
        host.join(&bob, &room);
    }
}

#[test]
fn visibility_chooses_the_preset_and_publishes() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "visibility": "public" }));
    assert_eq!(content(&host, &alice, &room, "m.room.join_rules"), json!({ "join_rule": "public" }));
    assert_eq!(content(&host, &alice, &room, "m.room.guest_access"), json!({ "guest_access": "forbidden" }));
    let visibility = host.get(&alice, &format!("/_matrix/client/v3/directory/list/room/{}", encode(&room)));
    assert_eq!(visibility.ok().body, json!({ "visibility": "public" }));
    let hidden = host.create_room(&alice, json!({ "visibility": "private", "preset": "public_chat" }));
    assert_eq!(content(&host, &alice, &hidden, "m.room.join_rules"), json!({ "join_rule": "public" }));
    let visibility = host.get(&alice, &format!("/_matrix/client/v3/directory/list/room/{}", encode(&hidden)));
    assert_eq!(visibility.ok().body, json!({ "visibility": "private" }));
}

#[test]
fn a_trusted_private_chat_trusts_those_invited() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let body = json!({
        "preset": "trusted_private_chat", "invite": [bob.id],
        "creation_content": { "additional_creators": [carol.id, bob.id, alice.id], "m.federate": false, "room_version": "1", "creator": carol.id },
    });
    let room = host.create_room(&alice, body);
    let create = content(&host, &alice, &room, "m.room.create");
    assert_eq!(create, json!({ "room_version": "12", "m.federate": false, "additional_creators": [bob.id, carol.id] }));
    host.join(&bob, &room);
    host.put_state(&bob, &room, "m.room.tombstone", "", json!({ "body": "gone", "replacement_room": room }));

    let old = host.create_room(&alice, json!({ "preset": "trusted_private_chat", "invite": [bob.id], "room_version": "11" }));
    let levels = content(&host, &alice, &old, "m.room.power_levels");
    assert_eq!(levels["users"], json!({ alice.id.as_str(): 100, bob.id.as_str(): 100 }));
    assert_eq!(content(&host, &alice, &old, "m.room.create"), json!({ "room_version": "11" }));
}

#[test]
fn power_levels_are_overridden_field_by_field() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(
        &alice,
        json!({ "power_level_content_override": { "users": { bob.id.as_str(): 50 }, "events": { "m.room.name": 0 }, "state_default": 160 } }),
    );
    let levels = content(&host, &alice, &room, "m.room.power_levels");
    assert_eq!(levels["users"], json!({ bob.id.as_str(): 50 }));
    assert_eq!(levels["events"], json!({ "m.room.name": 0, "m.room.tombstone": 161 }), "still above state_default");
    assert_eq!(levels["ban"], json!(50));
}

#[test]
fn a_room_that_does_not_allow_itself_is_refused_whole() {
    let host = Host::new();
    let alice = host.register("alice");
    let powerless = json!({ "users": { alice.id.as_str(): 10 } });
    refused(
        &host,
        &alice,
        json!({ "room_version": "11", "name": "N", "power_level_content_override": powerless }),
        400,
        "M_INVALID_ROOM_STATE",
    );
    // Creators have no level in version 12.
    let listed = json!({ "users": { alice.id.as_str(): 100 } });
    refused(&host, &alice, json!({ "power_level_content_override": listed }), 400, "M_INVALID_ROOM_STATE");
    refused(&host, &alice, json!({ "initial_state": [{ "type": "m.room.create", "content": {} }] }), 400, "M_INVALID_ROOM_STATE");
    refused(&host, &alice, json!({ "invite": [alice.id] }), 400, "M_INVALID_ROOM_STATE");
}

#[test]
fn bad_requests_are_refused_with_the_specified_code() {
    let host = Host::new();
    let alice = host.register("alice");
    refused(&host, &alice, json!({ "room_version": "13" }), 400, "M_UNSUPPORTED_ROOM_VERSION");
    refused(&host, &alice, json!({ "room_version": 12 }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "preset": "cosy" }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "visibility": "maybe" }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "invite": ["bob"] }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "initial_state": [{ "type": "a" }] }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "creation_content": { "additional_creators": ["bob"] } }), 400, "M_BAD_JSON");
    refused(&host, &alice, json!({ "room_alias_name": "a:b" }), 400, "M_INVALID_PARAM");
    refused(&host, &alice, json!({ "room_alias_name": "a b" }), 400, "M_INVALID_PARAM");
    refused(&host, &alice, json!({ "room_alias_name": "a".repeat(250) }), 400, "M_INVALID_PARAM");
    let third_party = json!([{ "id_server": "id.example.org", "id_access_token": "t", "medium": "email", "address": "b@example.org" }]);
    refused(&host, &alice, json!({ "invite_3pid": third_party }), 400, "M_SERVER_NOT_TRUSTED");
    refused(&host, &alice, json!({ "name": "a".repeat(70_000) }), 413, "M_TOO_LARGE");
    host.request(Method::Post, CREATE, None, Some(json!({}))).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn rooms_of_one_moment_differ() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let mut rooms: std::collections::BTreeSet<_> = (0..5).map(|_| host.create_room(&alice, json!({}))).collect();
    // The clock stands still, and a server that has just started remembers no room by itself.
    host.restart();
    rooms.insert(host.create_room(&alice, json!({})));
    assert_eq!(rooms.len(), 6);
}

#[test]
fn a_room_is_one_strict_commit() {
    let host = Host::new();
    let alice = host.register("alice");
    host.store.set_fault(None);
    let relaxed = host.store.relaxed_commits();
    host.create_room(&alice, json!({ "name": "N", "room_alias_name": "n", "visibility": "public" }));
    assert_eq!((host.store.commits(), host.store.relaxed_commits() - relaxed), (1, 0));
}

#[test]
fn a_room_whose_commit_fails_does_not_exist() {
    let mut host = Host::new();
    let alice = host.register("alice");
    host.store.set_fault(Some(Fault::FailAt(1)));
    assert_eq!(host.post(&alice, CREATE, json!({ "room_alias_name": "n" })).status, 500);
    host.restart();
    assert!(events(&host).is_empty());
    host.create_room(&alice, json!({ "room_alias_name": "n" }));
}
