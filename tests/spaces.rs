//! Room summaries and the rooms of spaces.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Answer, Host, User, encode};

fn summary(host: &Host, user: Option<&User>, room: &str) -> Answer {
    let target = format!("/_matrix/client/v1/room_summary/{}", encode(room));
    host.request(Method::Get, &target, user.map(|user| &*user.token), None)
}

fn hierarchy(host: &Host, user: &User, room: &str, query: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/hierarchy{query}", encode(room)))
}

fn names(body: &Value) -> Vec<String> {
    let name = |room: &Value| room["name"].as_str().unwrap_or_default().to_owned();
    body["rooms"].as_array().expect("a list").iter().map(name).collect()
}

fn space(host: &Host, user: &User, name: &str) -> String {
    host.create_room(user, json!({ "name": name, "creation_content": { "type": "m.space" } }))
}

fn add(host: &Host, user: &User, space: &str, child: &str, content: Value) {
    let mut content = content;
    content["via"] = json!(["example.org"]);
    host.put_state(user, space, "m.space.child", child, content);
}

#[test]
fn a_summary_says_what_one_needs_to_know_before_joining() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let club = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let rules = json!({ "join_rule": "knock_restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let room = host.create_room(
        &alice,
        json!({
            "name": "N", "room_alias_name": "n", "room_version": "11",
            "initial_state": [
                { "type": "m.room.join_rules", "content": rules },
                { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
            ],
        }),
    );
    let expected = json!({
        "room_id": room, "name": "N", "canonical_alias": "#n:example.org", "join_rule": "knock_restricted", "num_joined_members": 1,
        "world_readable": false, "guest_can_join": true, "allowed_room_ids": [club], "encryption": "m.megolm.v1.aes-sha2", "room_version": "11",
    });
    assert_eq!(summary(&host, None, &room).ok().body, expected);
    assert_eq!(summary(&host, Some(&bob), "#n:example.org").ok().body, expected);
    assert_eq!(summary(&host, Some(&alice), &room).ok().body["membership"], "join");
    summary(&host, None, "!gone:example.org").refused(404, "M_NOT_FOUND");
    summary(&host, None, "#gone:example.org").refused(404, "M_NOT_FOUND");
}

#[test]
fn a_summary_is_for_those_who_could_come_in() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let club = host.create_room(&alice, json!({ "invite": [carol.id] }));
    host.join(&carol, &club);
    let room = host.create_room(&alice, json!({}));
    summary(&host, None, &room).refused(404, "M_NOT_FOUND");
    summary(&host, Some(&bob), &room).refused(404, "M_NOT_FOUND");
    host.invite(&alice, &room, &bob);
    assert_eq!(summary(&host, Some(&bob), &room).ok().body["membership"], "invite");
    summary(&host, Some(&carol), &room).refused(404, "M_NOT_FOUND");
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    host.put_state(&alice, &room, "m.room.join_rules", "", rules);
    summary(&host, Some(&carol), &room).ok();
    summary(&host, None, &room).refused(404, "M_NOT_FOUND");
    host.put_state(&alice, &room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    summary(&host, None, &room).ok();
    host.put_state(&alice, &room, "m.room.member", &carol.id, json!({ "membership": "ban" }));
    summary(&host, Some(&carol), &room).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_space_is_walked_depth_first_in_its_order() {
    let host = Host::new();
    let alice = host.register("alice");
    let (root, inner) = (space(&host, &alice, "Root"), space(&host, &alice, "Inner"));
    let room = |name: &str| host.create_room(&alice, json!({ "name": name }));
    let (early, late, first, deep) = (room("Early"), room("Late"), room("First"), room("Deep"));
    add(&host, &alice, &root, &early, json!({ "order": "é is no order" }));
    host.advance(10);
    add(&host, &alice, &root, &late, json!({ "suggested": true }));
    add(&host, &alice, &root, &inner, json!({ "order": "b", "suggested": true }));
    add(&host, &alice, &root, &first, json!({ "order": "a" }));
    add(&host, &alice, &inner, &deep, json!({}));
    add(&host, &alice, &inner, &root, json!({}));
    host.advance(10);
    add(&host, &alice, &root, "!gone:example.org", json!({}));
    let removed = room("Removed");
    host.put_state(&alice, &root, "m.space.child", &removed, json!({}));

    let body = hierarchy(&host, &alice, &root, "").ok().body;
    assert_eq!(names(&body), ["Root", "First", "Inner", "Deep", "Early", "Late"]);
    assert_eq!(body.get("next_batch"), None);
    let children = body["rooms"][0]["children_state"].as_array().expect("a list").clone();
    let keys: Vec<_> = children.iter().map(|child| child["state_key"].as_str().expect("a room")).collect();
    assert_eq!(keys, [&*first, &inner, &early, &late, "!gone:example.org"]);
    assert!(children.iter().all(|child| child["origin_server_ts"].is_u64() && child["type"] == "m.space.child"));
    assert_eq!(body["rooms"][1]["children_state"], json!([]));

    assert_eq!(names(&hierarchy(&host, &alice, &root, "?max_depth=1").ok().body), ["Root", "First", "Inner", "Early", "Late"]);
    assert_eq!(names(&hierarchy(&host, &alice, &root, "?max_depth=0").ok().body), ["Root"]);
    assert_eq!(names(&hierarchy(&host, &alice, &root, "?suggested_only=true").ok().body), ["Root", "Inner", "Late"]);

    let page = hierarchy(&host, &alice, &root, "?limit=4").ok().body;
    assert_eq!(names(&page), ["Root", "First", "Inner", "Deep"]);
    let next = page["next_batch"].as_str().expect("a token").to_owned();
    assert_eq!(names(&hierarchy(&host, &alice, &root, &format!("?limit=4&from={next}")).ok().body), ["Early", "Late"]);
    hierarchy(&host, &alice, &root, &format!("?max_depth=1&from={next}")).refused(400, "M_INVALID_PARAM");
    hierarchy(&host, &alice, &root, &format!("?suggested_only=true&from={next}")).refused(400, "M_INVALID_PARAM");
    hierarchy(&host, &alice, &root, "?from=x").refused(400, "M_INVALID_PARAM");
    hierarchy(&host, &alice, &root, "?limit=0").refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_space_shows_only_the_rooms_that_one_may_see() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let root = space(&host, &alice, "Root");
    let hidden = host.create_room(&alice, json!({ "name": "Hidden" }));
    let open = host.create_room(&alice, json!({ "name": "Open", "preset": "public_chat" }));
    add(&host, &alice, &root, &hidden, json!({}));
    add(&host, &alice, &root, &open, json!({}));
    hierarchy(&host, &bob, &root, "").refused(403, "M_FORBIDDEN");
    hierarchy(&host, &bob, "!gone:example.org", "").refused(403, "M_FORBIDDEN");
    host.invite(&alice, &root, &bob);
    assert_eq!(names(&hierarchy(&host, &bob, &root, "").ok().body), ["Root", "Open"]);
}
