//! The original API's streams: what they tell, and to whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Answer, Host, Pending, User, encode, room_path};

fn poll(host: &Host, user: &User, from: &Value, timeout: u64, more: &str) -> Pending {
    let target = format!("/_matrix/client/v3/events?timeout={timeout}&from={}{more}", encode(from.as_str().unwrap()));
    host.begin(Method::Get, &target, Some(&user.token), None)
}

fn told(host: &Host, user: &User, from: &Value, more: &str) -> Value {
    poll(host, user, from, 0, more).answer().unwrap().ok().body
}

/// Where the stream stands.
fn end(host: &Host, user: &User) -> Value {
    host.get(user, "/_matrix/client/v3/initialSync").ok().body["end"].clone()
}

fn bodies(chunk: &Value) -> Vec<&str> {
    chunk["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

fn types(host: &Host, user: &User, room: &str, typing: bool) {
    let body = if typing { json!({ "typing": true, "timeout": 5_000 }) } else { json!({ "typing": false }) };
    host.put(user, &room_path(room, &format!("typing/{}", encode(&user.id))), body).ok();
}

fn together(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

#[test]
fn what_is_no_event_of_a_room_is_no_news() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let read = host.send(&alice, &room, "read");
    let from = end(&host, &alice);
    let mut waiting = poll(&host, &alice, &from, 20_000, "");
    types(&host, &bob, &room, true);
    host.post(&bob, &room_path(&room, &format!("receipt/m.read/{}", encode(&read))), json!({})).ok();
    assert!(waiting.answer().is_none());
    types(&host, &bob, &room, false);
    host.advance(10_000);
    assert!(waiting.answer().is_none());
    host.send(&bob, &room, "written");
    let answer = waiting.answer().unwrap().ok().body;
    assert_eq!(bodies(&answer), ["written"]);
    let mut waiting = poll(&host, &alice, &answer["end"], 20_000, "");
    types(&host, &bob, &room, true);
    host.advance(20_500);
    assert_eq!(waiting.answer().expect("its time is over").ok().body["chunk"], json!([]));
}

#[test]
fn a_poll_ends_when_the_server_stops() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let mut waiting = poll(&host, &alice, &end(&host, &alice), 20_000, "");
    types(&host, &bob, &room, true);
    host.server().stop();
    host.run();
    assert_eq!(waiting.answer().unwrap().status, 200);
}

#[test]
fn each_event_is_told_once_oldest_first_however_many_there_are() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let other = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &other);
    let mut from = end(&host, &bob);
    let sent: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    for (number, text) in sent.iter().enumerate() {
        host.send(&alice, if number % 10 == 0 { &other } else { &room }, text);
    }
    let mut found: Vec<String> = Vec::new();
    loop {
        let answer = told(&host, &bob, &from, "");
        assert_eq!(answer["start"], from);
        from = answer["end"].clone();
        found.extend(bodies(&answer).into_iter().map(str::to_owned));
        if answer["chunk"] == json!([]) {
            break;
        }
    }
    assert_eq!(found, sent);
}

#[test]
fn invitations_are_told_and_how_one_was_put_out() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let private = host.create_room(&alice, json!({ "name": "Secret" }));
    let mut waiting = poll(&host, &bob, &end(&host, &bob), 20_000, "");
    host.send(&alice, &private, "secret");
    assert!(waiting.answer().is_none());
    host.invite(&alice, &private, &bob);
    let answer = waiting.answer().expect("an invitation is news").ok().body;
    let event = &answer["chunk"][0];
    assert_eq!((&event["type"], &event["state_key"], &event["room_id"]), (&json!("m.room.member"), &json!(bob.id), &json!(private)));
    assert_eq!(event["content"]["membership"], "invite");
    let mut waiting = poll(&host, &bob, &answer["end"], 20_000, "");
    host.send(&alice, &private, "more of it");
    assert!(waiting.answer().is_none());
    host.post(&alice, &room_path(&room, "kick"), json!({ "user_id": bob.id })).ok();
    let answer = waiting.answer().expect("one's own leave is news").ok().body;
    assert_eq!(answer["chunk"][0]["content"]["membership"], "leave");
    host.send(&alice, &room, "behind the back");
    assert_eq!(told(&host, &bob, &answer["end"], "")["chunk"], json!([]));
}

