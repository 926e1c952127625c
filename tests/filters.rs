//! What a client wants to be told of, and whom a user does not want to hear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{Host, User, encode, room_path};

fn sync_with(host: &Host, user: &User, since: Option<&Value>, filter: &Value) -> Value {
    let since = since.map_or_else(String::new, |sync| format!("&since={}", encode(sync["next_batch"].as_str().unwrap())));
    host.get(user, &format!("/_matrix/client/v3/sync?set_presence=offline&filter={}{since}", encode(&filter.to_string()))).ok().body
}

fn bodies(answer: &Value, room: &str) -> Vec<String> {
    let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect()
}

fn together(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

fn types(host: &Host, user: &User, room: &str) {
    host.put(user, &room_path(room, &format!("typing/{}", encode(&user.id))), json!({ "typing": true, "timeout": 30_000 })).ok();
}

fn set_account_data(host: &Host, user: &User, below: &str, content: Value) {
    host.put(user, &format!("/_matrix/client/v3/user/{}/{below}", encode(&user.id)), content).ok();
}

fn ignore(host: &Host, user: &User, ignored: &[&User]) {
    let users: serde_json::Map<_, _> = ignored.iter().map(|user| (user.id.clone(), json!({}))).collect();
    set_account_data(host, user, "account_data/m.ignored_user_list", json!({ "ignored_users": users }));
}

#[test]
fn typing_that_the_filter_leaves_out_is_no_news() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let first = host.sync(&alice, None);
    let filter = encode(&json!({ "room": { "ephemeral": { "not_types": ["m.typing"] } } }).to_string());
    let since = encode(first["next_batch"].as_str().unwrap());
    let target = format!("/_matrix/client/v3/sync?set_presence=offline&timeout=20000&since={since}&filter={filter}");
    let mut waiting = host.begin(inglenook::http::Method::Get, &target, Some(&alice.token), None);
    types(&host, &bob, &room);
    assert!(waiting.answer().is_none());
    host.send(&bob, &room, "written");
    assert_eq!(bodies(&waiting.answer().unwrap().ok().body, &room), ["written"]);
}

#[test]
fn parts_of_a_filter_choose_among_rooms() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let room_name = |name: &str| host.put_state(&alice, &room, "m.room.name", "", json!({ "name": name }));
    room_name("Hearth");
    let event = host.send(&bob, &room, "text");
    types(&host, &bob, &room);
    set_account_data(&host, &alice, &format!("rooms/{}/account_data/org.example", encode(&room)), json!({}));
    let part = |section: &str, choice: Value| {
        // One event of the timeline, so that there is state beside it.
        let mut filter = json!({ "room": { "timeline": { "limit": 1 } } });
        for (key, value) in choice.as_object().unwrap() {
            filter["room"][section][key] = value.clone();
        }
        sync_with(&host, &alice, None, &filter)["rooms"]["join"][&room].clone()
    };
    let whole = part("timeline", json!({}));
    for section in ["state", "timeline", "ephemeral", "account_data"] {
        for unwanted in [json!({ "not_rooms": [room] }), json!({ "rooms": ["!other:example.org"] })] {
            let part = part(section, unwanted);
            for other in ["state", "timeline", "ephemeral", "account_data"] {
                let is_empty = part[other]["events"].as_array().unwrap().is_empty();
                assert_eq!(is_empty, other == section, "{section} {other}: {part}");
            }
        }
        assert_eq!(part(section, json!({ "rooms": [room] }))[section], whole[section]);
    }
    let context = |filter: Value| {
        let filter = encode(&filter.to_string());
        host.get(&alice, &room_path(&room, &format!("context/{}?filter={filter}", encode(&event)))).ok().body
    };
    let unwanted = context(json!({ "not_rooms": [room] }));
    assert_eq!((&unwanted["event"]["event_id"], &unwanted["events_before"], &unwanted["state"]), (&json!(event), &json!([]), &json!([])));
    assert_ne!(context(json!({ "rooms": [room] }))["events_before"], json!([]));
}

#[test]
fn a_timeline_that_is_not_wanted_leaves_its_state_to_the_state() {
    let host = Host::new();
    let (alice, _, room) = together(&host);
    let first = host.sync(&alice, None);
    host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "Hearth" }));
    let answer = sync_with(&host, &alice, Some(&first), &json!({ "room": { "timeline": { "not_rooms": [room] } } }));
    let state = answer["rooms"]["join"][&room]["state"]["events"].as_array().unwrap();
    assert_eq!(state.iter().map(|event| &event["content"]["name"]).collect::<Vec<_>>(), ["Hearth"]);
}

#[test]
fn no_more_is_told_than_a_filter_allows() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let read = host.send(&alice, &room, "text");
    types(&host, &bob, &room);
    host.post(&bob, &room_path(&room, &format!("receipt/m.read/{}", encode(&read))), json!({})).ok();
    for number in 0..3 {
        set_account_data(&host, &alice, &format!("account_data/org.example.{number}"), json!({}));
        set_account_data(&host, &alice, &format!("rooms/{}/account_data/org.example.{number}", encode(&room)), json!({}));
    }
    let limit = json!({ "limit": 1, "types": ["org.example.*", "m.receipt", "m.typing"] });
    let filter = json!({ "account_data": limit, "room": { "account_data": limit, "ephemeral": limit } });
    let unlimited = sync_with(&host, &alice, None, &json!({ "account_data": { "types": ["org.example.*"] } }));
    let answer = sync_with(&host, &alice, None, &filter);
    let count = |answer: &Value, pointer: &str| answer.pointer(pointer).unwrap().as_array().unwrap().len();
    let below = |section: &str| format!("/rooms/join/{room}/{section}/events");
    for (pointer, all) in [("/account_data/events".to_owned(), 3), (below("account_data"), 3), (below("ephemeral"), 2)] {
        assert_eq!((count(&unlimited, &pointer), count(&answer, &pointer)), (all, 1), "{pointer}");
    }
}

