//! Reading a room's history: single events, what stands around them, and page after page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Answer, Host, User, encode, room_path};

/// A room with so many messages, named by their numbers.
fn room_with_messages(host: &Host, user: &User, options: Value, count: usize) -> (String, Vec<String>) {
    let room = host.create_room(user, options);
    let ids = (0..count).map(|number| host.send(user, &room, &number.to_string())).collect();
    (room, ids)
}

fn messages(host: &Host, user: &User, room: &str, query: &str) -> Answer {
    host.get(user, &room_path(room, &format!("messages?{query}")))
}

fn context(host: &Host, user: &User, room: &str, event: &str, query: &str) -> Answer {
    host.get(user, &room_path(room, &format!("context/{}?{query}", encode(event))))
}

fn event(host: &Host, user: &User, room: &str, event: &str) -> Answer {
    host.get(user, &room_path(room, &format!("event/{}", encode(event))))
}

fn ids(events: &Value) -> Vec<String> {
    events.as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// Every event that paging finds, and how many pages it took.
fn walk(host: &Host, user: &User, room: &str, query: &str) -> (Vec<Value>, usize) {
    let (mut events, mut pages, mut from) = (Vec::new(), 0, String::new());
    loop {
        let page = messages(host, user, room, &format!("{query}{from}")).ok();
        events.extend(page.body["chunk"].as_array().unwrap().iter().cloned());
        pages += 1;
        match page.body.get("end") {
            Some(end) => from = format!("&from={}", end.as_str().unwrap()),
            None => return (events, pages),
        }
    }
}

fn filter(filter: Value) -> String {
    format!("&filter={}", encode(&filter.to_string()))
}

#[test]
fn paging_finds_every_event_once_in_order_and_ends() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, sent) = room_with_messages(&host, &alice, json!({}), 23);
    for limit in [1, 7, 23, 100] {
        let (backward, pages) = walk(&host, &alice, &room, &format!("dir=b&limit={limit}"));
        let total = backward.len();
        assert_eq!(pages, total.div_ceil(limit), "no page is empty, and the last one says so");
        let mut found = ids(&backward.into());
        found.reverse();
        assert_eq!(&found[total - 23..], sent, "limit {limit}");
        let (forward, _) = walk(&host, &alice, &room, &format!("dir=f&limit={limit}"));
        assert_eq!(forward[0]["type"], "m.room.create");
        assert_eq!(ids(&forward.into()), found);
    }
}

#[test]
fn tokens_of_one_direction_serve_the_other() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, sent) = room_with_messages(&host, &alice, json!({}), 9);
    let page = messages(&host, &alice, &room, "dir=b&limit=4").ok().body;
    assert_eq!(ids(&page["chunk"]), [&*sent[8], &sent[7], &sent[6], &sent[5]]);
    let (start, end) = (page["start"].as_str().unwrap(), page["end"].as_str().unwrap());
    let back = messages(&host, &alice, &room, &format!("dir=f&from={end}&to={start}")).ok().body;
    assert_eq!(ids(&back["chunk"]), &sent[5..]);
    assert_eq!(back["start"], end);
    assert_eq!(back.get("end"), None);
    let later = host.send(&alice, &room, "later");
    let news = messages(&host, &alice, &room, &format!("dir=f&from={start}")).ok().body;
    assert_eq!(ids(&news["chunk"]), [later], "what came after the first page is behind its start");
    let part = messages(&host, &alice, &room, &format!("dir=b&from={start}&to={end}&limit=100")).ok().body;
    assert_eq!(ids(&part["chunk"]), ids(&page["chunk"]));
}

#[test]
fn the_default_limit_is_ten() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, _) = room_with_messages(&host, &alice, json!({}), 12);
    assert_eq!(messages(&host, &alice, &room, "dir=b").ok().body["chunk"].as_array().unwrap().len(), 10);
}

#[test]
fn an_event_is_found_without_its_room() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let (room, sent) = room_with_messages(&host, &alice, json!({}), 1);
    let target = format!("/_matrix/client/v3/events/{}", encode(&sent[0]));
    let found = host.get(&alice, &target).ok().body;
    assert_eq!((&found["event_id"], &found["room_id"]), (&json!(sent[0]), &json!(room)));
    host.get(&bob, &target).refused(404, "M_NOT_FOUND");
    host.get(&alice, "/_matrix/client/v3/events/%24x").refused(404, "M_NOT_FOUND");
    host.get(&alice, "/_matrix/client/v3/events/x").refused(400, "M_INVALID_PARAM");
}

