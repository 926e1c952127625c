//! Presence: who is told what of whom, and what is left of it after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Answer, Fault, Host, Pending, User, encode, room_path};

const MINUTE: u64 = 60_000;

/// A sync that shows that the user is there.
fn begin(host: &Host, user: &User, since: Option<&Value>, timeout: u64) -> Pending {
    let since = since.map_or_else(String::new, |sync| format!("&since={}", encode(sync["next_batch"].as_str().unwrap())));
    host.begin(Method::Get, &format!("/_matrix/client/v3/sync?timeout={timeout}{since}"), Some(&user.token), None)
}

fn appear(host: &Host, user: &User) -> Value {
    begin(host, user, None, 0).answer().unwrap().ok().body
}

fn status(user: &User) -> String {
    format!("/_matrix/client/v3/presence/{}/status", encode(&user.id))
}

fn set(host: &Host, user: &User, body: Value) -> Answer {
    host.put(user, &status(user), body)
}

fn together(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

/// What a sync tells of somebody's presence.
fn told(sync: &Value, of: &User) -> Vec<Value> {
    let events = sync["presence"]["events"].as_array().unwrap();
    events.iter().filter(|event| event["sender"] == of.id.as_str()).map(|event| event["content"].clone()).collect()
}

fn states(sync: &Value, of: &User) -> Vec<Value> {
    told(sync, of).iter().map(|content| content["presence"].clone()).collect()
}

fn next(host: &Host, user: &User, before: &Value) -> Value {
    host.sync(user, before["next_batch"].as_str())
}

#[test]
fn who_comes_idles_and_goes_is_told_to_those_who_share_a_room() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let carol = host.register("carol");
    let (since, stranger) = (host.sync(&bob, None), host.sync(&carol, None));
    let of_alice = appear(&host, &alice);
    assert_eq!(states(&of_alice, &alice), ["online"], "oneself as well");
    let online = next(&host, &bob, &since);
    assert_eq!(told(&online, &alice), [json!({ "presence": "online", "currently_active": true, "last_active_ago": 0 })]);
    assert_eq!(told(&next(&host, &carol, &stranger), &alice), [Value::Null; 0]);
    let mut now = online;
    for minute in 1..=5 {
        for _ in 0..3 {
            host.advance(MINUTE / 3);
            appear(&host, &alice);
        }
        let sync = next(&host, &bob, &now);
        let expected: &[&str] = if minute < 5 { &[] } else { &["unavailable"] };
        assert_eq!(states(&sync, &alice), expected, "after {minute} minutes");
        now = sync;
    }
    assert_eq!(now["presence"]["events"][0]["content"]["last_active_ago"], 5 * MINUTE);
    host.advance(MINUTE);
    assert_eq!(states(&next(&host, &bob, &now), &alice), ["offline"]);
}

#[test]
fn a_waiting_sync_is_told_when_somebody_goes() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    appear(&host, &alice);
    let since = host.sync(&bob, None);
    assert_eq!(states(&since, &alice), ["online"], "a first sync tells who is there");
    let mut poll = host.begin_sync(&bob, since["next_batch"].as_str(), 25_000);
    host.advance(25_000);
    let nothing = poll.answer().unwrap().ok().body;
    let mut poll = host.begin_sync(&bob, nothing["next_batch"].as_str(), 25_000);
    host.advance(4_999);
    assert!(poll.answer().is_none());
    host.advance(1);
    assert_eq!(states(&poll.answer().unwrap().ok().body, &alice), ["offline"]);
}

#[test]
fn doing_something_ends_idleness_and_syncing_does_not() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    appear(&host, &alice);
    set(&host, &alice, json!({ "presence": "unavailable" })).ok();
    appear(&host, &alice);
    let idle = host.sync(&bob, None);
    assert_eq!(states(&idle, &alice), ["unavailable"]);
    host.put(&alice, &room_path(&room, &format!("typing/{}", encode(&alice.id))), json!({ "typing": true })).ok();
    assert_eq!(states(&next(&host, &bob, &idle), &alice), ["online"]);
    set(&host, &alice, json!({ "presence": "unavailable" })).ok();
    let idle = host.sync(&bob, None);
    host.send(&alice, &room, "Back");
    assert_eq!(states(&next(&host, &bob, &idle), &alice), ["online"]);
}