#[test]
fn a_poll_of_a_device_that_was_logged_out_ends() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let mut waiting = poll(&host, &bob, &end(&host, &bob), 20_000, "");
    host.post(&bob, "/_matrix/client/v3/logout", json!({})).ok();
    host.send(&alice, &room, "news");
    waiting.answer().unwrap().refused(401, "M_UNKNOWN_TOKEN");
}

fn initial(host: &Host, user: &User, room: &str) -> Answer {
    host.get(user, &room_path(room, "initialSync"))
}

fn archived(host: &Host, user: &User) -> Value {
    host.get(user, "/_matrix/client/v3/initialSync?archived=true").ok().body
}

fn with_left(host: &Host, user: &User, since: Option<&Value>) -> Value {
    let filter = encode(&json!({ "room": { "include_leave": true } }).to_string());
    let since = since.map_or_else(String::new, |sync| format!("&since={}", encode(sync["next_batch"].as_str().unwrap())));
    host.get(user, &format!("/_matrix/client/v3/sync?filter={filter}{since}")).ok().body
}

#[test]
fn who_was_never_in_a_private_room_is_told_nothing_of_it() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "name": "Secret plan" }));
    host.send(&alice, &room, "secret message");
    host.invite(&alice, &room, &bob);
    let since = host.sync(&bob, None);
    host.put_state(&alice, &room, "m.room.topic", "", json!({ "topic": "secret topic" }));
    host.leave(&bob, &room);
    host.post(&alice, &room_path(&room, "ban"), json!({ "user_id": carol.id })).ok();
    for user in [&bob, &carol] {
        initial(&host, user, &room).refused(403, "M_FORBIDDEN");
        for told in [archived(&host, user), with_left(&host, user, None)] {
            assert!(told.to_string().contains(&room) && !told.to_string().to_lowercase().contains("secret"), "{told}");
        }
    }
    let declined = with_left(&host, &bob, Some(&since));
    assert!(declined["rooms"]["leave"].get(&room).is_some() && !declined.to_string().contains("secret"), "{declined}");
}

#[test]
fn who_was_in_a_room_is_told_it_as_it_was_when_they_left() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    host.put_state(&alice, &room, "m.room.topic", "", json!({ "topic": "then" }));
    host.send(&alice, &room, "before");
    host.leave(&bob, &room);
    host.send(&alice, &room, "after");
    host.put_state(&alice, &room, "m.room.topic", "", json!({ "topic": "now" }));
    // What comes of a later invitation is nothing that they were there for.
    for step in 0..2 {
        if step == 1 {
            host.invite(&alice, &room, &bob);
            host.leave(&bob, &room);
        }
        for told in [initial(&host, &bob, &room).ok().body, archived(&host, &bob), with_left(&host, &bob, None)] {
            let told = told.to_string();
            assert!(told.contains("before") && told.contains("then"), "{step}: {told}");
            assert!(!told.contains("after") && !told.contains("now"), "{step}: {told}");
        }
    }
}

#[test]
fn who_looks_into_a_room_does_not_see_what_was_shared_with_its_members_alone() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let dave = host.register("dave");
    let from = end(&host, &dave);
    let peek = format!("&room_id={}", encode(&room));
    poll(&host, &dave, &from, 0, &peek).answer().unwrap().refused(403, "M_FORBIDDEN");
    host.send(&alice, &room, "among us");
    host.put_state(&alice, &room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    host.send(&alice, &room, "to the world");
    for (user, expected) in [(&dave, vec!["to the world"]), (&bob, vec!["among us", "to the world"])] {
        let messages = initial(&host, user, &room).ok().body["messages"].clone();
        assert_eq!(bodies(&messages), expected);
        assert_eq!(bodies(&told(&host, user, &from, &peek)), expected);
    }
    let mut waiting = poll(&host, &dave, &end(&host, &dave), 20_000, &peek);
    host.send(&bob, &room, "live");
    assert_eq!(bodies(&waiting.answer().expect("what happens there is news").ok().body), ["live"]);
}
