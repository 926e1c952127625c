//! What other servers get of a room's events: single ones, the state at them, what authorises them and what came before.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;

use inglenook::event::{RawPdu, RoomVersion};
use serde_json::{Value, json};
use support::{
    Host, Network, User, encode,
    peer::{Peer, id_of, keys_of},
};

struct Scene {
    network: Network,
    alice: User,
    peer: Peer,
    room: String,
}

/// A room with a user of the host and one of another server.
fn scene(version: &str, body: Value) -> Scene {
    let network = Network::of_keys(1);
    let (alice, peer) = (network[0].register("alice"), Peer::new(7));
    let mut whole = json!({ "preset": "public_chat", "room_version": version });
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let room = network[0].create_room(&alice, whole);
    peer.join(&network[0], &room, &peer.user("bob"));
    Scene { network, alice, peer, room }
}

impl Scene {
    fn host(&self) -> &Host {
        &self.network[0]
    }

    fn send(&self, text: &str) -> String {
        self.host().send(&self.alice, &self.room, text)
    }

    fn get(&self, endpoint: &str, query: &str) -> Value {
        self.peer.get(self.host(), &format!("/v1/{endpoint}/{}{query}", encode(&self.room))).ok().body
    }
}

fn ids(events: &Value, version: &str) -> Vec<String> {
    events.as_array().unwrap().iter().map(|event| id_of(event, version)).collect()
}

fn set(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}

#[test]
fn an_event_is_served_as_it_was_signed() {
    for version in ["1", "6", "12"] {
        let scene = scene(version, json!({}));
        let id = scene.send("hello");
        let answer = scene.peer.get(scene.host(), &format!("/v1/event/{}", encode(&id))).ok().body;
        assert_eq!(answer["origin"], scene.host().name());
        assert!(answer["origin_server_ts"].is_u64());
        let event = &answer["pdus"][0];
        assert_eq!(answer["pdus"].as_array().unwrap().len(), 1);
        let rules = RoomVersion::parse(version).unwrap();
        let checked = RawPdu::parse(event.to_string().as_bytes()).unwrap().check(&rules, &keys_of(&[scene.host().name()])).unwrap();
        assert_eq!((checked.pdu().event_id.as_str(), event["content"]["body"].as_str()), (&*id, Some("hello")));
    }
}

#[test]
fn who_is_not_in_the_room_gets_nothing_of_it() {
    let scene = scene("12", json!({}));
    let (host, stranger) = (scene.host(), Peer::new(9));
    let (room, id) = (encode(&scene.room), scene.send("hello"));
    let path = encode(&id);
    stranger.get(host, &format!("/v1/event/{path}")).refused(404, "M_NOT_FOUND");
    for target in [
        format!("/v1/state/{room}?event_id={path}"),
        format!("/v1/state_ids/{room}?event_id={path}"),
        format!("/v1/event_auth/{room}/{path}"),
        format!("/v1/backfill/{room}?v={path}&limit=1"),
    ] {
        stranger.get(host, &target).refused(403, "M_FORBIDDEN");
    }
    let asked = json!({ "earliest_events": [], "latest_events": [id] });
    stranger.post(host, &format!("/v1/get_missing_events/{room}"), &asked).refused(403, "M_FORBIDDEN");
    scene.peer.get(host, "/v1/state_ids/!no:where?event_id=$e").refused(404, "M_NOT_FOUND");
    // Who has left is a stranger again.
    scene.peer.get(host, &format!("/v1/event/{path}")).ok();
    scene.peer.shake(host, "leave", &scene.room, &scene.peer.user("bob")).1.ok();
    scene.peer.get(host, &format!("/v1/event/{path}")).refused(404, "M_NOT_FOUND");
}

