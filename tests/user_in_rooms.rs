//! What becomes of a user's changes in the rooms that they are in.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use futures_util::future::join;
use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};

use self::support::{Answer, Fault, Host, PASSWORD, User, encode, request, room_path};

fn profile_path(user: &User, field: &str) -> String {
    format!("/_matrix/client/v3/profile/{}/{field}", encode(&user.id))
}

fn set_field(host: &Host, user: &User, field: &str, value: Value) -> Answer {
    host.put(user, &profile_path(user, field), json!({ field: value }))
}

fn member(host: &Host, asking: &User, room: &str, user: &User) -> Value {
    host.state(asking, room, "m.room.member", &user.id).ok().body
}

fn public_room(host: &Host, user: &User) -> String {
    host.create_room(user, json!({ "preset": "public_chat" }))
}

#[test]
fn a_new_name_is_told_in_every_joined_room() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let rooms: Vec<_> = (0..3).map(|_| public_room(&host, &bob)).collect();
    let left = public_room(&host, &bob);
    for room in rooms.iter().chain([&left]) {
        host.join(&ada, room);
    }
    host.leave(&ada, &left);
    set_field(&host, &ada, "displayname", "Ada".into()).ok();
    set_field(&host, &ada, "avatar_url", "mxc://example.org/a".into()).ok();
    for room in &rooms {
        let expected = json!({ "membership": "join", "displayname": "Ada", "avatar_url": "mxc://example.org/a" });
        assert_eq!(member(&host, &bob, room, &ada), expected);
    }
    assert_eq!(member(&host, &bob, &left, &ada)["displayname"], Value::Null);
    assert_eq!(member(&host, &bob, &left, &ada)["membership"], "leave");
    host.delete(&ada, &profile_path(&ada, "displayname"), None).ok();
    assert_eq!(member(&host, &bob, &rooms[0], &ada), json!({ "membership": "join", "avatar_url": "mxc://example.org/a" }));
}

#[test]
fn other_fields_of_the_member_event_are_kept_and_other_profile_fields_not_told() {
    let host = Host::new();
    let ada = host.register("ada");
    let room = public_room(&host, &ada);
    host.put_state(&ada, &room, "m.room.member", &ada.id, json!({ "membership": "join", "org.example.extra": 7 }));
    set_field(&host, &ada, "displayname", "Ada".into()).ok();
    let expected = json!({ "membership": "join", "displayname": "Ada", "org.example.extra": 7 });
    assert_eq!(member(&host, &ada, &room, &ada), expected);
    let end = log_end(&host, &ada);
    set_field(&host, &ada, "m.tz", "Europe/London".into()).ok();
    set_field(&host, &ada, "displayname", "Ada".into()).ok();
    assert_eq!((log_end(&host, &ada), member(&host, &ada, &room, &ada)), (end, expected));
}

fn log_end(host: &Host, user: &User) -> u64 {
    host.get(user, "/_inglenook/status").ok().body["log_position"].as_u64().unwrap()
}

#[test]
fn who_let_somebody_in_is_not_named_again_when_they_take_another_name() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let opening = public_room(&host, &ada);
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": opening }] });
    let restricted = json!({ "type": "m.room.join_rules", "state_key": "", "content": rules });
    let room = host.create_room(&ada, json!({ "initial_state": [restricted] }));
    host.join(&bob, &opening);
    host.join(&bob, &room);
    assert_eq!(member(&host, &ada, &room, &bob)["join_authorised_via_users_server"], ada.id);
    set_field(&host, &bob, "displayname", "Bob".into()).ok();
    assert_eq!(member(&host, &ada, &room, &bob), json!({ "membership": "join", "displayname": "Bob" }));
}

#[test]
fn a_client_that_asks_again_finishes_what_was_cut_off() {
    let mut host = Host::new();
    let ada = host.register("ada");
    let room = public_room(&host, &ada);
    host.store.set_fault(Some(Fault::StopAfter(1)));
    host.begin(Method::Put, &profile_path(&ada, "displayname"), Some(&ada.token), Some(json!({ "displayname": "Ada" })));
    host.restart();
    assert_eq!(member(&host, &ada, &room, &ada)["displayname"], Value::Null);
    set_field(&host, &ada, "displayname", "Ada".into()).ok();
    assert_eq!(member(&host, &ada, &room, &ada)["displayname"], "Ada");
}

#[test]
fn of_two_names_at_once_profile_and_rooms_end_with_the_same() {
    let host = Host::new();
    let ada = host.register("ada");
    let room = public_room(&host, &ada);
    host.store.set_slow(true);
    let server = Rc::clone(&host.server());
    let set = |name: &str| {
        let body = json!({ "displayname": name });
        server.handle(request(Method::Put, &profile_path(&ada, "displayname"), Some(&ada.token), Some(body)))
    };
    host.block_on(join(set("One"), set("Two")));
    let name = host.get(&ada, &profile_path(&ada, "displayname")).ok().text("displayname");
    assert_eq!(member(&host, &ada, &room, &ada)["displayname"], name);
}

