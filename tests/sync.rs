//! Sync: what a client is told, when, and only once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

#[path = "sync/polls.rs"]
mod polls;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Fault, Host, User, encode, request, room_path};

fn since(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

fn timeline_bodies(answer: &Value, room: &str) -> Vec<String> {
    let events = answer["rooms"]["join"][room]["timeline"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect()
}

fn state_of<'a>(room: &'a Value, kind: &str, key: &str) -> Option<&'a Value> {
    let sections = ["state_after", "org.matrix.msc4222.state_after", "state"];
    let section = sections.into_iter().find(|section| room.get(section).is_some())?;
    room[section]["events"].as_array()?.iter().find(|event| event["type"] == kind && event["state_key"] == key)
}

fn sync_with(host: &Host, user: &User, since: Option<&str>, filter: &Value, more: &str) -> Value {
    let since = since.map(|since| format!("&since={}", encode(since))).unwrap_or_default();
    host.get(user, &format!("/_matrix/client/v3/sync?filter={}{since}{more}", encode(&filter.to_string()))).ok().body
}

#[test]
fn an_initial_sync_tells_of_every_joined_room() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "name": "Hearth", "topic": "Warm" }));
    host.send(&alice, &room, "hello");
    let answer = host.sync(&alice, None);
    let joined = &answer["rooms"]["join"][&room];
    assert_eq!(timeline_bodies(&answer, &room), ["hello"]);
    assert_eq!(joined["summary"]["m.joined_member_count"], 1);
    let told: Vec<_> =
        joined["state"]["events"].as_array().unwrap().iter().chain(joined["timeline"]["events"].as_array().unwrap()).collect();
    assert!(told.iter().any(|event| event["type"] == "m.room.name" && event["content"]["name"] == "Hearth"));
    let mut ids: Vec<_> = told.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "no event is told twice");
}

#[test]
fn a_delta_tells_only_what_is_new_and_nothing_twice() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let other = host.create_room(&alice, json!({}));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    assert!(first["rooms"]["join"].get(&other).is_none(), "bob is not in the other room");
    let second = host.sync(&bob, Some(since(&first)));
    assert_eq!(second["rooms"]["join"], json!({}));
    host.send(&alice, &room, "one");
    host.send(&alice, &other, "elsewhere");
    host.send(&alice, &room, "two");
    let third = host.sync(&bob, Some(since(&second)));
    assert_eq!(timeline_bodies(&third, &room), ["one", "two"]);
    assert_eq!(third["rooms"]["join"].as_object().unwrap().len(), 1);
    assert_eq!(third["rooms"]["join"][&room]["timeline"]["limited"], false);
    assert_eq!(timeline_bodies(&host.sync(&bob, Some(since(&third))), &room), Vec::<String>::new());
}

#[test]
fn a_gap_is_limited_and_its_state_is_told() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "name": "Before" }));
    let first = host.sync(&alice, None);
    host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "After" }));
    for message in 0..20 {
        host.send(&alice, &room, &message.to_string());
    }
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let answer = sync_with(&host, &alice, Some(since(&first)), &filter, "");
    let part = &answer["rooms"]["join"][&room];
    assert_eq!(timeline_bodies(&answer, &room), ["15", "16", "17", "18", "19"]);
    assert_eq!(part["timeline"]["limited"], true);
    assert_eq!(state_of(part, "m.room.name", "").unwrap()["content"]["name"], "After");
    assert_eq!(part["state"]["events"].as_array().unwrap().len(), 1, "only what has changed: {}", part["state"]);
    let before = part["timeline"]["prev_batch"].as_str().unwrap();
    let page = host.get(&alice, &room_path(&room, &format!("messages?dir=b&limit=3&from={}", encode(before)))).ok();
    assert_eq!(page.body["chunk"][0]["content"]["body"], "14", "paging goes on where the timeline begins");
}

#[test]
fn a_limit_that_all_new_events_fit_into_is_no_gap() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    let first = host.sync(&alice, None);
    for message in 0..5 {
        host.send(&alice, &room, &message.to_string());
    }
    let answer = sync_with(&host, &alice, Some(since(&first)), &json!({ "room": { "timeline": { "limit": 5 } } }), "");
    assert_eq!(answer["rooms"]["join"][&room]["timeline"]["limited"], false);
}