#[test]
fn filters_choose_events() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let from_alice = host.send(&alice, &room, "a");
    let from_bob = host.send_event(&bob, &room, "m.room.message", json!({ "msgtype": "m.image", "body": "b", "url": "mxc://a/b" }));
    let sticker = host.send_event(&bob, &room, "m.sticker", json!({}));
    for (chosen, expected) in [
        (json!({ "types": ["m.room.message"] }), vec![&from_bob, &from_alice]),
        (json!({ "types": ["m.room.message", "m.st*"], "not_senders": [alice.id] }), vec![&sticker, &from_bob]),
        (json!({ "senders": [bob.id], "not_types": ["m.room.member"] }), vec![&sticker, &from_bob]),
        (json!({ "contains_url": true }), vec![&from_bob]),
        (json!({ "rooms": ["!other:example.org"] }), vec![]),
        (json!({ "not_rooms": [room] }), vec![]),
        (json!({ "rooms": [room], "types": ["m.sticker"] }), vec![&sticker]),
    ] {
        let page = messages(&host, &alice, &room, &format!("dir=b{}", filter(chosen.clone()))).ok().body;
        assert_eq!(ids(&page["chunk"]).iter().collect::<Vec<_>>(), expected, "{chosen}");
        assert_eq!(page.get("end"), None, "all was looked at");
    }
}

#[test]
fn a_filter_that_nothing_passes_does_not_make_one_request_look_at_everything() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, _) = room_with_messages(&host, &alice, json!({}), 2_100);
    let query = format!("dir=b{}", filter(json!({ "types": ["m.none"] })));
    let (found, pages) = walk(&host, &alice, &room, &query);
    assert_eq!(found.len(), 0);
    assert_eq!(pages, 3, "about a thousand events are looked at each time, and paging comes to its end");
}

#[test]
fn lazy_loading_tells_the_members_who_speak() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    host.join(&carol, &room);
    host.send(&alice, &room, "a");
    let sent = host.send(&bob, &room, "b");
    let lazy = filter(json!({ "lazy_load_members": true }));
    let page = messages(&host, &alice, &room, &format!("dir=b&limit=2{lazy}")).ok().body;
    let mut members: Vec<_> = page["state"].as_array().unwrap().iter().map(|event| event["state_key"].as_str().unwrap()).collect();
    members.sort_unstable();
    assert_eq!(members, [&alice.id, &bob.id]);
    assert_eq!(messages(&host, &alice, &room, "dir=b&limit=2").ok().body.get("state"), None);

    let around = context(&host, &alice, &room, &sent, &format!("limit=0{lazy}")).ok().body;
    let members = |around: &Value| around["state"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.member").count();
    assert_eq!(members(&around), 1);
    assert_eq!(members(&context(&host, &alice, &room, &sent, "limit=0").ok().body), 3);
}

#[test]
fn context_tells_what_stands_around_an_event() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, sent) = room_with_messages(&host, &alice, json!({ "name": "before" }), 9);
    host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "after" }));
    let around = context(&host, &alice, &room, &sent[4], "limit=4").ok().body;
    assert_eq!(around["event"]["event_id"], sent[4]);
    assert_eq!(ids(&around["events_before"]), [&*sent[3], &sent[2]]);
    assert_eq!(ids(&around["events_after"]), [&*sent[5], &sent[6]]);
    let name = around["state"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.name").unwrap();
    assert_eq!(name["content"]["name"], "before", "the state is that of the last event, not of now");
    let (start, end) = (around["start"].as_str().unwrap(), around["end"].as_str().unwrap());
    let before = messages(&host, &alice, &room, &format!("dir=b&limit=2&from={start}")).ok().body;
    assert_eq!(ids(&before["chunk"]), [&*sent[1], &sent[0]]);
    let after = messages(&host, &alice, &room, &format!("dir=f&limit=2&from={end}")).ok().body;
    assert_eq!(ids(&after["chunk"]), [&*sent[7], &sent[8]]);

    let alone = context(&host, &alice, &room, &sent[4], "limit=0").ok().body;
    assert_eq!((ids(&alone["events_before"]).len(), ids(&alone["events_after"]).len()), (0, 0));
    let filtered = context(&host, &alice, &room, &sent[0], &filter(json!({ "types": ["m.room.create"] }))).ok().body;
    assert_eq!(filtered["event"]["event_id"], sent[0], "the filter is not for the event itself");
    assert_eq!(ids(&filtered["events_before"]).len(), 1);
    assert_eq!(ids(&filtered["state"]).len(), 1);
}