#[test]
fn who_joins_later_is_shown_with_their_profile() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    set_field(&host, &ada, "displayname", "Ada".into()).ok();
    let room = public_room(&host, &bob);
    host.join(&ada, &room);
    assert_eq!(member(&host, &bob, &room, &ada)["displayname"], "Ada");
}

#[test]
fn who_deactivates_their_account_leaves_and_declines() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let (joined, invited, left) = (public_room(&host, &bob), public_room(&host, &bob), public_room(&host, &bob));
    host.join(&ada, &joined);
    host.invite(&bob, &invited, &ada);
    host.join(&ada, &left);
    host.post(&bob, &room_path(&left, "ban"), json!({ "user_id": ada.id })).ok();
    let auth = json!({ "type": "m.login.password", "user": "ada", "password": PASSWORD });
    host.post(&ada, "/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    let memberships = [&joined, &invited, &left].map(|room| member(&host, &bob, room, &ada)["membership"].clone());
    assert_eq!(memberships, ["leave", "leave", "ban"]);
}

#[test]
fn rooms_and_events_are_reported_by_who_can_see_them() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let room = public_room(&host, &ada);
    let event = host.send(&ada, &room, "hello");
    let report =
        |user: &User| host.post(user, &room_path(&room, &format!("report/{}", encode(&event))), json!({ "reason": "odd", "score": -100 }));
    report(&bob).refused(404, "M_NOT_FOUND");
    host.join(&bob, &room);
    report(&bob).ok();
    host.post(&bob, &room_path(&room, "report/%24none"), json!({})).refused(404, "M_NOT_FOUND");
    host.post(&bob, &room_path(&room, "report"), json!({ "reason": "odd" })).ok();
    host.post(&bob, &room_path(&room, "report"), json!({})).refused(400, "M_BAD_JSON");
    let kept = host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::Reports)))).unwrap();
    let kept: Vec<Value> = kept.iter().map(|row| serde_json::from_slice(&row.value).unwrap()).collect();
    let mut kept: Vec<_> = kept.iter().map(|report| (report["room_id"] == room.as_str(), report["event_id"] == event.as_str())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [(true, false), (true, true)]);
}

#[test]
fn events_from_before_ones_time_cannot_be_reported() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let room = public_room(&host, &ada);
    host.put_state(&ada, &room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" }));
    let event = host.send(&ada, &room, "secret");
    host.join(&bob, &room);
    host.post(&bob, &room_path(&room, &format!("report/{}", encode(&event))), json!({})).refused(404, "M_NOT_FOUND");
    let graph = host.get(&bob, &graph_path(&room, 100)).ok().body;
    let shown = graph["events"].as_array().unwrap().iter().find(|shown| shown["event_id"] == event.as_str()).unwrap();
    assert_eq!(shown["content"], Value::Null);
}

fn graph_path(room: &str, limit: u64) -> String {
    format!("/_inglenook/rooms/{}/graph?limit={limit}", encode(room))
}

#[test]
fn members_see_the_graph_of_their_room() {
    let host = Host::new();
    let (ada, bob) = (host.register("ada"), host.register("bob"));
    let room = public_room(&host, &ada);
    let event = host.send(&ada, &room, "hello");
    host.get(&bob, &graph_path(&room, 10)).refused(403, "M_FORBIDDEN");
    let graph = host.get(&ada, &graph_path(&room, 2)).ok().body;
    assert_eq!(graph["forward_extremities"], json!([event]));
    let events = graph["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    let last = &events[1];
    assert_eq!((&last["event_id"], &last["type"], &last["sender"]), (&json!(event), &json!("m.room.message"), &json!(ada.id)));
    assert_eq!(last["prev_events"], json!([events[0]["event_id"]]));
    assert_eq!(last["content"]["body"], "hello");
    assert_eq!((&last["status"], &last["state"]), (&json!("accepted"), &json!(false)));
    assert_eq!(events[0]["state"], true);
    assert!(last["hashes"]["sha256"].is_string() && last["signatures"]["example.org"].is_object());
    assert!(last["depth"].as_u64() > events[0]["depth"].as_u64() && last["position"].as_u64() > events[0]["position"].as_u64());
    let log = host.get(&ada, "/_inglenook/log?from=1&limit=1000").ok().body;
    let entry = log["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&entry["kind"], &entry["room_id"], &entry["event_id"]), (&json!("event"), &json!(room), &json!(event)));
    host.get(&ada, &graph_path("!none:example.org", 2)).refused(404, "M_NOT_FOUND");
}