#[test]
fn the_state_after_the_timeline_is_told_where_it_is_asked_for() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "name": "Before" }));
    let first = host.sync(&alice, None);
    host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "After" }));
    for (parameter, section) in STATE_SECTIONS {
        let answer = sync_with(&host, &alice, Some(since(&first)), &json!({}), parameter);
        let part = &answer["rooms"]["join"][&room];
        let sections = STATE_SECTIONS.map(|(_, section)| section).into_iter().filter(|section| part.get(section).is_some());
        assert_eq!(sections.collect::<Vec<_>>(), [section]);
        let name = part[section]["events"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.name");
        assert_eq!(name.is_some(), section != "state", "the timeline tells it");
        assert!(name.is_none_or(|name| name["content"]["name"] == "After"));
        let typing = room_path(&room, &format!("typing/{}", encode(&alice.id)));
        host.put(&alice, &typing, json!({ "typing": section != "state_after", "timeout": 30_000 })).ok();
        let quiet = sync_with(&host, &alice, Some(since(&answer)), &json!({}), parameter);
        let told = &quiet["rooms"]["join"][&room];
        assert!(told.get(section).is_some_and(|state| state["events"] == json!([])), "also where nothing has changed: {told}");
    }
}

/// The parameters by which a client asks for state, and the section in which it gets it.
const STATE_SECTIONS: [(&str, &str); 3] = [
    ("", "state"),
    ("&use_state_after=true", "state_after"),
    ("&org.matrix.msc4222.use_state_after=true", "org.matrix.msc4222.state_after"),
];

/// What a client takes for the room's name: from the state, and from the timeline where that counts.
fn name_known(part: &Value) -> Option<Value> {
    let mut timeline = part["timeline"]["events"].as_array()?.iter().filter(|_| part.get("state").is_some());
    let name = timeline.rfind(|event| event["type"] == "m.room.name").or_else(|| state_of(part, "m.room.name", ""));
    Some(name?["content"]["name"].clone())
}

#[test]
fn a_name_that_changed_while_one_was_away_is_told_on_return() {
    for (parameter, _) in STATE_SECTIONS {
        for history in ["joined", "shared", "invited"] {
            let host = Host::new();
            let (alice, bob) = (host.register("alice"), host.register("bob"));
            let room = host.create_room(&alice, json!({ "name": "Before", "preset": "public_chat" }));
            host.put_state(&alice, &room, "m.room.history_visibility", "", json!({ "history_visibility": history }));
            host.join(&bob, &room);
            let first = sync_with(&host, &bob, None, &json!({}), parameter);
            host.send(&alice, &room, "seen by bob");
            host.post(&alice, &room_path(&room, "kick"), json!({ "user_id": bob.id })).ok();
            let away = sync_with(&host, &bob, Some(since(&first)), &json!({}), parameter);
            host.put_state(&alice, &room, "m.room.name", "", json!({ "name": "After" }));
            host.join(&bob, &room);
            for known in [None, Some(&first), Some(&away)] {
                let answer = sync_with(&host, &bob, known.map(since), &json!({}), parameter);
                let part = &answer["rooms"]["join"][&room];
                assert_eq!(name_known(part), Some("After".into()), "{parameter} {history} {}: {part}", known.is_some());
            }
        }
    }
}

#[test]
fn full_state_tells_all_of_it_again() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({ "name": "Hearth" }));
    host.send(&alice, &room, "x");
    let first = host.sync(&alice, None);
    let answer = sync_with(&host, &alice, Some(since(&first)), &json!({}), "&full_state=true");
    assert!(state_of(&answer["rooms"]["join"][&room], "m.room.create", "").is_some());
}

#[test]
fn a_room_joined_since_is_told_whole() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "name": "Hearth" }));
    for message in 0..15 {
        host.send(&alice, &room, &message.to_string());
    }
    let first = host.sync(&bob, None);
    host.join(&bob, &room);
    let answer = host.sync(&bob, Some(since(&first)));
    let part = &answer["rooms"]["join"][&room];
    assert!(state_of(part, "m.room.create", "").is_some());
    assert!(state_of(part, "m.room.name", "").is_some());
    assert_eq!(part["timeline"]["limited"], true);
    assert_eq!(part["summary"]["m.heroes"], json!([alice.id]));
    // A new name is a new membership event, and no new room.
    let known = since(&answer).to_owned();
    host.put(&bob, &format!("/_matrix/client/v3/profile/{}/displayname", encode(&bob.id)), json!({ "displayname": "Bob" })).ok();
    let answer = host.sync(&bob, Some(&known));
    let part = &answer["rooms"]["join"][&room];
    assert!(state_of(part, "m.room.create", "").is_none(), "{part}");
    assert_eq!(part["timeline"]["events"].as_array().unwrap().len(), 1);
}