#[test]
fn events_are_told_as_servers_see_them_where_that_is_asked_for() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    host.send(&alice, &room, "text");
    let is_pdu =
        |event: &Value| ["hashes", "signatures", "prev_events", "auth_events", "depth"].iter().all(|field| event.get(field).is_some());
    let events = |answer: &Value, membership: &str, section: &str| {
        let events = answer["rooms"][membership][&room][section]["events"].as_array().unwrap().clone();
        assert!(!events.is_empty(), "{membership} {section}");
        events
    };
    let filter = |format: &str| json!({ "event_format": format, "room": { "include_leave": true, "timeline": { "limit": 1 } } });
    let check = |membership: &str| {
        let (raw, usual) = (sync_with(&host, &alice, None, &filter("federation")), sync_with(&host, &alice, None, &filter("client")));
        for section in ["timeline", "state"] {
            let (raw, usual) = (events(&raw, membership, section), events(&usual, membership, section));
            assert!(raw.iter().all(is_pdu) && !usual.iter().any(is_pdu), "{membership} {section}");
            let ids =
                |events: &[Value]| events.iter().map(|event| (event["event_id"].clone(), event["content"].clone())).collect::<Vec<_>>();
            assert_eq!(ids(&raw), ids(&usual), "{membership} {section}");
        }
    };
    check("join");
    let fields = json!({ "event_format": "federation", "event_fields": ["hashes", "type"] });
    let event = events(&sync_with(&host, &alice, None, &fields), "join", "timeline").pop().unwrap();
    assert_eq!(event.as_object().unwrap().keys().collect::<Vec<_>>(), ["hashes", "type"]);
    host.post(&bob, &room_path(&room, "leave"), json!({})).ok();
    host.leave(&alice, &room);
    check("leave");
    let unknown = encode(&json!({ "event_format": "carrier pigeon" }).to_string());
    host.get(&alice, &format!("/_matrix/client/v3/sync?filter={unknown}")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn who_is_ignored_is_not_heard() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let carol = host.register("carol");
    host.join(&carol, &room);
    let first = host.sync(&alice, None);
    ignore(&host, &alice, &[&bob]);
    host.put_state(&alice, &room, "m.room.power_levels", "", json!({ "users": { &bob.id: 100 } }));
    host.send(&bob, &room, "from bob");
    host.put_state(&bob, &room, "m.room.name", "", json!({ "name": "Named by bob" }));
    host.send(&carol, &room, "from carol");
    for since in [Some(&first), None] {
        let answer = sync_with(&host, &alice, since, &json!({}));
        assert_eq!(bodies(&answer, &room), ["from carol"]);
        let part = &answer["rooms"]["join"][&room];
        assert!(part.to_string().contains("Named by bob"), "state is told whoever sent it");
        assert_eq!(part["unread_notifications"]["notification_count"], 1);
    }
    let initial = host.get(&alice, "/_matrix/client/v3/initialSync").ok().body;
    assert!(initial.to_string().contains("from carol") && !initial.to_string().contains("from bob"));
    let from = encode(first["next_batch"].as_str().unwrap());
    let events = host.get(&alice, &format!("/_matrix/client/v3/events?timeout=0&from={from}")).ok().body;
    assert!(events.to_string().contains("from carol") && !events.to_string().contains("from bob"));
    ignore(&host, &alice, &[]);
    let answer = sync_with(&host, &alice, Some(&first), &json!({}));
    assert_eq!(bodies(&answer, &room), ["from bob", "from carol"], "at once");
    assert_eq!(answer["rooms"]["join"][&room]["unread_notifications"]["notification_count"], 2);
}

#[test]
fn who_is_ignored_cannot_invite() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let carol = host.register("carol");
    ignore(&host, &alice, &[&bob]);
    let first = host.sync(&alice, None);
    let since = first["next_batch"].as_str().unwrap();
    let (of_bob, of_carol) = (host.create_room(&bob, json!({})), host.create_room(&carol, json!({})));
    let mut waiting = host.begin_sync(&alice, Some(since), 20_000);
    host.invite(&bob, &of_bob, &alice);
    assert!(waiting.answer().is_none(), "it is not even news");
    host.invite(&carol, &of_carol, &alice);
    waiting.answer().unwrap().ok();
    let events = host.get(&alice, &format!("/_matrix/client/v3/events?timeout=0&from={}", encode(since))).ok().body;
    let initial = host.get(&alice, "/_matrix/client/v3/initialSync").ok().body;
    for answer in [host.sync(&alice, Some(since)), host.sync(&alice, None), events, initial] {
        assert!(answer.to_string().contains(&of_carol) && !answer.to_string().contains(&of_bob), "{answer}");
    }
}
