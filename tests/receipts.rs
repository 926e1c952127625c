//! Receipts, read markers and typing: what is stored, what others are told, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};
use support::{Answer, Host, Network, User, encode, peer::Peer, request, room_path};

fn two_in_a_room(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

fn receipt(host: &Host, user: &User, room: &str, kind: &str, event: &str, body: Value) -> Answer {
    host.post(user, &room_path(room, &format!("receipt/{kind}/{}", encode(event))), body)
}

fn read_markers(host: &Host, user: &User, room: &str, body: Value) -> Answer {
    host.post(user, &room_path(room, "read_markers"), body)
}

/// What a sync tells under `ephemeral` of a room, by type.
fn ephemeral(sync: &Value, room: &str, kind: &str) -> Value {
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array();
    events.into_iter().flatten().find(|event| event["type"] == kind).map_or(Value::Null, |event| event["content"].clone())
}

fn fully_read(host: &Host, user: &User, room: &str) -> Value {
    let target = format!("/_matrix/client/v3/user/{}/rooms/{}/account_data/m.fully_read", encode(&user.id), encode(room));
    host.get(user, &target).body["event_id"].clone()
}

fn typing(host: &Host, user: &User, room: &str, body: Value) -> Answer {
    host.put(user, &room_path(room, &format!("typing/{}", encode(&user.id))), body)
}

#[test]
fn a_receipt_is_told_to_the_room_and_replaces_the_one_before() {
    let mut host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let (first, second) = (host.send(&alice, &room, "1"), host.send(&alice, &room, "2"));
    receipt(&host, &bob, &room, "m.read", &first, json!({})).ok();
    let sync = host.sync(&alice, None);
    let ts = ephemeral(&sync, &room, "m.receipt")[&first]["m.read"][&bob.id]["ts"].as_u64().unwrap();
    host.advance(5);
    receipt(&host, &bob, &room, "m.read", &second, json!({})).ok();
    receipt(&host, &bob, &room, "m.read", &first, json!({})).ok();
    let news = host.sync(&alice, sync["next_batch"].as_str());
    let expected = json!({ &second: { "m.read": { &bob.id: { "ts": ts + 5 } } } });
    assert_eq!(ephemeral(&news, &room, "m.receipt"), expected, "only the new one, and none goes back");
    host.restart();
    assert_eq!(ephemeral(&host.sync(&alice, None), &room, "m.receipt"), expected, "the older one is gone");
    let again = host.sync(&alice, news["next_batch"].as_str());
    assert_eq!(ephemeral(&again, &room, "m.receipt"), Value::Null);
    let rows = host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::ReceiptLog)))).unwrap();
    assert_eq!(rows.len(), 1, "what was replaced leaves nothing behind");
}

#[test]
fn a_private_receipt_is_told_to_nobody_else() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "1");
    let since = host.sync(&alice, None);
    receipt(&host, &bob, &room, "m.read.private", &id, json!({})).ok();
    let told = ephemeral(&host.sync(&bob, None), &room, "m.receipt");
    assert!(told[&id]["m.read.private"][&bob.id]["ts"].is_u64());
    assert_eq!(ephemeral(&host.sync(&alice, None), &room, "m.receipt"), Value::Null);
    let mut poll = host.begin_sync(&alice, since["next_batch"].as_str(), 10_000);
    assert!(poll.answer().is_none(), "nobody else is woken by it");
}

