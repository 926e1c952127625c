//! The history of a room from before this server joined it, fetched from those who were there.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{
    Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

/// Alice's room with so many messages, which Bob has joined since.
fn joined_late(messages: usize, version: &str) -> (Network, User, User, String) {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
    for number in 0..messages {
        network[0].send(&alice, &room, &number.to_string());
    }
    join(&network, &bob, &room);
    (network, alice, bob, room)
}

fn join(network: &Network, bob: &User, room: &str) {
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(room), encode(&network[0].name()));
    network[1].post(bob, &target, json!({})).ok();
}

fn page(host: &Host, user: &User, room: &str, from: &str, limit: usize) -> Value {
    host.get(user, &room_path(room, &format!("messages?dir=b&limit={limit}&from={from}"))).ok().body
}

fn prev_batch(host: &Host, user: &User, room: &str) -> String {
    host.sync(user, None)["rooms"]["join"][room]["timeline"]["prev_batch"].as_str().unwrap().to_owned()
}

/// All of the history before a token, newest first.
fn history(host: &Host, user: &User, room: &str, from: String, limit: usize) -> Vec<Value> {
    let (mut events, mut from) = (Vec::new(), Some(from));
    while let Some(token) = from {
        let page = page(host, user, room, &token, limit);
        events.extend(page["chunk"].as_array().unwrap().iter().cloned());
        from = page["end"].as_str().map(str::to_owned);
    }
    events
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// What the first host has of the room before Bob's first event.
fn all(network: &Network, alice: &User, room: &str) -> Vec<String> {
    let token = network[0].sync(alice, None)["next_batch"].as_str().unwrap().to_owned();
    let mut ids = ids(&history(&network[0], alice, room, token, 100));
    ids.remove(0);
    ids
}

#[test]
fn the_history_from_before_a_join_is_read_page_by_page_to_the_beginning() {
    for version in ["1", "6", "12"] {
        let (network, alice, bob, room) = joined_late(250, version);
        let from = prev_batch(&network[1], &bob, &room);
        let told = history(&network[1], &bob, &room, from.clone(), 40);
        assert_eq!(ids(&told), all(&network, &alice, &room), "version {version}");
        assert_eq!(told.last().unwrap()["type"], "m.room.create");
        network.carried();
        history(&network[1], &bob, &room, from, 40);
        assert_eq!(network.carried(), [], "what is here is not asked for again");
    }
}

#[test]
fn where_nobody_answers_history_ends_for_now() {
    let (network, _, bob, room) = joined_late(5, "12");
    let from = prev_batch(&network[1], &bob, &room);
    network.cut(0, 1);
    let told = page(&network[1], &bob, &room, &from, 10);
    assert_eq!(told["chunk"], json!([]));
    let end = told["end"].as_str().expect("there is more another time").to_owned();
    network.heal(0, 1);
    assert_eq!(page(&network[1], &bob, &room, &end, 3)["chunk"].as_array().unwrap().len(), 3);
}

#[test]
fn what_was_missed_between_two_stays_is_read_in_its_place() {
    let (network, alice, bob, room) = joined_late(3, "12");
    let first = history(&network[1], &bob, &room, prev_batch(&network[1], &bob, &room), 10);
    network[1].leave(&bob, &room);
    for number in 0..30 {
        network[0].send(&alice, &room, &format!("missed {number}"));
    }
    join(&network, &bob, &room);
    let told = history(&network[1], &bob, &room, prev_batch(&network[1], &bob, &room), 7);
    let missed = told.iter().filter(|event| event["content"]["body"].as_str().is_some_and(|body| body.starts_with("missed"))).count();
    assert_eq!(missed, 30);
    assert!(ids(&told).ends_with(&ids(&first)), "and then what was known before");
}

#[test]
fn what_a_peer_makes_up_is_not_told() {
    let (network, _, bob, room) = joined_late(5, "11");
    let from = prev_batch(&network[1], &bob, &room);
    let forged = json!({ "type": "m.room.message", "room_id": room, "sender": "@mallory:example.org", "content": {}, "depth": 1 });
    for pdus in [json!([]), json!([forged, 1, {}, []]), json!({})] {
        let answer = json!({ "pdus": pdus });
        network.treat(move |carried: &Carried| match carried.target.contains("/backfill/") {
            true => Treatment::Answer(inglenook::http::Response::ok(&answer)),
            false => Treatment::Carry,
        });
        assert_eq!(page(&network[1], &bob, &room, &from, 10)["chunk"], json!([]));
    }
    network.treat_well();
    assert_eq!(page(&network[1], &bob, &room, &from, 5)["chunk"].as_array().unwrap().len(), 5);
}

#[test]
fn a_history_that_is_hidden_from_newcomers_stays_hidden() {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let hidden = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } }]);
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "initial_state": hidden }));
    network[0].send(&alice, &room, "secret");
    join(&network, &bob, &room);
    let told = history(&network[1], &bob, &room, prev_batch(&network[1], &bob, &room), 50);
    assert!(told.iter().all(|event| event["content"]["body"] != "secret"));
}