#[test]
fn the_state_is_the_one_before_the_event() {
    for version in ["5", "12"] {
        let scene = scene(version, json!({ "name": "first" }));
        let rename = scene.host().put_state(&scene.alice, &scene.room, "m.room.name", "", json!({ "name": "second" }));
        let later = scene.send("hello");
        let name_at = |id: &str| {
            let state = scene.get("state", &format!("?event_id={}", encode(id)));
            let pdus = state["pdus"].as_array().unwrap();
            pdus.iter().find(|event| event["type"] == "m.room.name").unwrap()["content"]["name"].clone()
        };
        assert_eq!((name_at(&rename), name_at(&later)), (json!("first"), json!("second")));

        let state = scene.get("state", &format!("?event_id={}", encode(&later)));
        let (pdus, chain) = (ids(&state["pdus"], version), ids(&state["auth_chain"], version));
        let by_id = scene.get("state_ids", &format!("?event_id={}", encode(&later)));
        let listed = |field: &str| by_id[field].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(set(&listed("pdu_ids")), set(&pdus));
        assert_eq!(set(&listed("auth_chain_ids")), set(&chain));
        assert_eq!(set(&chain).len(), chain.len());
        // The chain holds all that its events, and those of the state, are authorised by.
        let known = set(&chain);
        for event in state["pdus"].as_array().unwrap().iter().chain(state["auth_chain"].as_array().unwrap()) {
            assert!(event["auth_events"].as_array().unwrap().iter().all(|id| known.contains(id.as_str().unwrap())), "{event}");
        }
        let target = format!("/v1/state_ids/{}", encode(&scene.room));
        scene.peer.get(scene.host(), &format!("{target}?event_id=$unknown")).refused(404, "M_NOT_FOUND");
        scene.peer.get(scene.host(), &target).refused(400, "M_MISSING_PARAM");
    }
}

#[test]
fn an_auth_chain_is_complete() {
    for version in ["3", "12"] {
        let scene = scene(version, json!({}));
        let id = scene.send("hello");
        let answer = scene.get("event_auth", &format!("/{}", encode(&id)));
        let chain = answer["auth_chain"].as_array().unwrap();
        assert!(chain.iter().any(|event| event["type"] == "m.room.create"));
        assert!(chain.iter().any(|event| event["state_key"] == scene.alice.id));
        let known = ids(&answer["auth_chain"], version);
        assert!(!known.contains(&id));
        for event in chain {
            assert!(event["auth_events"].as_array().unwrap().iter().all(|id| set(&known).contains(id.as_str().unwrap())), "{event}");
        }
    }
}

#[test]
fn the_past_is_served_from_the_given_events_back() {
    let scene = scene("12", json!({}));
    let sent: Vec<_> = ["one", "two", "three"].iter().map(|text| scene.send(text)).collect();
    let back = |query: String| ids(&scene.get("backfill", &query)["pdus"], "12");
    let reversed: Vec<_> = sent.iter().rev().cloned().collect();
    assert_eq!(back(format!("?v={}&limit=3", encode(&sent[2]))), reversed);
    assert_eq!(back(format!("?limit=1&v={}", encode(&sent[1]))), [sent[1].clone()]);
    let whole = back(format!("?v={}&limit=1000", encode(&sent[2])));
    assert_eq!(format!("!{}", whole.last().unwrap().trim_start_matches('$')), scene.room, "the room's first event is the last");
    assert_eq!(back(format!("?v={}&v={}&limit=2", encode(&sent[0]), encode(&sent[2]))), reversed[..2]);
    assert!(back("?v=$unknown&limit=3".into()).is_empty());
    let target = format!("/v1/backfill/{}", encode(&scene.room));
    scene.peer.get(scene.host(), &format!("{target}?limit=3")).refused(400, "M_MISSING_PARAM");
    scene.peer.get(scene.host(), &format!("{target}?v=$e")).refused(400, "M_MISSING_PARAM");
}

