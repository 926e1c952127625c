//! Sending events: once for each transaction ID, and only by those who may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    collections::BTreeSet,
    task::{Context, Waker},
};

use futures_util::future::join_all;
use inglenook::http::{Body, Method, Response};
use serde_json::{Value, json};
use support::{Fault, Host, User, encode, request, room_path};

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

fn event(host: &Host, user: &User, room: &str, id: &str) -> Value {
    host.get(user, &room_path(room, &format!("event/{}", encode(id)))).ok().body
}

fn send_target(room: &str, transaction: &str) -> String {
    room_path(room, &format!("send/m.room.message/{transaction}"))
}

#[test]
fn a_repeated_request_gets_the_first_answer() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    let first = host.send_as(&alice, &room, "m.room.message", "t1", text("one")).ok().text("event_id");
    let again = host.send_as(&alice, &room, "m.room.message", "t1", text("something else")).ok().text("event_id");
    assert_eq!(first, again);
    host.restart();
    assert_eq!(host.send_as(&alice, &room, "m.room.message", "t1", text("one")).ok().text("event_id"), first, "after a restart");
    assert_eq!(event(&host, &alice, &room, &first)["content"]["body"], "one");
}

#[test]
fn another_device_room_type_or_id_is_another_request() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, other_room) = (host.create_room(&alice, json!({})), host.create_room(&alice, json!({})));
    let on_another_device = host.log_in(&alice);
    let sent = [
        host.send_as(&alice, &room, "m.room.message", "t", text("a")),
        host.send_as(&alice, &room, "m.room.message", "u", text("a")),
        host.send_as(&alice, &room, "m.sticker", "t", text("a")),
        host.send_as(&alice, &other_room, "m.room.message", "t", text("a")),
        host.send_as(&on_another_device, &room, "m.room.message", "t", text("a")),
    ];
    let ids: std::collections::BTreeSet<_> = sent.map(|answer| answer.ok().text("event_id")).into();
    assert_eq!(ids.len(), 5);
}

#[test]
fn the_same_request_several_times_at_once_makes_one_event() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    let ids = at_once(&host, &alice, &room, ["t", "t", "u", "t"]);
    assert_eq!((&ids[0], &ids[0]), (&ids[1], &ids[3]));
    assert_ne!(ids[0], ids[2]);
}

#[test]
fn a_request_whose_commit_failed_takes_effect_when_it_is_repeated() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    host.store.set_fault(Some(Fault::FailAt(1)));
    assert_eq!(host.send_as(&alice, &room, "m.room.message", "t", text("a")).status, 500);
    let id = host.send_as(&alice, &room, "m.room.message", "t", text("a")).ok().text("event_id");
    assert_eq!(event(&host, &alice, &room, &id)["content"]["body"], "a");
}

/// A message for the room from each of these, all at once while the store takes its time.
fn all_at_once(host: &Host, room: &str, users: &[User]) -> Vec<Response> {
    host.store.set_slow(true);
    let send = |user: &User| request(Method::Put, &send_target(room, "t"), Some(&user.token), Some(text(&user.id)));
    let server = host.server().clone();
    let answers = host.block_on(join_all(users.iter().map(|user| server.handle(send(user)))));
    host.store.set_slow(false);
    answers
}

fn event_ids(answers: &[Response]) -> BTreeSet<String> {
    answers.iter().map(event_id).collect()
}

/// A room with members who have all sent something.
fn crowd(host: &Host, size: usize) -> (String, Vec<User>) {
    let users: Vec<_> = (0..size).map(|number| host.register(&format!("user{number}"))).collect();
    let room = host.create_room(&users[0], json!({ "preset": "public_chat" }));
    for user in &users[1..] {
        host.join(user, &room);
    }
    for user in &users {
        host.send(user, &room, "here");
    }
    (room, users)
}

