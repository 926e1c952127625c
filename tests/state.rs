//! Reading and setting room state.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Host, User, encode, room_path};

fn path(room: &str, kind: &str, state_key: &str) -> String {
    room_path(room, &format!("state/{}/{}", encode(kind), encode(state_key)))
}

fn all(host: &Host, user: &User, room: &str) -> Vec<Value> {
    host.get(user, &room_path(room, "state")).ok().body.as_array().expect("a list").clone()
}

#[test]
fn state_is_set_and_read_under_every_form_of_its_path() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    for below in ["state/m.room.topic", "state/m.room.topic/"] {
        let event_id = host.put(&alice, &room_path(&room, below), json!({ "topic": below })).ok().text("event_id");
        for read in ["state/m.room.topic", "state/m.room.topic/"] {
            assert_eq!(host.get(&alice, &room_path(&room, read)).ok().body, json!({ "topic": below }));
        }
        let event = host.get(&alice, &room_path(&room, &format!("{below}?format=event"))).ok().body;
        assert_eq!((&event["event_id"], &event["room_id"], &event["sender"]), (&json!(event_id), &json!(room), &json!(alice.id)));
        assert_eq!((&event["type"], &event["state_key"], &event["content"]["topic"]), (&json!("m.room.topic"), &json!(""), &json!(below)));
    }
    host.put(&alice, &path(&room, "org.example/kind", "a/b"), json!({ "a": 1 })).ok();
    assert_eq!(host.get(&alice, &path(&room, "org.example/kind", "a/b")).ok().body, json!({ "a": 1 }));
    host.get(&alice, &room_path(&room, "state/m.room.topic?format=xml")).refused(400, "M_INVALID_PARAM");
    host.get(&alice, &path(&room, "m.room.topic", "other")).refused(404, "M_NOT_FOUND");
    host.get(&alice, &path(&room, "m.room.avatar", "")).refused(404, "M_NOT_FOUND");
}

#[test]
fn setting_what_is_so_already_makes_no_event() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room =
        host.create_room(&alice, json!({ "power_level_content_override": { "state_default": 0, "events": {} }, "invite": [bob.id] }));
    host.join(&bob, &room);
    let set = |user: &User, topic: &str| host.put(user, &path(&room, "m.room.topic", ""), json!({ "topic": topic })).ok().text("event_id");
    let first = set(&alice, "One");
    assert_eq!(set(&alice, "One"), first);
    assert_ne!(set(&bob, "One"), first, "somebody else says it");
    assert_ne!(set(&alice, "One"), first);
    let last = set(&bob, "Two");
    assert_eq!(set(&bob, "Two"), last);
    host.leave(&bob, &room);
    host.put(&bob, &path(&room, "m.room.topic", ""), json!({ "topic": "Two" })).refused(403, "M_FORBIDDEN");
}

#[test]
fn state_needs_power_and_membership() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id] }));
    host.get(&bob, &room_path(&room, "state")).refused(403, "M_FORBIDDEN");
    host.join(&bob, &room);
    host.put(&bob, &path(&room, "m.room.topic", ""), json!({ "topic": "T" })).refused(403, "M_FORBIDDEN");
    host.put(&carol, &path(&room, "m.room.topic", ""), json!({ "topic": "T" })).refused(403, "M_FORBIDDEN");
    host.get(&carol, &path(&room, "m.room.name", "")).refused(403, "M_FORBIDDEN");
    host.get(&carol, &room_path("!gone:example.org", "state")).refused(403, "M_FORBIDDEN");
    host.put(&alice, &path(&room, "m.room.create", ""), json!({ "room_version": "12" })).refused(403, "M_FORBIDDEN");
    host.put(&alice, &path(&room, "org.example", &bob.id), json!({})).refused(403, "M_FORBIDDEN");
    host.put(&alice, &path(&room, "m.room.topic", ""), json!([])).refused(400, "M_BAD_JSON");
    host.put(&alice, &path(&room, "m.room.topic", ""), json!({ "topic": "T".repeat(70_000) })).refused(413, "M_TOO_LARGE");
    host.put(&alice, &path(&room, "m.room.topic", ""), json!({ "float": 1.5 })).refused(400, "M_BAD_JSON");
    host.put(&alice, &path(&room, "m.room.power_levels", ""), json!({ "ban": "50" })).refused(403, "M_FORBIDDEN");
}

