//! Room aliases and the published room directory.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::rc::Rc;

use futures_util::future::join_all;
use inglenook::http::{Method, Request};
use serde_json::{Value, json};
use support::{Answer, Host, User, encode, request, room_path};

fn alias(name: &str) -> String {
    format!("/_matrix/client/v3/directory/room/{}", encode(name))
}

fn listed(room: &str) -> String {
    format!("/_matrix/client/v3/directory/list/room/{}", encode(room))
}

fn resolve(host: &Host, name: &str) -> Answer {
    host.request(Method::Get, &alias(name), None, None)
}

/// The names on a page of the directory.
fn names(body: &Value) -> Vec<String> {
    let name = |room: &Value| room["name"].as_str().unwrap_or_default().to_owned();
    body["chunk"].as_array().expect("a list").iter().map(name).collect()
}

fn search(host: &Host, user: &User, body: Value) -> Answer {
    host.post(user, "/_matrix/client/v3/publicRooms", body)
}

#[test]
fn aliases_come_and_go() {
    let mut host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id] }));
    let target = json!({ "room_id": room });
    host.put(&bob, &alias("#a:example.org"), target.clone()).refused(403, "M_FORBIDDEN");
    host.join(&bob, &room);
    host.put(&bob, &alias("#a:example.org"), target.clone()).ok();
    host.put(&alice, &alias("#a:example.org"), target.clone()).refused(409, "M_UNKNOWN");
    host.put(&alice, &alias("#b:example.org"), target.clone()).ok();
    host.put(&alice, &alias("#b:elsewhere.example"), target.clone()).refused(400, "M_INVALID_PARAM");
    host.put(&alice, &alias("b"), target).refused(400, "M_INVALID_PARAM");
    host.put(&alice, &alias("#c:example.org"), json!({})).refused(400, "M_BAD_JSON");
    host.put(&alice, &alias("#c:example.org"), json!({ "room_id": "!gone:example.org" })).refused(404, "M_NOT_FOUND");
    host.restart();
    assert_eq!(resolve(&host, "#a:example.org").ok().body, json!({ "room_id": room, "servers": ["example.org"] }));
    resolve(&host, "#z:example.org").refused(404, "M_NOT_FOUND");
    resolve(&host, "z").refused(400, "M_INVALID_PARAM");
    resolve(&host, "#a:elsewhere.example").refused(502, "M_UNREACHABLE");

    let aliases = |user: &User| host.get(user, &room_path(&room, "aliases"));
    assert_eq!(aliases(&bob).ok().body, json!({ "aliases": ["#a:example.org", "#b:example.org"] }));
    aliases(&carol).refused(403, "M_FORBIDDEN");

    host.delete(&bob, &alias("#b:example.org"), None).refused(403, "M_FORBIDDEN");
    host.delete(&carol, &alias("#a:example.org"), None).refused(403, "M_FORBIDDEN");
    host.delete(&alice, &alias("#a:example.org"), None).ok();
    host.delete(&alice, &alias("#a:example.org"), None).refused(404, "M_NOT_FOUND");
    resolve(&host, "#a:example.org").refused(404, "M_NOT_FOUND");
    assert_eq!(aliases(&bob).ok().body, json!({ "aliases": ["#b:example.org"] }));
    host.leave(&bob, &room);
    aliases(&bob).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_removed_alias_leaves_the_rooms_own_list() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "room_alias_name": "main", "invite": [bob.id] }));
    host.join(&bob, &room);
    host.put(&bob, &alias("#bobs:example.org"), json!({ "room_id": room })).ok();
    host.put_state(
        &alice,
        &room,
        "m.room.canonical_alias",
        "",
        json!({ "alias": "#main:example.org", "alt_aliases": ["#bobs:example.org"] }),
    );
    host.delete(&bob, &alias("#bobs:example.org"), None).ok();
    let content = || host.state(&alice, &room, "m.room.canonical_alias", "").ok().body;
    assert_eq!(content()["alt_aliases"], json!(["#bobs:example.org"]), "Bob may not change it, and the alias is gone all the same");
    host.delete(&alice, &alias("#main:example.org"), None).ok();
    assert_eq!(content(), json!({ "alt_aliases": ["#bobs:example.org"] }));
}