#[test]
fn members_who_left_see_up_to_their_leave_and_others_nothing() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({}));
    host.invite(&alice, &room, &bob);
    host.invite(&alice, &room, &carol);
    let early = host.send(&alice, &room, "before bob joined");
    host.join(&bob, &room);
    let seen = host.send(&alice, &room, "while bob was there");
    host.leave(&bob, &room);
    let missed = host.send(&alice, &room, "after bob left");

    let page = messages(&host, &bob, &room, "dir=b&limit=100").ok().body;
    let found = ids(&page["chunk"]);
    assert_eq!(page["chunk"][0]["content"]["membership"], "leave", "the leave itself is the last that is seen");
    assert!(found.contains(&early) && found.contains(&seen) && !found.contains(&missed));
    let (forward, _) = walk(&host, &bob, &room, "dir=f&limit=3");
    assert_eq!(forward.len(), found.len());
    event(&host, &bob, &room, &missed).refused(404, "M_NOT_FOUND");
    event(&host, &bob, &room, &seen).ok();
    let around = context(&host, &bob, &room, &seen, "").ok().body;
    assert!(!ids(&around["events_after"]).contains(&missed));

    messages(&host, &carol, &room, "dir=b").refused(403, "M_FORBIDDEN");
    event(&host, &carol, &room, &seen).refused(404, "M_NOT_FOUND");
    host.leave(&carol, &room);
    messages(&host, &carol, &room, "dir=b").refused(403, "M_FORBIDDEN");
    event(&host, &carol, &room, &early).refused(404, "M_NOT_FOUND");
}

#[test]
fn history_visibility_decides_for_each_event() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    for (visibility, sees_before_invite, sees_before_join) in
        [("shared", true, true), ("invited", false, true), ("joined", false, false), ("world_readable", true, true)]
    {
        let rule = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
        let room = host.create_room(&alice, json!({ "initial_state": [rule] }));
        let before_invite = host.send(&alice, &room, "1");
        if visibility == "world_readable" {
            assert!(ids(&messages(&host, &bob, &room, "dir=b").ok().body["chunk"]).contains(&before_invite), "a look from outside");
            event(&host, &bob, &room, &before_invite).ok();
        } else {
            messages(&host, &bob, &room, "dir=b").refused(403, "M_FORBIDDEN");
        }
        host.invite(&alice, &room, &bob);
        let before_join = host.send(&alice, &room, "2");
        host.join(&bob, &room);
        let after_join = host.send(&alice, &room, "3");
        let (found, _) = walk(&host, &bob, &room, "dir=b&limit=4");
        let found = ids(&found.into());
        for (id, expected) in [(&before_invite, sees_before_invite), (&before_join, sees_before_join), (&after_join, true)] {
            assert_eq!(found.contains(id), expected, "{visibility}");
            assert_eq!(event(&host, &bob, &room, id).status, if expected { 200 } else { 404 }, "{visibility}");
        }
    }
}

#[test]
fn a_redacted_event_is_told_without_its_content() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    for version in ["6", "10", "11", "12"] {
        let room = host.create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
        host.join(&bob, &room);
        let id = host.send(&bob, &room, "regretted");
        let target = room_path(&room, &format!("redact/{}/t", encode(&id)));
        let redaction = host.put(&bob, &target, json!({ "reason": "rude" })).ok().text("event_id");
        assert_eq!(host.put(&bob, &target, json!({ "reason": "other" })).ok().text("event_id"), redaction, "idempotent");
        let redacted = event(&host, &alice, &room, &id).ok().body;
        assert_eq!(redacted["content"], json!({}));
        let because = &redacted["unsigned"]["redacted_because"];
        assert_eq!((&because["event_id"], &because["content"]["reason"]), (&json!(redaction), &json!("rude")), "{version}");
        assert_eq!(because["content"]["redacts"], json!(id));
        assert_eq!(because["redacts"], json!(id));
    }
}

