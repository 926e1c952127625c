//! Room upgrades: what the new room has, what the old one loses, and that both happen or neither.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Answer, Fault, Host, User, encode, room_path};

fn upgrade(host: &Host, user: &User, room: &str, body: Value) -> Answer {
    host.post(user, &room_path(room, "upgrade"), body)
}

fn to(host: &Host, user: &User, room: &str, version: &str) -> String {
    upgrade(host, user, room, json!({ "new_version": version })).ok().text("replacement_room")
}

fn content(host: &Host, user: &User, room: &str, kind: &str) -> Value {
    host.state(user, room, kind, "").ok().body
}

fn visibility(host: &Host, room: &str) -> String {
    host.request(Method::Get, &format!("/_matrix/client/v3/directory/list/room/{}", encode(room)), None, None).ok().text("visibility")
}

#[test]
fn the_room_moves_with_all_that_is_its_own() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let state = [
        ("m.room.server_acl", json!({ "allow": ["*"] })),
        ("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
        ("m.room.avatar", json!({ "url": "mxc://example.org/a" })),
        ("m.room.guest_access", json!({ "guest_access": "forbidden" })),
        ("m.room.history_visibility", json!({ "history_visibility": "joined" })),
        ("m.room.join_rules", json!({ "join_rule": "knock" })),
    ];
    let mut initial: Vec<_> = state.iter().map(|(kind, content)| json!({ "type": kind, "content": content })).collect();
    initial.push(json!({ "type": "org.example.own", "content": { "a": 1 } }));
    let old = host.create_room(
        &alice,
        json!({
            "room_version": "9", "visibility": "public", "name": "Pub", "topic": "Beer", "room_alias_name": "pub",
            "creation_content": { "type": "org.example.type", "m.federate": false }, "initial_state": initial,
        }),
    );
    host.post(&alice, &room_path(&old, "ban"), json!({ "user_id": bob.id, "reason": "Rude" })).ok();
    let last = host.send(&alice, &old, "The end");
    let new = to(&host, &alice, &old, "11");

    for (kind, expected) in &state {
        assert_eq!(content(&host, &alice, &new, kind), *expected);
    }
    assert_eq!(content(&host, &alice, &new, "m.room.name"), json!({ "name": "Pub" }));
    assert_eq!(content(&host, &alice, &new, "m.room.topic")["topic"], "Beer");
    host.state(&alice, &new, "org.example.own", "").refused(404, "M_NOT_FOUND");
    let create = content(&host, &alice, &new, "m.room.create");
    let predecessor = json!({ "room_id": old, "event_id": last });
    assert_eq!(create, json!({ "room_version": "11", "type": "org.example.type", "m.federate": false, "predecessor": predecessor }));
    assert_eq!(content(&host, &alice, &new, "m.room.power_levels")["users"], json!({ alice.id.as_str(): 100 }));
    let ban = host.state(&alice, &new, "m.room.member", &bob.id).ok().body;
    assert_eq!(ban, json!({ "membership": "ban", "reason": "Rude" }));

    assert_eq!(content(&host, &alice, &old, "m.room.tombstone")["replacement_room"], json!(new));
    let levels = content(&host, &alice, &old, "m.room.power_levels");
    assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
    assert_eq!(content(&host, &alice, &old, "m.room.canonical_alias"), json!({}));
    assert_eq!(content(&host, &alice, &new, "m.room.canonical_alias"), json!({ "alias": "#pub:example.org" }));
    let found = host.get(&alice, &format!("/_matrix/client/v3/directory/room/{}", encode("#pub:example.org"))).ok().body;
    assert_eq!(found["room_id"], json!(new));
    let aliases = |room: &str| host.get(&alice, &room_path(room, "aliases")).ok().body["aliases"].clone();
    assert_eq!((aliases(&old), aliases(&new)), (json!([]), json!(["#pub:example.org"])));
    assert_eq!((visibility(&host, &old), visibility(&host, &new)), ("private".into(), "public".into()));
}