#[test]
fn one_room_gets_an_alias_however_requests_overlap() {
    let host = Host::new();
    let alice = host.register("alice");
    let rooms: Vec<_> = (0..3).map(|_| host.create_room(&alice, json!({}))).collect();
    let put = |room: &String| request(Method::Put, &alias("#a:example.org"), Some(&alice.token), Some(json!({ "room_id": room })));
    assert_eq!(together(&host, rooms.iter().map(put)), [200, 409, 409]);
}

#[test]
fn one_new_room_gets_an_alias_however_requests_overlap() {
    let host = Host::new();
    let alice = host.register("alice");
    let body = json!({ "room_alias_name": "pub" });
    let create = |_| request(Method::Post, "/_matrix/client/v3/createRoom", Some(&alice.token), Some(body.clone()));
    assert_eq!(together(&host, (0..3).map(create)), [200, 400, 400]);
    let rooms = host.get(&alice, "/_matrix/client/v3/joined_rooms").ok().body;
    assert_eq!(rooms["joined_rooms"].as_array().map(Vec::len), Some(1));
}

/// Sends requests at once over a store at which each of them has to wait, and returns the statuses in ascending order.
fn together(host: &Host, requests: impl Iterator<Item = Request>) -> Vec<u16> {
    host.store.set_slow(true);
    let server = Rc::clone(&host.server());
    let answers = host.block_on(join_all(requests.map(|request| server.handle(request))));
    host.store.set_slow(false);
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn publishing_needs_the_power_over_aliases() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id] }));
    host.join(&bob, &room);
    let set = |user: &User, body: Value| host.put(user, &listed(&room), body);
    let visibility = || host.request(Method::Get, &listed(&room), None, None).ok().text("visibility");
    set(&bob, json!({ "visibility": "public" })).refused(403, "M_FORBIDDEN");
    set(&carol, json!({ "visibility": "public" })).refused(403, "M_FORBIDDEN");
    assert_eq!(visibility(), "private");
    set(&alice, json!({})).ok();
    assert_eq!(visibility(), "public", "the default");
    set(&alice, json!({ "visibility": "private" })).ok();
    assert_eq!(visibility(), "private");
    set(&alice, json!({ "visibility": "secret" })).refused(400, "M_BAD_JSON");
    host.put(&alice, &listed("!gone:example.org"), json!({})).refused(404, "M_NOT_FOUND");
    host.get(&alice, &listed("!gone:example.org")).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_listed_room_is_described() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(
        &alice,
        json!({
            "visibility": "public", "name": "Pub", "topic": "Beer", "room_alias_name": "pub", "creation_content": { "type": "m.space" },
            "initial_state": [
                { "type": "m.room.avatar", "content": { "url": "mxc://example.org/a" } },
                { "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } },
                { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
            ],
        }),
    );
    host.join(&bob, &room);
    let body = host.request(Method::Get, "/_matrix/client/v3/publicRooms", None, None).ok().body;
    let expected = json!({
        "room_id": room, "name": "Pub", "topic": "Beer", "canonical_alias": "#pub:example.org", "avatar_url": "mxc://example.org/a",
        "join_rule": "public", "room_type": "m.space", "num_joined_members": 2, "world_readable": true, "guest_can_join": true,
    });
    assert_eq!(body, json!({ "chunk": [expected], "total_room_count_estimate": 1 }));
    let bare = host.create_room(&alice, json!({ "preset": "private_chat", "visibility": "public" }));
    let body = host.request(Method::Get, "/_matrix/client/v3/publicRooms", None, None).ok().body;
    let expected =
        json!({ "room_id": bare, "join_rule": "invite", "num_joined_members": 1, "world_readable": false, "guest_can_join": true });
    assert_eq!(body["chunk"][1], expected, "the larger room comes first");
}

#[test]
fn the_directory_is_searched() {
    let host = Host::new();
    let alice = host.register("alice");
    let public = |body: Value| {
        let mut body = body;
        body["visibility"] = json!("public");
        host.create_room(&alice, body)
    };
    public(json!({ "name": "Äpfel", "topic": "Fruit" }));
    public(json!({ "name": "Pears", "room_alias_name": "fruitful" }));
    public(json!({ "name": "Cellar", "creation_content": { "type": "m.space" } }));
    host.create_room(&alice, json!({ "name": "Fruit, hidden" }));
    let found = |filter: Value| {
        let mut found = names(&search(&host, &alice, json!({ "filter": filter })).ok().body);
        found.sort();
        found
    };
    assert_eq!(found(json!({ "generic_search_term": "FRUIT" })), ["Pears", "Äpfel"]);
    assert_eq!(found(json!({ "generic_search_term": "äpf" })), ["Äpfel"]);
    assert_eq!(found(json!({ "generic_search_term": "nothing" })), [""; 0]);
    assert_eq!(found(json!({ "room_types": ["m.space"] })), ["Cellar"]);
    assert_eq!(found(json!({ "room_types": [null] })), ["Pears", "Äpfel"]);
    assert_eq!(found(json!({ "room_types": [null, "m.space"] })), ["Cellar", "Pears", "Äpfel"]);
    assert_eq!(found(json!({ "room_types": [] })), [""; 0]);
    assert_eq!(found(json!({})), ["Cellar", "Pears", "Äpfel"]);
    search(&host, &alice, json!({ "filter": 1 })).refused(400, "M_BAD_JSON");
    host.request(Method::Post, "/_matrix/client/v3/publicRooms", None, Some(json!({}))).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn the_directory_is_paged_both_ways() {
    let host = Host::new();
    let alice = host.register("alice");
    for number in 0..5 {
        host.create_room(&alice, json!({ "visibility": "public", "name": number.to_string() }));
    }
    let all = names(&search(&host, &alice, json!({})).ok().body);
    assert_eq!(all.len(), 5);
    let page = |since: &Value| search(&host, &alice, json!({ "limit": 2, "since": since })).ok().body;
    let first = page(&Value::Null);
    assert_eq!((names(&first), first.get("prev_batch")), (all[..2].to_vec(), None));
    assert_eq!(first["total_room_count_estimate"], 5);
    let second = page(&first["next_batch"]);
    assert_eq!(names(&second), all[2..4]);
    let third = page(&second["next_batch"]);
    assert_eq!((names(&third), third.get("next_batch")), (all[4..].to_vec(), None));
    assert_eq!(names(&page(&third["prev_batch"])), all[2..4]);
    assert_eq!(names(&page(&second["prev_batch"])), all[..2]);
    let target = format!("/_matrix/client/v3/publicRooms?limit=2&since={}", encode(first["next_batch"].as_str().expect("a token")));
    assert_eq!(names(&host.request(Method::Get, &target, None, None).ok().body), all[2..4]);
    search(&host, &alice, json!({ "since": "x" })).refused(400, "M_INVALID_PARAM");
    search(&host, &alice, json!({ "since": "é" })).refused(400, "M_INVALID_PARAM");
    host.get(&alice, "/_matrix/client/v3/publicRooms?limit=x").refused(400, "M_INVALID_PARAM");
}

#[test]
fn the_directory_of_an_unreachable_server_is_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    host.get(&alice, "/_matrix/client/v3/publicRooms?server=example.org").ok();
    host.get(&alice, "/_matrix/client/v3/publicRooms?server=elsewhere.example").refused(502, "M_UNREACHABLE");
}
