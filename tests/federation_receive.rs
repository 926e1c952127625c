//! What one server sends, another takes in: whole servers, and a network between them that loses, repeats and cuts.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::{Config, http::Method};
use serde_json::{Value, json};
use support::{
    Network, User, encode,
    network::Treatment,
    peer::{Peer, id_of, message},
    room_path,
};

/// A room of Alice's that Bob of another server has joined.
fn room(network: &Network) -> (User, User, String) {
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    join(network, 1, &bob, &room);
    (alice, bob, room)
}

fn join(network: &Network, host: usize, user: &User, room: &str) {
    let via = network[0].name();
    let target = format!("/_matrix/client/v3/join/{}?via={}&server_name={}", encode(room), encode(&via), encode(&via));
    let mut joining = network[host].begin(inglenook::http::Method::Post, &target, Some(&user.token), Some(json!({})));
    network.run();
    joining.answer().unwrap().ok();
}

/// The bodies of the room's messages in order, as a user reads them.
fn bodies(network: &Network, host: usize, user: &User, room: &str) -> Vec<String> {
    let target = room_path(room, "messages?dir=b&limit=100");
    let mut reading = network[host].begin(inglenook::http::Method::Get, &target, Some(&user.token), None);
    network.run();
    let chunk = reading.answer().unwrap().ok().body["chunk"].clone();
    let bodies = chunk.as_array().unwrap().iter().rev().filter_map(|event| event["content"]["body"].as_str().map(str::to_owned));
    bodies.collect()
}