#[test]
fn receipts_of_threads_stand_beside_those_of_the_room() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let root = host.send(&alice, &room, "root");
    let related = |rel_type: &str, parent: &str| {
        let content = json!({ "body": "x", "m.relates_to": { "rel_type": rel_type, "event_id": parent, "key": "k" } });
        host.send_event(&alice, &room, "m.room.message", content)
    };
    let reply = related("m.thread", &root);
    let reaction = related("m.annotation", &reply);
    let on_root = related("m.annotation", &root);
    let read = |event: &str, thread: &str| receipt(&host, &bob, &room, "m.read", event, json!({ "thread_id": thread }));
    read(&reply, &root).ok();
    read(&root, "main").ok();
    receipt(&host, &bob, &room, "m.read", &root, json!({})).ok();
    let told = ephemeral(&host.sync(&alice, None), &room, "m.receipt");
    assert_eq!(told[&reply]["m.read"][&bob.id]["thread_id"], json!(root));
    assert_eq!(told[&root]["m.read"][&bob.id].get("thread_id"), None, "of two at one event the one for the whole room is told");
    // What relates to an event of a thread is in the thread, over some hops; the root and what relates to it are not.
    read(&reaction, &root).ok();
    read(&on_root, "main").ok();
    read(&reply, "main").refused(400, "M_INVALID_PARAM");
    read(&reaction, "main").refused(400, "M_INVALID_PARAM");
    read(&on_root, &root).refused(400, "M_INVALID_PARAM");
    read(&reply, "$other").refused(400, "M_INVALID_PARAM");
}

#[test]
fn receipts_that_do_not_fit_are_refused() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let id = host.send(&alice, &room, "1");
    for (kind, event, body, status, code) in [
        ("m.read", &*id, json!({ "thread_id": 7 }), 400, "M_INVALID_PARAM"),
        ("m.read", &id, json!({ "thread_id": "" }), 400, "M_INVALID_PARAM"),
        ("m.read", &id, json!({ "thread_id": null }), 400, "M_INVALID_PARAM"),
        ("m.fully_read", &id, json!({ "thread_id": "main" }), 400, "M_INVALID_PARAM"),
        ("m.unread", &id, json!({}), 400, "M_INVALID_PARAM"),
        ("m.read", "x", json!({}), 400, "M_INVALID_PARAM"),
        ("m.read", "$x", json!({}), 404, "M_NOT_FOUND"),
        ("m.read", &id, json!([]), 400, "M_BAD_JSON"),
    ] {
        let answer = receipt(&host, &bob, &room, kind, event, body.clone());
        assert_eq!((answer.status, answer.body["errcode"].as_str()), (status, Some(code)), "{kind} {event} {body}");
    }
    let carol = host.register("carol");
    receipt(&host, &carol, &room, "m.read", &id, json!({})).refused(403, "M_FORBIDDEN");
    receipt(&host, &carol, "!nowhere:example.org", "m.read", &id, json!({})).refused(403, "M_FORBIDDEN");
    read_markers(&host, &carol, &room, json!({ "m.read": id })).refused(403, "M_FORBIDDEN");
    read_markers(&host, &bob, &room, json!({ "m.read": 7 })).refused(400, "M_BAD_JSON");
    read_markers(&host, &bob, &room, json!({ "m.read": "x" })).refused(400, "M_INVALID_PARAM");
    read_markers(&host, &bob, &room, json!({ "m.fully_read": "$x", "m.read": id })).refused(404, "M_NOT_FOUND");
    read_markers(&host, &bob, &room, json!({})).ok();
    // An empty body is a receipt for the whole room.
    host.request(Method::Post, &room_path(&room, &format!("receipt/m.read/{}", encode(&id))), Some(&bob.token), None).ok();
}

#[test]
fn read_markers_set_all_three_and_only_go_forward() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let ids: Vec<_> = (0..3).map(|number| host.send(&alice, &room, &number.to_string())).collect();
    let since = host.sync(&bob, None);
    read_markers(&host, &bob, &room, json!({ "m.fully_read": ids[1], "m.read": ids[1], "m.read.private": ids[2] })).ok();
    assert_eq!(fully_read(&host, &bob, &room), json!(ids[1]));
    let news = host.sync(&bob, since["next_batch"].as_str());
    let told = ephemeral(&news, &room, "m.receipt");
    assert!(told[&ids[1]]["m.read"][&bob.id].is_object() && told[&ids[2]]["m.read.private"][&bob.id].is_object(), "{told}");
    let marker = json!([{ "type": "m.fully_read", "content": { "event_id": ids[1] } }]);
    assert_eq!(news["rooms"]["join"][&room]["account_data"]["events"], marker);
    read_markers(&host, &bob, &room, json!({ "m.fully_read": ids[0] })).ok();
    assert_eq!(fully_read(&host, &bob, &room), json!(ids[1]), "not back");
    receipt(&host, &bob, &room, "m.fully_read", &ids[2], json!({})).ok();
    assert_eq!(fully_read(&host, &bob, &room), json!(ids[2]));
    assert_eq!(fully_read(&host, &alice, &room), Value::Null);
}