#[test]
fn every_version_leads_to_every_later_one_and_back() {
    for (from, into) in [("1", "12"), ("6", "7"), ("10", "12"), ("11", "12"), ("12", "12"), ("12", "11"), ("11", "6")] {
        let host = Host::new();
        let (alice, bob) = (host.register("alice"), host.register("bob"));
        let old = host.create_room(&alice, json!({ "room_version": from, "invite": [bob.id], "name": "N" }));
        host.join(&bob, &old);
        let new = to(&host, &alice, &old, into);
        assert_eq!(content(&host, &alice, &new, "m.room.create")["room_version"], json!(into));
        assert_eq!(content(&host, &alice, &new, "m.room.name"), json!({ "name": "N" }), "{from} to {into}");
        let levels = content(&host, &alice, &new, "m.room.power_levels");
        if into == "12" {
            assert_eq!(levels["users"], json!({}), "creators are not listed, {from} to {into}");
            assert_eq!(levels["events"]["m.room.tombstone"], json!(150), "{from} to {into}");
        }
        host.put_state(&alice, &new, "m.room.tombstone", "", json!({ "body": "", "replacement_room": old }));
        host.put(&bob, &room_path(&old, "send/m.room.message/1"), json!({ "msgtype": "m.text", "body": "x" })).refused(403, "M_FORBIDDEN");
        let carol = host.register("carol");
        host.post(&bob, &room_path(&old, "invite"), json!({ "user_id": carol.id })).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn creators_are_named_anew() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let old = host.create_room(&alice, json!({ "creation_content": { "additional_creators": [carol.id] } }));
    host.put_state(&alice, &old, "m.room.power_levels", "", json!({ "users": { bob.id.as_str(): 50 } }));
    let new = upgrade(&host, &alice, &old, json!({ "new_version": "12", "additional_creators": [bob.id, alice.id] }))
        .ok()
        .text("replacement_room");
    let create = content(&host, &alice, &new, "m.room.create");
    assert_eq!(create["additional_creators"], json!([bob.id]));
    assert_eq!(content(&host, &alice, &new, "m.room.power_levels")["users"], json!({}));
    let older = upgrade(&host, &alice, &new, json!({ "new_version": "11", "additional_creators": [bob.id] })).ok().text("replacement_room");
    assert_eq!(content(&host, &alice, &older, "m.room.create").get("additional_creators"), None);
    let users = content(&host, &alice, &older, "m.room.power_levels")["users"].clone();
    assert_eq!(users, json!({ alice.id.as_str(): 150, bob.id.as_str(): 150 }), "creators keep a level that does everything");
}

#[test]
fn a_moderator_upgrades_and_gets_no_more_power() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let levels =
        json!({ "users": { alice.id.as_str(): 100, bob.id.as_str(): 50 }, "events": { "m.room.tombstone": 50, "m.room.server_acl": 100 } });
    let old = host.create_room(
        &alice,
        json!({
            "room_version": "11", "invite": [bob.id], "power_level_content_override": levels,
            "initial_state": [{ "type": "m.room.server_acl", "content": { "allow": ["*"] } }],
        }),
    );
    host.join(&bob, &old);
    let new = to(&host, &bob, &old, "11");
    assert_eq!(content(&host, &bob, &new, "m.room.server_acl"), json!({ "allow": ["*"] }));
    assert_eq!(content(&host, &bob, &new, "m.room.power_levels")["users"], json!({ alice.id.as_str(): 100, bob.id.as_str(): 50 }));
    assert_eq!(content(&host, &bob, &old, "m.room.tombstone")["replacement_room"], json!(new));
    host.put(&bob, &room_path(&new, "state/m.room.server_acl"), json!({ "allow": ["b"] })).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_space_keeps_its_rooms() {
    let host = Host::new();
    let alice = host.register("alice");
    let old = host.create_room(&alice, json!({ "creation_content": { "type": "m.space" } }));
    host.put_state(&alice, &old, "m.space.child", "!a:example.org", json!({ "via": ["example.org"] }));
    host.put_state(&alice, &old, "m.space.child", "!b:example.org", json!({}));
    let new = to(&host, &alice, &old, "12");
    assert_eq!(host.state(&alice, &new, "m.space.child", "!a:example.org").ok().body, json!({ "via": ["example.org"] }));
    host.state(&alice, &new, "m.space.child", "!b:example.org").refused(404, "M_NOT_FOUND");
}

#[test]
fn upgrades_are_refused_with_the_specified_code() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id] }));
    host.join(&bob, &room);
    let version = json!({ "new_version": "12" });
    upgrade(&host, &bob, &room, version.clone()).refused(403, "M_FORBIDDEN");
    upgrade(&host, &carol, &room, version.clone()).refused(403, "M_FORBIDDEN");
    upgrade(&host, &alice, &room, json!({ "new_version": "13" })).refused(400, "M_UNSUPPORTED_ROOM_VERSION");
    upgrade(&host, &alice, &room, json!({})).refused(400, "M_BAD_JSON");
    upgrade(&host, &alice, "!gone:example.org", version).refused(404, "M_NOT_FOUND");
    let rooms = host.get(&alice, "/_matrix/client/v3/joined_rooms").ok().body;
    assert_eq!(rooms, json!({ "joined_rooms": [room] }), "nothing is left of it");
}