#[test]
fn an_invitation_is_told_with_stripped_state_until_it_is_answered() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "name": "Hearth" }));
    let first = host.sync(&bob, None);
    host.invite(&alice, &room, &bob);
    let second = host.sync(&bob, Some(since(&first)));
    let events = second["rooms"]["invite"][&room]["invite_state"]["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["type"] == "m.room.name" && event["content"]["name"] == "Hearth"));
    assert!(events.iter().any(|event| event["type"] == "m.room.member" && event["state_key"] == bob.id.as_str()));
    assert!(events.iter().all(|event| event.get("event_id").is_none()), "stripped");
    assert_eq!(host.sync(&bob, Some(since(&second)))["rooms"]["invite"], json!({}), "told once");
    assert!(host.sync(&bob, None)["rooms"]["invite"].get(&room).is_some(), "and to a new client");
    host.leave(&bob, &room);
    let third = host.sync(&bob, Some(since(&second)));
    assert!(third["rooms"]["leave"].get(&room).is_some());
    assert!(timeline_bodies(&third, &room).is_empty());
}

#[test]
fn what_happens_after_one_left_is_not_told() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    host.send(&alice, &room, "before");
    host.post(&alice, &room_path(&room, "kick"), json!({ "user_id": bob.id })).ok();
    host.send(&alice, &room, "secret");
    let answer = host.sync(&bob, Some(since(&first)));
    let left = &answer["rooms"]["leave"][&room];
    assert!(left.to_string().contains("before"));
    assert!(!answer.to_string().contains("secret"));
    assert_eq!(left["timeline"]["events"].as_array().unwrap().last().unwrap()["content"]["membership"], "leave");
    assert_eq!(host.sync(&bob, Some(since(&answer)))["rooms"]["leave"], json!({}));
    assert_eq!(host.sync(&bob, None)["rooms"]["leave"], json!({}), "a new client is not told of rooms that were left");
    let with_left = sync_with(&host, &bob, None, &json!({ "room": { "include_leave": true } }), "");
    assert!(with_left["rooms"]["leave"].get(&room).is_some());
    host.post(&bob, &room_path(&room, "forget"), json!({})).ok();
    let with_left = sync_with(&host, &bob, None, &json!({ "room": { "include_leave": true } }), "");
    assert!(with_left["rooms"]["leave"].get(&room).is_none());
}

#[test]
fn a_token_is_good_after_a_restart() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    host.send(&alice, &room, "before");
    host.restart();
    host.send(&alice, &room, "after");
    let answer = host.sync(&bob, Some(since(&first)));
    assert_eq!(timeline_bodies(&answer, &room), ["before", "after"]);
    assert_eq!(timeline_bodies(&host.sync(&bob, Some(since(&answer))), &room), Vec::<String>::new());
}

/// What an initial sync finds in memory must be what is in the store, whatever came since it was put there.
#[test]
fn an_initial_sync_tells_the_same_from_memory_as_after_a_restart() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let original = host.send(&alice, &room, "original");
    let answer = |host: &Host, user| host.sync(user, None)["rooms"].clone();
    let receipt = |host: &Host, user: &User, event: &str| {
        host.post(user, &room_path(&room, &format!("receipt/m.read/{}", encode(event))), json!({})).ok();
    };
    let steps: [&dyn Fn(&Host); 6] = [
        &|host| receipt(host, &bob, &original),
        &|host| receipt(host, &alice, &host.send(&bob, &room, "another")),
        &|host| {
            let edit = json!({ "msgtype": "m.text", "body": "* edited", "m.new_content": { "msgtype": "m.text", "body": "edited" },
                "m.relates_to": { "rel_type": "m.replace", "event_id": original } });
            host.send_event(&alice, &room, "m.room.message", edit);
        },
        &|host| host.leave(&bob, &room),
        &|host| host.join(&bob, &room),
        &|host| (0..40).for_each(|number| drop(host.send(&bob, &room, &number.to_string()))),
    ];
    for (step, act) in steps.iter().enumerate() {
        answer(&host, &alice);
        act(&host);
        let from_memory = answer(&host, &alice);
        host.restart();
        assert_eq!(from_memory, answer(&host, &alice), "step {step}");
    }
}