#[test]
fn what_is_read_is_not_counted_as_unread() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let ids: Vec<_> = (0..3).map(|number| host.send(&alice, &room, &number.to_string())).collect();
    let unread = || host.sync(&bob, None)["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone();
    assert_eq!(unread(), 3);
    receipt(&host, &bob, &room, "m.read", &ids[0], json!({})).ok();
    assert_eq!(unread(), 2);
    receipt(&host, &bob, &room, "m.read.private", &ids[1], json!({})).ok();
    assert_eq!(unread(), 1);
    receipt(&host, &bob, &room, "m.read", &ids[2], json!({ "thread_id": "main" })).ok();
    assert_eq!(unread(), 0);
}

#[test]
fn what_was_said_before_one_joined_is_not_counted_as_unread() {
    let mut host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    host.send(&alice, &room, "to bob");
    host.leave(&bob, &room);
    let missed = host.send(&alice, &room, "while bob is away");
    let carol = host.register("carol");
    [&bob, &carol].into_iter().for_each(|user| host.join(user, &room));
    let unread =
        |host: &Host, user: &User| host.sync(user, None)["rooms"]["join"][&room]["unread_notifications"]["notification_count"].clone();
    assert_eq!((unread(&host, &bob), unread(&host, &carol)), (json!(0), json!(0)));
    host.send(&alice, &room, "to both");
    assert_eq!((unread(&host, &bob), unread(&host, &carol)), (json!(1), json!(1)));
    // A change of name is no new beginning, and a receipt from before it says no less.
    host.put(&carol, &format!("/_matrix/client/v3/profile/{}/displayname", encode(&carol.id)), json!({ "displayname": "Carol" })).ok();
    receipt(&host, &bob, &room, "m.read", &missed, json!({})).ok();
    host.send(&alice, &room, "to both again");
    assert_eq!((unread(&host, &bob), unread(&host, &carol)), (json!(2), json!(2)));
    host.restart();
    assert_eq!((unread(&host, &bob), unread(&host, &carol)), (json!(2), json!(2)));
    host.leave(&bob, &room);
    host.join(&bob, &room);
    assert_eq!((unread(&host, &bob), unread(&host, &carol)), (json!(0), json!(2)));
}

/// A server that is in the room could otherwise fill the disk with receipts for threads that it makes up.
#[test]
fn other_servers_have_receipts_for_threads_that_there_are() {
    let network = Network::of_keys(1);
    let (host, peer) = (&network[0], Peer::new(7));
    let (alice, bob) = (host.register("alice"), peer.user("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    peer.join(host, &room, &bob);
    let root = host.send(&alice, &room, "hello");
    let kept_of = |threads: &[&str]| {
        for (number, thread) in threads.iter().enumerate() {
            let read = json!({ &bob: { "event_ids": [root], "data": { "ts": 1, "thread_id": thread } } });
            let edu = json!({ "edu_type": "m.receipt", "content": { &room: { "m.read": read } } });
            let body = json!({ "origin": peer.name(), "origin_server_ts": 1, "pdus": [], "edus": [edu] });
            peer.put(host, &format!("/v1/send/{number}-{}", threads.len()), &body).ok();
        }
        network.run();
        host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::Receipts)))).unwrap().len()
    };
    assert_eq!(kept_of(&["$made-up", "$also:made.up", "no event", &"$x".repeat(10_000)]), 0);
    assert_eq!(kept_of(&["main", &root, ""]), 3);
}

#[test]
fn several_receipts_at_once_leave_the_one_that_is_ahead() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let ids: Vec<_> = (0..4).map(|number| host.send(&alice, &room, &number.to_string())).collect();
    let server = std::rc::Rc::clone(&host.server());
    let answers = [3, 1, 2].map(|index| {
        let target = room_path(&room, &format!("receipt/m.read/{}", encode(&ids[index])));
        server.handle(support::request(Method::Post, &target, Some(&bob.token), Some(json!({}))))
    });
    host.store.set_slow(true);
    let answers = host.block_on(futures_util::future::join_all(answers));
    host.store.set_slow(false);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let told = ephemeral(&host.sync(&alice, None), &room, "m.receipt");
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), [&ids[3]]);
}

