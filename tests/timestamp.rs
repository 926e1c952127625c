//! Finding the event of a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::json;
use support::{Answer, Host, User, encode, room_path};

fn find(host: &Host, user: &User, room: &str, time: u64, direction: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/timestamp_to_event?ts={time}&dir={direction}", encode(room)))
}

#[test]
fn the_closest_event_of_either_direction_is_found() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    let created = host.get(&alice, &room_path(&room, "messages?dir=f&limit=1")).ok().body["chunk"][0].clone();
    let start = created["origin_server_ts"].as_u64().unwrap();
    let mut sent = Vec::new();
    for number in 1..=200 {
        host.advance(10);
        sent.push((start + number * 10, host.send(&alice, &room, "a")));
    }
    for (time, id) in &sent {
        assert_eq!(find(&host, &alice, &room, *time, "f").ok().body, json!({ "event_id": id, "origin_server_ts": time }));
        assert_eq!(find(&host, &alice, &room, *time, "b").ok().text("event_id"), *id);
        assert_eq!(find(&host, &alice, &room, time - 3, "f").ok().text("event_id"), *id);
        assert_eq!(find(&host, &alice, &room, time + 3, "b").ok().text("event_id"), *id);
    }
    let last = sent.last().unwrap().0;
    assert_eq!(find(&host, &alice, &room, 0, "f").ok().text("event_id"), created["event_id"].as_str().unwrap());
    find(&host, &alice, &room, last + 1, "f").refused(404, "M_NOT_FOUND");
    find(&host, &alice, &room, start - 1, "b").refused(404, "M_NOT_FOUND");
    assert_eq!(find(&host, &alice, &room, u64::MAX, "b").ok().text("event_id"), sent.last().unwrap().1);
}

#[test]
fn a_clock_that_was_set_back_does_not_hide_the_closest_event() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    host.advance(100);
    let late = host.send(&alice, &room, "at 100");
    host.clock.set_back(50);
    let early = host.send(&alice, &room, "at 50");
    host.advance(100);
    let last = host.send(&alice, &room, "at 150");
    let time =
        |id: &str| host.get(&alice, &room_path(&room, &format!("event/{}", encode(id)))).ok().body["origin_server_ts"].as_u64().unwrap();
    let start = time(&early) - 50;
    for (after, direction, expected) in [(45, "f", &early), (60, "f", &late), (110, "f", &last), (60, "b", &early), (140, "b", &late)] {
        assert_eq!(find(&host, &alice, &room, start + after, direction).ok().text("event_id"), *expected, "{after} {direction}");
    }
}

#[test]
fn only_what_is_visible_is_found() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    host.advance(10);
    host.leave(&bob, &room);
    host.advance(10);
    host.send(&alice, &room, "unseen");
    let found = find(&host, &bob, &room, u64::MAX, "b").ok().text("event_id");
    let found = host.get(&bob, &room_path(&room, &format!("event/{}", encode(&found)))).ok().body;
    assert_eq!((&found["state_key"], &found["content"]["membership"]), (&json!(bob.id), &json!("leave")));
    find(&host, &host.register("carol"), &room, 0, "f").refused(403, "M_FORBIDDEN");
}

#[test]
fn what_is_asked_badly_is_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    for (query, code) in
        [("dir=f", "M_MISSING_PARAM"), ("ts=1", "M_MISSING_PARAM"), ("ts=1&dir=x", "M_INVALID_PARAM"), ("ts=x&dir=f", "M_INVALID_PARAM")]
    {
        host.get(&alice, &format!("/_matrix/client/v1/rooms/{}/timestamp_to_event?{query}", encode(&room))).refused(400, code);
    }
}