#[test]
fn no_answer_holds_more_than_a_hundred_events() {
    let scene = scene("12", json!({}));
    let sent: Vec<_> = (0..110).map(|number| scene.send(&number.to_string())).collect();
    let last = sent.last().unwrap();
    let answer = scene.get("backfill", &format!("?v={}&limit=1000", encode(last)));
    assert_eq!(answer["pdus"].as_array().unwrap().len(), 100);
    let asked = json!({ "earliest_events": [], "latest_events": [last], "limit": 1000 });
    let target = format!("/v1/get_missing_events/{}", encode(&scene.room));
    assert_eq!(scene.peer.post(scene.host(), &target, &asked).ok().body["events"].as_array().unwrap().len(), 100);
    let many: Vec<_> = (0..101).map(|number| format!("${number}")).collect();
    let asked = json!({ "earliest_events": [], "latest_events": many });
    scene.peer.post(scene.host(), &target, &asked).refused(400, "M_INVALID_PARAM");
}

#[test]
fn missing_events_are_those_between() {
    let scene = scene("12", json!({}));
    let sent: Vec<_> = (0..14).map(|number| scene.send(&number.to_string())).collect();
    let target = format!("/v1/get_missing_events/{}", encode(&scene.room));
    let missing = |asked: Value| ids(&scene.peer.post(scene.host(), &target, &asked).ok().body["events"], "12");
    assert_eq!(missing(json!({ "earliest_events": [sent[1]], "latest_events": [sent[5]] })), sent[2..5]);
    assert_eq!(missing(json!({ "earliest_events": [sent[1]], "latest_events": [sent[5]], "limit": 2 })), sent[3..5]);
    assert_eq!(missing(json!({ "earliest_events": [], "latest_events": [sent[13]] })), sent[3..13], "ten where nothing is said");
    let depth = scene.peer.get(scene.host(), &format!("/v1/event/{}", encode(&sent[4]))).ok().body["pdus"][0]["depth"].clone();
    let asked = json!({ "earliest_events": [sent[1]], "latest_events": [sent[6]], "min_depth": depth });
    assert_eq!(missing(asked), sent[4..6]);
    assert!(missing(json!({ "earliest_events": [], "latest_events": ["$unknown"] })).is_empty());
}

#[test]
fn what_a_servers_users_may_not_see_comes_without_its_content() {
    for visibility in ["joined", "invited"] {
        let network = Network::of_keys(1);
        let (host, peer) = (&network[0], Peer::new(7));
        let alice = host.register("alice");
        let state = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": visibility } }]);
        let room = host.create_room(&alice, json!({ "preset": "public_chat", "initial_state": state }));
        let hidden = host.send(&alice, &room, "a secret");
        peer.join(host, &room, &peer.user("bob"));
        let shown = host.send(&alice, &room, "hello");
        let answer = peer.get(host, &format!("/v1/backfill/{}?v={}&limit=5", encode(&room), encode(&shown))).ok().body;
        let found = |id: &str| answer["pdus"].as_array().unwrap().iter().find(|event| id_of(event, "12") == id).unwrap();
        assert_eq!((&found(&shown)["content"]["body"], &found(&hidden)["content"]), (&json!("hello"), &json!({})), "{visibility}");
        let event = peer.get(host, &format!("/v1/event/{}", encode(&hidden))).ok().body["pdus"][0].clone();
        assert_eq!((id_of(&event, "12"), &event["content"]), (hidden, &json!({})), "a redacted event keeps its ID");
    }
}

#[test]
fn a_redacted_event_stays_redacted() {
    let scene = scene("12", json!({}));
    let id = scene.send("a mistake");
    let target = support::room_path(&scene.room, &format!("redact/{}/t1", encode(&id)));
    scene.host().put(&scene.alice, &target, json!({})).ok();
    let event = scene.peer.get(scene.host(), &format!("/v1/event/{}", encode(&id))).ok().body["pdus"][0].clone();
    assert_eq!(event["content"], json!({}));
}