#[test]
fn both_rooms_change_in_one_commit_or_neither_does() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "room_alias_name": "pub", "visibility": "public" }));
    host.store.set_fault(Some(Fault::FailAt(1)));
    assert_eq!(upgrade(&host, &alice, &room, json!({ "new_version": "12" })).status, 500);
    host.restart();
    host.state(&alice, &room, "m.room.tombstone", "").refused(404, "M_NOT_FOUND");
    assert_eq!(visibility(&host, &room), "public");
    assert_eq!(host.get(&alice, "/_matrix/client/v3/joined_rooms").ok().body, json!({ "joined_rooms": [room] }));
    host.store.set_fault(None);
    to(&host, &alice, &room, "12");
    assert_eq!(host.store.commits(), 1);
}

#[test]
fn tags_rules_and_direct_chats_hold_for_the_new_room() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let old = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &old);
    let below = |user: &User, below: &str| format!("/_matrix/client/v3/user/{}/{below}", encode(&user.id));
    let tags = |user: &User, room: &str| below(user, &format!("rooms/{}/tags", encode(room)));
    let rule = |room: &str| format!("/_matrix/client/v3/pushrules/global/room/{}", encode(room));
    for user in [&alice, &bob] {
        host.put(user, &format!("{}/u.work", tags(user, &old)), json!({ "order": 0.5 })).ok();
        host.put(user, &rule(&old), json!({ "actions": [] })).ok();
        host.put(user, &below(user, "account_data/m.direct"), json!({ "@x:example.org": [old], "@y:example.org": ["!y"] })).ok();
    }
    let new = to(&host, &alice, &old, "12");
    host.join(&bob, &new);
    for user in [&alice, &bob] {
        assert_eq!(host.get(user, &tags(user, &new)).ok().body, json!({ "tags": { "u.work": { "order": 0.5 } } }));
        assert_eq!(host.get(user, &rule(&new)).ok().body["actions"], json!([]));
        let direct = host.get(user, &below(user, "account_data/m.direct")).ok().body;
        assert_eq!(direct, json!({ "@x:example.org": [old, new], "@y:example.org": ["!y"] }));
    }
    let direct = json!({ "@x:example.org": [old] });
    host.put(&bob, &below(&bob, "account_data/m.direct"), direct.clone()).ok();
    host.join(&bob, &new);
    assert_eq!(host.get(&bob, &below(&bob, "account_data/m.direct")).ok().body, direct, "joining again brings nothing back");

    // Anybody can name any room as the predecessor of theirs.
    let claimed = json!({ "predecessor": { "room_id": old, "event_id": "$e" } });
    let impostor = host.create_room(&alice, json!({ "preset": "public_chat", "creation_content": claimed }));
    host.join(&bob, &impostor);
    assert_eq!(host.get(&bob, &tags(&bob, &impostor)).ok().body, json!({ "tags": {} }));
}