#[test]
fn redacting_needs_the_power_or_the_own_event() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let (by_alice, by_bob) = (host.send(&alice, &room, "a"), host.send(&bob, &room, "b"));
    let redact = |user: &User, id: &str, transaction: &str| {
        host.put(user, &room_path(&room, &format!("redact/{}/{transaction}", encode(id))), json!({}))
    };
    redact(&bob, &by_alice, "t").refused(403, "M_FORBIDDEN");
    redact(&carol, &by_bob, "t").refused(403, "M_FORBIDDEN");
    redact(&bob, "$unknown", "t").refused(404, "M_NOT_FOUND");
    redact(&bob, "unknown", "t").refused(400, "M_INVALID_PARAM");
    host.put(&bob, &room_path(&room, &format!("redact/{}/t", encode(&by_bob))), json!({ "reason": 7 })).refused(400, "M_BAD_JSON");
    // The same rules hold for a redaction that is sent like any other event.
    let send = |user: &User, content: Value| host.send_as(user, &room, "m.room.redaction", "r", content);
    send(&bob, json!({ "redacts": by_alice })).refused(403, "M_FORBIDDEN");
    send(&bob, json!({ "redacts": "nothing" })).refused(400, "M_BAD_JSON");
    send(&bob, json!({})).refused(400, "M_BAD_JSON");
    assert_eq!(event(&host, &bob, &room, &by_alice).ok().body["content"]["body"], "a", "nothing of that had an effect");
    send(&bob, json!({ "redacts": by_bob })).ok();
    assert_eq!(event(&host, &bob, &room, &by_bob).ok().body["content"], json!({}));
    redact(&alice, &by_alice, "t").ok();
    assert_eq!(event(&host, &bob, &room, &by_alice).ok().body["content"], json!({}));
}

#[test]
fn a_redaction_that_is_sent_names_its_target_where_the_room_version_wants_it() {
    let host = Host::new();
    let alice = host.register("alice");
    for version in ["1", "9", "12"] {
        let room = host.create_room(&alice, json!({ "room_version": version }));
        let id = host.send(&alice, &room, "a");
        host.send_event(&alice, &room, "m.room.redaction", json!({ "redacts": id, "reason": "r" }));
        assert_eq!(event(&host, &alice, &room, &id).ok().body["content"], json!({}), "{version}");
    }
}

#[test]
fn what_is_asked_badly_is_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, sent) = room_with_messages(&host, &alice, json!({}), 1);
    let id = encode(&sent[0]);
    for (below, status, code) in [
        ("messages".to_owned(), 400, "M_MISSING_PARAM"),
        ("messages?dir=x".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&limit=-1".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&limit=many".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&from=x".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&to=t1".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&from=s1_0_00_00".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&filter=%7B".into(), 400, "M_INVALID_PARAM"),
        ("messages?dir=b&filter=%7B%22types%22%3A7%7D".into(), 400, "M_INVALID_PARAM"),
        ("event/x".into(), 400, "M_INVALID_PARAM"),
        ("event/%24x".into(), 404, "M_NOT_FOUND"),
        ("context/x".into(), 400, "M_INVALID_PARAM"),
        ("context/%24x".into(), 404, "M_NOT_FOUND"),
        (format!("context/{id}?limit=x"), 400, "M_INVALID_PARAM"),
        (format!("context/{id}?filter=x"), 400, "M_INVALID_PARAM"),
    ] {
        let answer = host.get(&alice, &room_path(&room, &below));
        assert_eq!((answer.status, answer.body["errcode"].as_str()), (status, Some(code)), "{below}: {}", answer.body);
    }
    messages(&host, &alice, "!nowhere:example.org", "dir=b").refused(403, "M_FORBIDDEN");
    event(&host, &alice, "!nowhere:example.org", &sent[0]).refused(404, "M_NOT_FOUND");
    event(&host, &alice, "nowhere", &sent[0]).refused(400, "M_INVALID_PARAM");
    let other = host.create_room(&alice, json!({}));
    event(&host, &alice, &other, &sent[0]).refused(404, "M_NOT_FOUND");
}