#[test]
fn a_status_is_told_and_outlasts_a_restart() {
    let mut host = Host::new();
    let (alice, bob, _) = together(&host);
    let since = host.sync(&bob, None);
    set(&host, &alice, json!({ "presence": "online", "status_msg": "In a meeting" })).ok();
    let online = next(&host, &bob, &since);
    host.restart();
    assert_eq!(told(&next(&host, &bob, &since), &alice)[0]["status_msg"], "In a meeting");
    assert_eq!(states(&next(&host, &bob, &online), &alice), [Value::Null; 0], "nothing is told twice");
    assert_eq!(host.get(&bob, &status(&alice)).ok().body["presence"], "online");
    host.advance(MINUTE);
    let gone = next(&host, &bob, &online);
    assert_eq!(told(&gone, &alice)[0]["presence"], "offline", "who has not been heard of since is gone");
    assert_eq!(host.get(&bob, &status(&alice)).ok().body["status_msg"], "In a meeting");
    set(&host, &alice, json!({ "presence": "online" })).ok();
    assert_eq!(told(&next(&host, &bob, &gone), &alice)[0]["status_msg"], Value::Null);
}

#[test]
fn only_those_who_share_a_room_may_ask() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let carol = host.register("carol");
    assert_eq!(host.get(&bob, &status(&alice)).ok().body, json!({ "presence": "offline" }));
    host.get(&carol, &status(&alice)).refused(403, "M_FORBIDDEN");
    host.put(&bob, &status(&alice), json!({ "presence": "online" })).refused(403, "M_FORBIDDEN");
    set(&host, &alice, json!({ "presence": "asleep" })).refused(400, "M_BAD_JSON");
    set(&host, &alice, json!({ "presence": "online", "status_msg": "a".repeat(2_000) })).refused(413, "M_TOO_LARGE");
    set(&host, &alice, json!({ "presence": "online" })).ok();
    host.advance(2_000);
    let body = host.get(&bob, &status(&alice)).ok().body;
    assert_eq!(body, json!({ "presence": "online", "currently_active": true, "last_active_ago": 2_000 }));
}

#[test]
fn who_joins_is_told_who_is_there_and_is_told_of() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let carol = host.register("carol");
    appear(&host, &alice);
    let (since_bob, since_carol) = (host.sync(&bob, None), appear(&host, &carol));
    host.join(&carol, &room);
    assert_eq!(states(&next(&host, &bob, &since_bob), &carol), ["online"]);
    assert_eq!(states(&next(&host, &carol, &since_carol), &alice), ["online"]);
    assert_eq!(states(&next(&host, &carol, &since_carol), &bob), [Value::Null; 0], "who is not there is not worth a word");
}

#[test]
fn syncing_on_and_on_writes_nothing() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    appear(&host, &alice);
    host.send(&alice, &room, "1");
    host.store.set_fault(None);
    for _ in 0..4 {
        host.advance(MINUTE / 4);
        appear(&host, &alice);
        appear(&host, &bob);
    }
    assert_eq!(host.store.commits(), 1, "bob came, and that is all");
}

#[test]
fn presence_can_be_filtered_out() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    appear(&host, &alice);
    for filter in [json!({ "presence": { "not_types": ["*"] } }), json!({ "presence": { "not_senders": [alice.id] } })] {
        let target = format!("/_matrix/client/v3/sync?set_presence=offline&filter={}", encode(&filter.to_string()));
        assert_eq!(host.get(&bob, &target).ok().body["presence"]["events"], json!([]), "{filter}");
    }
}

#[test]
fn full_storage_keeps_nobody_from_reading() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    host.send(&alice, &room, "there");
    let since = next(&host, &bob, &appear(&host, &alice));
    host.advance(15_000);
    host.store.set_fault(Some(Fault::Full));
    let mut waiting = host.begin_sync(&bob, since["next_batch"].as_str(), 20_000);
    for _ in 0..5 {
        assert_eq!(states(&appear(&host, &bob), &alice), ["online"]);
    }
    assert!(host.store.commits() <= 1, "what fails is not tried at each sync: {}", host.store.commits());
    host.advance(15_500);
    assert!(waiting.answer().is_none(), "that alice went could not be written down");
    host.advance(5_000);
    assert_eq!(waiting.answer().unwrap().status, 200);
    host.store.set_fault(None);
    host.advance(MINUTE);
    assert!(states(&appear(&host, &bob), &alice).is_empty());
    assert_eq!(states(&next(&host, &bob, &since), &alice), ["offline"]);
}