fn last_bodies(host: &Host, user: &User, room: &str, count: usize) -> BTreeSet<String> {
    let page = host.get(user, &room_path(room, &format!("messages?dir=b&limit={count}"))).ok().body;
    page["chunk"].as_array().unwrap().iter().map(|event| event["content"]["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn messages_that_wait_for_their_room_share_commits() {
    let host = Host::new();
    let (room, users) = crowd(&host, 20);
    host.store.set_fault(None);
    let ids = event_ids(&all_at_once(&host, &room, &users));
    assert_eq!(ids.len(), users.len());
    assert!(host.store.commits() <= 3, "{} commits", host.store.commits());
    assert_eq!(last_bodies(&host, &users[0], &room, 20), users.iter().map(|user| user.id.clone()).collect());
    for user in &users {
        let again = host.send_as(user, &room, "m.room.message", "t", text("again")).ok().text("event_id");
        assert!(ids.contains(&again), "a repeated request gets the first answer");
    }
}

#[test]
fn one_message_that_is_refused_holds_up_no_other() {
    let host = Host::new();
    let (room, users) = crowd(&host, 10);
    let mut levels = host.state(&users[0], &room, "m.room.power_levels", "").ok().body;
    levels["events_default"] = 1.into();
    for user in users.iter().step_by(2).skip(1) {
        levels["users"][&user.id] = 100.into();
    }
    host.put_state(&users[0], &room, "m.room.power_levels", "", levels);
    let answers = all_at_once(&host, &room, &users);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 403].repeat(5));
}

/// More wait than go together, so that whoever was served by others comes to serve the rest, of which one is refused.
#[test]
fn what_others_have_sent_is_not_sent_again_where_the_next_fails() {
    let host = Host::new();
    let (room, users) = crowd(&host, 20);
    let mut levels = host.state(&users[0], &room, "m.room.power_levels", "").ok().body;
    levels["events_default"] = 1.into();
    for user in &users[1..19] {
        levels["users"][&user.id] = 100.into();
    }
    host.put_state(&users[0], &room, "m.room.power_levels", "", levels);
    let answers = all_at_once(&host, &room, &users);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [vec![200; 19], vec![403]].concat());
    let page = host.get(&users[0], &room_path(&room, "messages?dir=b&limit=19")).ok().body;
    let shown: BTreeSet<_> = page["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, event_ids(&answers[..19]), "each is there once, under the ID that its sender was told");
}

#[test]
fn messages_whose_common_commit_failed_go_by_themselves() {
    let host = Host::new();
    let (room, users) = crowd(&host, 10);
    // The first goes alone, the others together.
    host.store.set_fault(Some(Fault::FailAt(2)));
    let ids = event_ids(&all_at_once(&host, &room, &users));
    assert_eq!(ids.len(), users.len());
    assert!(host.store.commits() > 9, "{} commits", host.store.commits());
    assert_eq!(last_bodies(&host, &users[0], &room, 10), users.iter().map(|user| user.id.clone()).collect());
}

#[test]
fn an_answer_is_stored_in_the_commit_of_its_event() {
    for fault in [Fault::StopBefore(1), Fault::StopAfter(1)] {
        let mut host = Host::new();
        let alice = host.register("alice");
        let room = host.create_room(&alice, json!({}));
        host.store.set_fault(Some(fault));
        let mut pending = host.begin(Method::Put, &send_target(&room, "t"), Some(&alice.token), Some(text("a")));
        assert!(pending.answer_if_any().is_none());
        host.restart();
        let id = host.send_as(&alice, &room, "m.room.message", "t", text("again")).ok().text("event_id");
        let expected = if fault == Fault::StopAfter(1) { "a" } else { "again" };
        assert_eq!(event(&host, &alice, &room, &id)["content"]["body"], expected, "{fault:?}");
    }
}