#[test]
fn a_token_of_another_database_is_refused() {
    let (host, other) = (Host::new(), Host::seeded(inglenook::Config { server_name: Some("example.org".into()), ..Default::default() }, 2));
    let (alice, alice_elsewhere) = (host.register("alice"), other.register("alice"));
    let foreign = other.sync(&alice_elsewhere, None);
    host.get(&alice, &format!("/_matrix/client/v3/sync?since={}", encode(since(&foreign)))).refused(400, "M_INVALID_PARAM");
    host.get(&alice, "/_matrix/client/v3/sync?since=nonsense").refused(400, "M_INVALID_PARAM");
}

#[test]
fn typing_is_told_until_its_time_is_over() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    let mut poll = host.begin_sync(&bob, Some(since(&first)), 25_000);
    host.put(&alice, &room_path(&room, &format!("typing/{}", encode(&alice.id))), json!({ "typing": true, "timeout": 4_000 })).ok();
    let answer = poll.answer().unwrap().ok().body;
    let typing = |answer: &Value| answer["rooms"]["join"][&room]["ephemeral"]["events"][0].clone();
    assert_eq!(typing(&answer), json!({ "type": "m.typing", "content": { "user_ids": [alice.id] } }));
    let mut poll = host.begin_sync(&bob, Some(since(&answer)), 25_000);
    host.advance(5_000);
    let answer = poll.answer().expect("that somebody stopped typing is news").ok().body;
    assert_eq!(typing(&answer)["content"]["user_ids"], json!([]));
}

#[test]
fn receipts_are_told_and_count_down_what_is_unread() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    let first = host.sync(&bob, None);
    let read = host.send(&alice, &room, "one");
    host.send(&alice, &room, "two");
    let second = host.sync(&bob, Some(since(&first)));
    assert_eq!(second["rooms"]["join"][&room]["unread_notifications"], json!({ "notification_count": 2, "highlight_count": 0 }));
    let mention = json!({ "msgtype": "m.text", "body": "three, bob", "m.mentions": { "user_ids": [bob.id] } });
    host.send_event(&alice, &room, "m.room.message", mention);
    let third = host.sync(&bob, Some(since(&second)));
    assert_eq!(third["rooms"]["join"][&room]["unread_notifications"], json!({ "notification_count": 3, "highlight_count": 1 }));
    host.post(&bob, &room_path(&room, &format!("receipt/m.read/{}", encode(&read))), json!({})).ok();
    let fourth = host.sync(&bob, Some(since(&third)));
    let part = &fourth["rooms"]["join"][&room];
    assert_eq!(part["unread_notifications"]["notification_count"], 2);
    assert!(part["ephemeral"]["events"][0]["content"][&read]["m.read"].get(&bob.id).is_some());
    let told_to_alice = host.sync(&alice, None);
    assert!(told_to_alice.to_string().contains("m.receipt"));
}

#[test]
fn account_data_is_told_when_it_changes() {
    let host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    let first = host.sync(&alice, None);
    let user = format!("/_matrix/client/v3/user/{}", encode(&alice.id));
    host.put(&alice, &format!("{user}/account_data/org.example"), json!({ "a": 1 })).ok();
    host.put(&alice, &format!("{user}/rooms/{}/account_data/org.example", encode(&room)), json!({ "b": 1 })).ok();
    host.put(&alice, &format!("{user}/rooms/{}/account_data/org.example", encode(&room)), json!({ "b": 2 })).ok();
    let second = host.sync(&alice, Some(since(&first)));
    assert_eq!(second["account_data"]["events"], json!([{ "type": "org.example", "content": { "a": 1 } }]));
    let room_data = &second["rooms"]["join"][&room]["account_data"]["events"];
    assert_eq!(*room_data, json!([{ "type": "org.example", "content": { "b": 2 } }]));
    let third = host.sync(&alice, Some(since(&second)));
    assert_eq!(third["account_data"]["events"], json!([]));
}

