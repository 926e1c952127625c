//! How fast the server is by itself: requests over a store in memory, without browser or network.
//!
//! Prints one JSON object a line: `{"name", "unit": "µs", "runs", "p50", "p95"}`, and ratios as `{"name", "ratio", "aim"}`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Host, Network, User};

/// A room of this size is the benchmark's big room.
const BIG_MEMBERS: usize = 10_000;
const BIG_EVENTS: usize = 100_000;

fn main() {
    let given = |name: &str| std::env::args().any(|argument| argument == name);
    let quick = given("--quick");
    if given("--initial-sync") {
        return initial_syncs(quick);
    }
    let host = Host::new();
    let alice = host.register("alice");
    let room = create_room(&host, &alice);
    let runs = if quick { 50 } else { 500 };
    measure("send", runs, |run| send(&host, &alice, &room, run));
    measure("createRoom", runs / 5, |_| drop(create_room(&host, &alice)));
    measure("PUT to sync", runs, |run| put_to_sync(&host, &alice, &room, run));
    measure("messages, 50 events", runs, |_| {
        drop(host.get(&alice, &format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=50")).ok())
    });
    measure("login by password", 5, |_| drop(host.log_in(&alice)));
    initial_syncs(quick);
    let (members, state, joins) = if quick { (100, 300, 3) } else { (1_000, 5_000, 5) };
    remote_join(members, state, joins);
    let (members, events) = if quick { (200, 2_000) } else { (BIG_MEMBERS, BIG_EVENTS) };
    big_room(members, events, runs);
}

/// One server joins a room of another: how long both of them work on it, with nothing between them.
fn remote_join(members: usize, state: usize, runs: usize) {
    let network = Network::of_keys(1 + runs as u64);
    let creator = network[0].register("creator");
    let room = create_room(&network[0], &creator);
    for member in 1..members {
        let user = network[0].register(&format!("member{member}"));
        network[0].post(&user, &format!("/_matrix/client/v3/rooms/{room}/join"), json!({})).ok();
    }
    for number in members..state {
        network[0].put_state(&creator, &room, "org.example.item", &number.to_string(), json!({ "number": number }));
    }
    let users: Vec<_> = (1..=runs).map(|host| network[host].register("newcomer")).collect();
    let via = support::encode(&network[0].name());
    measure(&format!("join of a room of {members} members and {state} state events"), runs, |run| {
        let target = format!("/_matrix/client/v3/join/{}?via={via}", support::encode(&room));
        let mut joining = network[run + 1].begin(Method::Post, &target, Some(&users[run].token), Some(json!({})));
        network.run();
        joining.answer().unwrap().ok();
    });
}

fn create_room(host: &Host, user: &User) -> String {
    let answer = host.post(user, "/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    answer.body["room_id"].as_str().unwrap().to_owned()
}

fn send(host: &Host, user: &User, room: &str, run: usize) {
    let target = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{run}-{}", user.device);
    host.put(user, &target, json!({ "msgtype": "m.text", "body": format!("Message {run}") })).ok();
}

fn put_to_sync(host: &Host, user: &User, room: &str, run: usize) {
    let since = host.get(user, "/_matrix/client/v3/sync?filter={\"room\":{\"timeline\":{\"limit\":1}}}").ok().body["next_batch"].clone();
    let mut poll = host.begin(
        Method::Get,
        &format!("/_matrix/client/v3/sync?timeout=20000&since={}", since.as_str().unwrap()),
        Some(&user.token),
        None,
    );
    assert!(poll.answer().is_none(), "nothing has happened yet");
    send(host, user, room, 1_000_000 + run);
    assert!(poll.answer().is_some(), "the poll is answered");
}

fn initial_syncs(quick: bool) {
    for rooms in [1, 20, 100] {
        initial_sync(rooms, if quick { 5 } else { 20 });
    }
}

fn initial_sync(rooms: usize, runs: usize) {
    let mut host = Host::new();
    let users: Vec<_> = (0..20).map(|user| host.register(&format!("user{user}"))).collect();
    for index in 0..rooms {
        let room = create_room(&host, &users[0]);
        host.put(&users[0], &format!("/_matrix/client/v3/rooms/{room}/state/m.room.name/"), json!({ "name": format!("Room {index}") }))
            .ok();
        for user in &users[1..] {
            host.post(user, &format!("/_matrix/client/v3/rooms/{room}/join"), json!({})).ok();
        }
        for message in 0..200 {
            send(&host, &users[message % 20], &room, message);
        }
        for user in &users {
            let timeline = host.get(user, &format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1")).ok();
            let event = timeline.body["chunk"][0]["event_id"].as_str().unwrap().to_owned();
            host.post(user, &format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
        }
    }
    let sync = |host: &Host| host.begin(Method::Get, "/_matrix/client/v3/sync", Some(&users[0].token), None).response().status;
    measure(&format!("initial sync of {rooms} rooms"), runs, |_| assert_eq!(sync(&host), 200));
    host.restart();
    measure(&format!("initial sync of {rooms} rooms after a start"), 1, |_| assert_eq!(sync(&host), 200));
}

/// A send in a large room beside one in a new room of the same server, in turns.
fn big_room(members: usize, events: usize, runs: usize) {
    let host = Host::new();
    let creator = host.register("creator");
    let room = create_room(&host, &creator);
    let mut first = None;
    for member in 0..members {
        let user = host.register(&format!("member{member}"));
        host.post(&user, &format!("/_matrix/client/v3/rooms/{room}/join"), json!({})).ok();
        first.get_or_insert(user);
    }
    let sender = first.unwrap();
    for event in 0..events.saturating_sub(members) {
        send(&host, &sender, &room, 10_000_000 + event);
    }
    let new = create_room(&host, &sender);
    let (mut in_new, mut in_big) = (Vec::new(), Vec::new());
    for run in 0..runs {
        in_new.push(timed(|| send(&host, &sender, &new, run)));
        in_big.push(timed(|| send(&host, &sender, &room, run)));
    }
    let small = report("send in a new room beside the big room", in_new);
    let big = report("send in the big room", in_big);
    println!(
        "{}",
        json!({ "name": "send in the big room / in a new room", "ratio": round(big / small), "aim": 1.2, "members": members, "events": events })
    );
}

/// Runs it, prints the figures and returns the median in microseconds.
fn measure(name: &str, runs: usize, mut run: impl FnMut(usize)) -> f64 {
    report(name, (0..runs).map(|index| timed(|| run(index))).collect())
}

/// How long it takes, in microseconds.
fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e6
}

/// Prints the figures and returns the median.
fn report(name: &str, mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| round(times[((times.len() - 1) as f64 * share) as usize]);
    let line: Value = json!({ "name": name, "unit": "µs", "runs": times.len(), "p50": at(0.5), "p95": at(0.95) });
    println!("{line}");
    at(0.5)
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