#[test]
fn the_transaction_id_comes_back_to_the_device_that_sent() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let other_device = host.log_in(&alice);
    let id = host.send_as(&alice, &room, "m.room.message", "t7", text("a")).ok().text("event_id");
    assert_eq!(event(&host, &alice, &room, &id)["unsigned"]["transaction_id"], "t7");
    for user in [&other_device, &bob] {
        assert_eq!(event(&host, user, &room, &id)["unsigned"].get("transaction_id"), None);
    }
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room =
        host.create_room(&alice, json!({ "power_level_content_override": { "events": { "m.locked": 1 } }, "preset": "public_chat" }));
    let content = text("a");
    host.send_as(&bob, &room, "m.room.message", "t", content.clone()).refused(403, "M_FORBIDDEN");
    host.join(&bob, &room);
    host.send_as(&bob, &room, "m.locked", "t", content.clone()).refused(403, "M_FORBIDDEN");
    host.send_as(&bob, "!nowhere:example.org", "m.room.message", "t", content.clone()).refused(403, "M_FORBIDDEN");
    host.send_as(&bob, "nowhere", "m.room.message", "t", content).refused(400, "M_INVALID_PARAM");
    host.send_as(&bob, &room, "m.room.message", "t", json!(["a"])).refused(400, "M_BAD_JSON");
    host.send_as(&bob, &room, "m.room.message", "t", json!({ "a": 0.5 })).refused(400, "M_BAD_JSON");
    host.send_as(&bob, &room, "m.room.message", "t", text(&"a".repeat(65_536))).refused(413, "M_TOO_LARGE");
    host.send_as(&bob, &room, &"a".repeat(256), "t", text("a")).refused(413, "M_TOO_LARGE");
    host.send_as(&bob, &room, &"a".repeat(255), "t", text("a")).ok();
    host.send_as(&bob, &room, "m.room.message", "t", text("a")).ok();
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    for (body, code) in [("{", "M_NOT_JSON"), ("\u{fffd}", "M_NOT_JSON"), ("7", "M_BAD_JSON"), ("\"a\"", "M_BAD_JSON")] {
        let mut request = support::request(Method::Put, &send_target(&room, "t"), Some(&alice.token), None);
        request.body = inglenook::http::Body::Bytes(body.into());
        let answer = host.send_request(request).answer().unwrap();
        answer.refused(400, code);
    }
}

fn at_once<const N: usize>(host: &Host, user: &User, room: &str, transactions: [&str; N]) -> Vec<String> {
    let server = std::rc::Rc::clone(&host.server());
    let answers = transactions.map(|transaction| {
        let request = support::request(Method::Put, &send_target(room, transaction), Some(&user.token), Some(text(transaction)));
        server.handle(request)
    });
    host.store.set_slow(true);
    let responses = host.block_on(join_all(answers));
    responses.iter().map(event_id).collect()
}

fn event_id(response: &Response) -> String {
    let Body::Bytes(bytes) = &response.body else { panic!("an answer has a body") };
    let body: Value = serde_json::from_slice(bytes).unwrap();
    body["event_id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

#[test]
fn what_a_client_gives_up_halfway_is_done_to_its_end() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    host.store.set_slow(true);
    // As many steps as a send has, and some more.
    for steps in 0..40 {
        let server = std::rc::Rc::clone(&host.server());
        let (given_up, next) = (format!("given up {steps}"), format!("next {steps}"));
        let request = support::request(Method::Put, &send_target(&room, &given_up), Some(&alice.token), Some(text(&given_up)));
        let mut sending = Box::pin(server.handle(request));
        let mut is_answered = || sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let _ = (0..steps).any(|_| is_answered());
        drop(sending);
        host.run();
        host.send_as(&alice, &room, "m.room.message", &next, text(&next)).ok();
        // Once it has begun it is there, and a client that tries again after all makes no second one.
        host.send_as(&alice, &room, "m.room.message", &given_up, text(&given_up)).ok();
        let history = host.get(&alice, &room_path(&room, "messages?dir=b&limit=3")).ok();
        let bodies: Vec<_> = history.body["chunk"].as_array().unwrap().iter().map(|event| event["content"]["body"].clone()).collect();
        let sent = if steps == 0 { [&given_up, &next] } else { [&next, &given_up] };
        assert_eq!(bodies[..2], sent.map(|body| json!(body)), "given up after {steps} steps");
    }
}

#[test]
fn a_room_is_created_once() {
    let host = Host::new();
    let (alice, mallory) = (host.register("alice"), host.register("mallory"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    for user in [&alice, &mallory] {
        host.send_as(user, &room, "m.room.create", "t1", json!({ "room_version": "12" })).refused(403, "M_FORBIDDEN");
    }
    let history = host.get(&alice, &room_path(&room, "messages?dir=f&limit=100")).ok();
    let created = history.body["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.create").count();
    assert_eq!(created, 1);
}