#[test]
fn memberships_are_state() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({}));
    host.put_state(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "invite" }));
    host.put_state(&bob, &room, "m.room.member", &bob.id, json!({ "membership": "join", "displayname": "Bobby" }));
    assert_eq!(host.get(&bob, "/_matrix/client/v3/joined_rooms").ok().body, json!({ "joined_rooms": [room] }));
    host.put(&alice, &path(&room, "m.room.member", &bob.id), json!({ "membership": "join" })).refused(403, "M_FORBIDDEN");
    host.put(&bob, &path(&room, "m.room.member", &bob.id), json!({ "displayname": "B" })).refused(400, "M_BAD_JSON");
    host.put_state(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "ban" }));
    assert_eq!(host.get(&bob, "/_matrix/client/v3/joined_rooms").ok().body, json!({ "joined_rooms": [] }));
}

#[test]
fn whoever_left_reads_the_state_of_then() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id], "topic": "Then" }));
    host.join(&bob, &room);
    host.leave(&bob, &room);
    host.put_state(&alice, &room, "m.room.topic", "", json!({ "topic": "Now" }));
    host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "New" }));
    // An invitation that is declined changes nothing of it.
    host.invite(&alice, &room, &bob);
    host.get(&bob, &room_path(&room, "state")).ok();
    host.leave(&bob, &room);
    assert_eq!(host.state(&bob, &room, "m.room.topic", "").ok().body["topic"], "Then");
    host.state(&bob, &room, "m.room.name", "").refused(404, "M_NOT_FOUND");
    assert!(all(&host, &bob, &room).iter().all(|event| event["type"] != "m.room.name"));
    assert_eq!(all(&host, &alice, &room).len(), all(&host, &bob, &room).len() + 1);
}

#[test]
fn a_world_readable_room_shows_its_state_to_everybody() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "name": "N" }));
    host.state(&bob, &room, "m.room.name", "").refused(403, "M_FORBIDDEN");
    host.put_state(&alice, &room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    assert_eq!(host.state(&bob, &room, "m.room.name", "").ok().body, json!({ "name": "N" }));
}

#[test]
fn canonical_aliases_must_lead_to_the_room() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "room_alias_name": "one", "invite": [bob.id] }));
    host.join(&bob, &room);
    host.create_room(&alice, json!({ "room_alias_name": "other" }));
    let set = |user: &User, content: Value| host.put(user, &path(&room, "m.room.canonical_alias", ""), content);
    set(&alice, json!({ "alias": "#none:example.org" })).refused(400, "M_BAD_ALIAS");
    set(&alice, json!({ "alias": "#other:example.org" })).refused(400, "M_BAD_ALIAS");
    set(&alice, json!({ "alias": "#one:example.org", "alt_aliases": ["#other:example.org"] })).refused(400, "M_BAD_ALIAS");
    set(&alice, json!({ "alias": "#far:elsewhere.example" })).refused(400, "M_BAD_ALIAS");
    set(&alice, json!({ "alias": "one" })).refused(400, "M_INVALID_PARAM");
    set(&alice, json!({ "alt_aliases": [1] })).refused(400, "M_INVALID_PARAM");
    set(&alice, json!({ "alt_aliases": "#one:example.org" })).refused(400, "M_INVALID_PARAM");
    set(&bob, json!({ "alias": "#none:example.org" })).refused(403, "M_FORBIDDEN");
    assert_eq!(host.state(&alice, &room, "m.room.canonical_alias", "").ok().body, json!({ "alias": "#one:example.org" }));
    set(&alice, json!({ "alt_aliases": ["#one:example.org"] })).ok();
    // What is there already is not checked again, even when it leads nowhere by now.
    host.delete(&alice, &format!("/_matrix/client/v3/directory/room/{}", encode("#one:example.org")), None).ok();
    set(&alice, json!({ "alias": "" })).ok();
    set(&alice, json!({})).ok();
}