fn state(network: &Network, host: usize, user: &User, room: &str) -> Vec<String> {
    let events = network[host].get(user, &room_path(room, "state")).ok().body;
    let mut ids: Vec<_> = events.as_array().unwrap().iter().map(|event: &Value| event["event_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn settle(network: &Network) {
    network.run();
    network.advance_in_steps(60_000, 60);
}

#[test]
fn messages_go_both_ways_at_once() {
    let network = Network::of_keys(2);
    let (alice, bob, room) = room(&network);
    network[0].send(&alice, &room, "one");
    network.run();
    network[1].send(&bob, &room, "two");
    network.run();
    assert_eq!(bodies(&network, 0, &alice, &room), ["one", "two"]);
    assert_eq!(bodies(&network, 1, &bob, &room), ["one", "two"]);
    assert_eq!(state(&network, 0, &alice, &room), state(&network, 1, &bob, &room));
}

#[test]
fn a_network_that_loses_and_repeats_makes_no_difference() {
    let network = Network::of_keys(2);
    let (alice, bob, room) = room(&network);
    let mut serial = 0;
    network.treat(move |_| {
        serial += 1;
        match serial % 5 {
            0 | 1 => Treatment::Lose,
            2 => Treatment::LoseAnswer,
            3 => Treatment::Repeat,
            _ => Treatment::Carry,
        }
    });
    let mut sent = Vec::new();
    for number in 0..40 {
        let (host, user) = if number % 3 == 0 { (1, &bob) } else { (0, &alice) };
        sent.push(number.to_string());
        network[host].send(user, &room, &number.to_string());
        network.advance(1_000);
    }
    settle(&network);
    network.treat_well();
    settle(&network);
    let (mut one, mut other) = (bodies(&network, 0, &alice, &room), bodies(&network, 1, &bob, &room));
    one.sort();
    other.sort();
    sent.sort();
    assert_eq!((one, other), (sent.clone(), sent));
    assert_eq!(state(&network, 0, &alice, &room), state(&network, 1, &bob, &room));
}

#[test]
fn both_sides_of_a_partition_come_together() {
    let network = Network::of_keys(3);
    let (alice, bob, room) = room(&network);
    let carol = network[2].register("carol");
    join(&network, 2, &carol, &room);
    settle(&network);
    network.cut(0, 2);
    network.cut(1, 2);
    network[0].put_state(&alice, &room, "m.room.topic", "", json!({ "topic": "on one side" }));
    network[1].send(&bob, &room, "bob");
    network[2].send(&carol, &room, "carol");
    settle(&network);
    network.heal(0, 2);
    network.heal(1, 2);
    settle(&network);
    for (host, user) in [(0, &alice), (1, &bob), (2, &carol)] {
        let mut read = bodies(&network, host, user, &room);
        read.sort();
        assert_eq!(read, ["bob", "carol"], "{host}");
        assert_eq!(state(&network, host, user, &room), state(&network, 0, &alice, &room));
    }
}

#[test]
fn receipts_arrive() {
    let network = Network::of_keys(2);
    let (alice, bob, room) = room(&network);
    let event = network[0].send(&alice, &room, "read me");
    network.run();
    let since = network[0].sync(&alice, None)["next_batch"].as_str().unwrap().to_owned();
    network[1].post(&bob, &room_path(&room, &format!("receipt/m.read/{}", encode(&event))), json!({})).ok();
    network.run();
    let sync = network[0].sync(&alice, Some(&since));
    let ephemeral = &sync["rooms"]["join"][&room]["ephemeral"]["events"];
    assert!(ephemeral[0]["content"][&event]["m.read"][&bob.id].is_object(), "{sync}");
}

#[test]
fn an_invitation_is_taken_back() {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    let act = |what: &str| {
        let mut acting = network[0].begin(
            inglenook::http::Method::Post,
            &room_path(&room, what),
            Some(&alice.token),
            Some(json!({ "user_id": bob.id })),
        );
        network.run();
        acting.answer().unwrap().ok();
    };
    act("invite");
    let sync = network[1].sync(&bob, None);
    assert!(sync["rooms"]["invite"][&room].is_object(), "{sync}");
    act("kick");
    let sync = network[1].sync(&bob, None);
    assert_eq!(sync["rooms"]["invite"][&room], Value::Null, "{sync}");
}

#[test]
fn forward_extremities_stay_few() {
    let network = Network::of_keys(1);
    let (alice, peer) = (network[0].register("alice"), Peer::new(7));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    let bob = peer.user("bob");
    let (joined, answer) = peer.shake(&network[0], "join", &room, &bob);
    let levels = answer.ok().body["state"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.power_levels").unwrap().clone();
    let auth = [id_of(&levels, "12"), joined.clone()];
    // Each of them knows only of the join.
    let branch = |number: u64| peer.sign(message(&room, &bob, std::slice::from_ref(&joined), &auth, 100 + number), "12").1;
    let send = |numbers: std::ops::Range<u64>| {
        let pdus: Vec<_> = numbers.clone().map(branch).collect();
        let body = json!({ "origin": peer.name(), "origin_server_ts": 1, "pdus": pdus });
        peer.put(&network[0], &format!("/v1/send/{}", numbers.start), &body).ok();
    };
    let prev_events = || {
        let own = network[0].send(&alice, &room, "own");
        let event = peer.get(&network[0], &format!("/v1/event/{}", encode(&own))).ok().body["pdus"][0].clone();
        event["prev_events"].as_array().unwrap().len()
    };
    send(0..12);
    assert_eq!(prev_events(), 12, "an event builds on as many as there are");
    // It is the one server's turn after the one, and the other's after the other.
    send(20..44);
    send(50..51);
    let target = room_path(&room, "messages?dir=b&limit=100");
    let told = network[0].get(&alice, &target).ok().body;
    let merging = told["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "org.matrix.dummy_event").count();
    assert_eq!(merging, 1);
    assert!(prev_events() <= 8, "what is left is the rest and the event that has merged");
}

/// What Dendrite's peers leave for a user's server is signed for the relay that keeps it.
#[test]
fn what_a_relay_of_its_own_was_given_is_taken_and_what_another_was_given_is_not() {
    let network = Network::with(vec![(Config { relays: vec!["https://relay.example".into()], ..Config::default() }, 1)]);
    let (host, peer) = (&network[0], Peer::new(7));
    let carol = host.register("carol");
    let put = |target: &str, destination: &str, id: &str| {
        let messages = json!({ &carol.id: { &carol.device: { "id": id } } });
        let content = json!({ "sender": peer.user("p"), "type": "m.test", "message_id": id, "messages": messages });
        let body = json!({ "pdus": [], "edus": [{ "edu_type": "m.direct_to_device", "content": content }] });
        let target = format!("/_matrix/federation/v1/{target}");
        host.federation(peer.request_to(destination, Method::Put, &target, Some(&body))).status
    };
    let relayed = |user: &str| format!("send_relay/1/{user}");
    assert_eq!(put(&relayed(&carol.id), "relay.example", "a"), 200);
    assert_eq!(put(&relayed(&carol.id), "relay.example", "a"), 200, "once more");
    assert_eq!(put(&relayed(&carol.id), "another.example", "b"), 401);
    assert_eq!(put(&relayed("@carol:elsewhere.example"), "relay.example", "c"), 400);
    assert_eq!(put("send/2", "relay.example", "d"), 401, "an ordinary transaction is for its receiver");
    let told = host.sync(&carol, None)["to_device"]["events"].clone();
    assert_eq!(told.as_array().unwrap().iter().map(|message| &message["content"]["id"]).collect::<Vec<_>>(), ["a"]);
}