#[test]
fn members_are_told_lazily_where_that_is_asked_for() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "name": "Hearth" }));
    host.join(&bob, &room);
    host.join(&carol, &room);
    for message in 0..12 {
        host.send(&bob, &room, &message.to_string());
    }
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 3 } } });
    let answer = sync_with(&host, &alice, None, &filter, "");
    let part = &answer["rooms"]["join"][&room];
    assert!(state_of(part, "m.room.member", &bob.id).is_some(), "the sender");
    assert!(state_of(part, "m.room.member", &alice.id).is_some(), "oneself");
    let all = sync_with(&host, &alice, None, &json!({}), "");
    assert!(state_of(&all["rooms"]["join"][&room], "m.room.member", &carol.id).is_some());
}

#[test]
fn filters_leave_out_what_is_not_wanted() {
    let host = Host::new();
    let alice = host.register("alice");
    let (room, other) = (host.create_room(&alice, json!({})), host.create_room(&alice, json!({})));
    host.send(&alice, &room, "text");
    host.send_event(&alice, &room, "org.example.thing", json!({ "body": "thing" }));
    let filter = json!({ "room": { "rooms": [room], "timeline": { "types": ["org.example.*"] } }, "event_fields": ["type", "content"] });
    let answer = sync_with(&host, &alice, None, &filter, "");
    assert_eq!(timeline_bodies(&answer, &room), ["thing"]);
    assert!(answer["rooms"]["join"].get(&other).is_none());
    assert!(answer["rooms"]["join"][&room]["timeline"]["events"][0].get("sender").is_none());
}

#[test]
fn history_before_one_joined_is_told_as_its_visibility_allows() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let hidden = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } }]);
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "initial_state": hidden }));
    host.send(&alice, &room, "secret");
    host.join(&bob, &room);
    host.send(&alice, &room, "open");
    let answer = host.sync(&bob, None);
    assert_eq!(timeline_bodies(&answer, &room), ["open"]);
    assert!(!answer.to_string().contains("secret"));
}

#[test]
fn the_original_api_tells_the_same() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "name": "Hearth" }));
    host.join(&bob, &room);
    host.send(&alice, &room, "one");
    let initial = host.get(&bob, "/_matrix/client/v3/initialSync").ok().body;
    assert_eq!(initial["rooms"][0]["room_id"], room.as_str());
    assert_eq!(initial["rooms"][0]["membership"], "join");
    assert!(initial["rooms"][0]["messages"]["chunk"].to_string().contains("one"));
    let one_room = host.get(&bob, &room_path(&room, "initialSync")).ok().body;
    assert!(one_room["state"].to_string().contains("Hearth"));
    let end = initial["end"].as_str().unwrap();
    let mut poll = host.begin(
        inglenook::http::Method::Get,
        &format!("/_matrix/client/r0/events?timeout=20000&from={}", encode(end)),
        Some(&bob.token),
        None,
    );
    assert!(poll.answer().is_none());
    host.send(&alice, &room, "two");
    let chunk = poll.answer().unwrap().ok().body["chunk"].clone();
    assert_eq!(chunk[0]["content"]["body"], "two");
    assert_eq!(chunk[0]["room_id"], room.as_str());
}

#[test]
fn an_old_client_may_send_its_token_in_the_query() {
    let host = Host::new();
    let alice = host.register("alice");
    let answer = host.request(inglenook::http::Method::Get, &format!("/_matrix/client/r0/sync?access_token={}", alice.token), None, None);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_place_that_was_lost_is_not_taken_for_one_that_was_told() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let room = host.create_room(&alice, json!({}));
    host.sync(&alice, None);
    // The commit fails, and the places that it had in the log are given out anew after the restart.
    host.store.set_fault(Some(Fault::FailAt(1)));
    let failed = host.send_as(&alice, &room, "m.room.message", "lost", json!({ "msgtype": "m.text", "body": "lost" }));
    assert_ne!(failed.status, 200);
    let told = host.sync(&alice, None);
    host.restart();
    host.send(&alice, &room, "after");
    assert_eq!(timeline_bodies(&host.sync(&alice, Some(since(&told))), &room), ["after"]);
}