#[test]
fn who_types_is_told_until_the_time_is_over() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let since = host.sync(&alice, None);
    let mut poll = host.begin_sync(&alice, since["next_batch"].as_str(), 25_000);
    typing(&host, &bob, &room, json!({ "typing": true, "timeout": 5_000 })).ok();
    host.run();
    let news = poll.answer().expect("a waiting reader is woken").ok().body;
    assert_eq!(ephemeral(&news, &room, "m.typing"), json!({ "user_ids": [bob.id] }));
    let mut poll = host.begin_sync(&alice, news["next_batch"].as_str(), 25_000);
    host.advance(4_000);
    typing(&host, &bob, &room, json!({ "typing": true, "timeout": 5_000 })).ok();
    host.advance(4_000);
    assert!(poll.answer().is_none(), "whoever says it again types on, which is no news");
    host.advance(1_001);
    let news = poll.answer().expect("the end is news").ok().body;
    assert_eq!(ephemeral(&news, &room, "m.typing"), json!({ "user_ids": [] }));
}

#[test]
fn who_stops_or_sends_types_no_more() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    for stop in [true, false] {
        typing(&host, &bob, &room, json!({ "typing": true })).ok();
        let before = host.sync(&alice, None);
        assert_eq!(ephemeral(&before, &room, "m.typing"), json!({ "user_ids": [bob.id] }));
        if stop {
            typing(&host, &bob, &room, json!({ "typing": false })).ok();
        } else {
            host.send(&bob, &room, "done");
        }
        let after = host.sync(&alice, before["next_batch"].as_str());
        assert_eq!(ephemeral(&after, &room, "m.typing"), json!({ "user_ids": [] }));
    }
}

#[test]
fn nobody_types_for_ever() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    for (body, still, over) in [(json!({ "typing": true }), 29_999, 2), (json!({ "typing": true, "timeout": u64::MAX }), 119_999, 2)] {
        typing(&host, &bob, &room, body).ok();
        host.advance(still);
        assert_eq!(ephemeral(&host.sync(&alice, None), &room, "m.typing"), json!({ "user_ids": [bob.id] }));
        host.advance(over);
        assert_ne!(ephemeral(&host.sync(&alice, None), &room, "m.typing"), json!({ "user_ids": [bob.id] }));
    }
}

#[test]
fn typing_that_does_not_fit_is_refused() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    for body in [json!({}), json!({ "typing": "yes" }), json!({ "typing": true, "timeout": -1 }), json!([])] {
        typing(&host, &bob, &room, body).refused(400, "M_BAD_JSON");
    }
    let target = |user: &User| room_path(&room, &format!("typing/{}", encode(&user.id)));
    host.put(&bob, &target(&alice), json!({ "typing": true })).refused(403, "M_FORBIDDEN");
    typing(&host, &host.register("carol"), &room, json!({ "typing": true })).refused(403, "M_FORBIDDEN");
    host.put(&bob, &room_path(&room, "typing/bob"), json!({ "typing": true })).refused(400, "M_INVALID_PARAM");
}

#[test]
fn markers_that_overlap_leave_the_one_that_is_ahead() {
    let host = Host::new();
    let (alice, bob, room) = two_in_a_room(&host);
    let ids: Vec<_> = (0..4).map(|number| host.send(&alice, &room, &number.to_string())).collect();
    host.store.set_slow(true);
    let mark =
        |id: &String| request(Method::Post, &room_path(&room, "read_markers"), Some(&bob.token), Some(json!({ "m.fully_read": id })));
    let mut marked = host.send_requests([&ids[1], &ids[3], &ids[0], &ids[2]].into_iter().map(mark));
    assert!(marked.iter_mut().all(|marked| marked.answer().unwrap().status == 200));
    assert_eq!(fully_read(&host, &bob, &room), json!(ids[3]));
}
