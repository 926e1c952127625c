//! Policy servers: this server as the one of a room, and what it does in rooms that have another.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::{
    event::RoomVersion,
    http::{Method, Response},
};
use ruma::{events::room::policy::RoomPolicyEventContent, signatures::verify_policy_server_signature};
use serde_json::{Value, json};
use support::{
    Answer, Network, User, encode,
    network::{Carried, Treatment},
    peer::{Peer, message},
};

struct Scene {
    network: Network,
    alice: User,
    peer: Peer,
    room: String,
    policy: Value,
}

/// A room with a user of another server, whose policy server the host is.
fn scene() -> Scene {
    let network = Network::of_keys(1);
    let (alice, peer) = (network[0].register("alice"), Peer::new(7));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    peer.join(&network[0], &room, &peer.user("bob"));
    let key = network[0].request(Method::Get, "/.well-known/matrix/policy_server", None, None).ok().body;
    let policy = json!({ "via": network[0].name(), "public_keys": key["public_keys"] });
    network[0].put_state(&alice, &room, "m.room.policy", "", policy.clone());
    Scene { network, alice, peer, room, policy }
}

impl Scene {
    fn ask(&self, event: &Value) -> Answer {
        self.peer.post(&self.network[0], "/_matrix/policy/v1/sign", event)
    }

    fn message(&self, sender: &str) -> Value {
        self.peer.sign(message(&self.room, sender, &["$x".into()], &["$x".into()], 9), "12").1
    }
}

#[test]
fn what_the_room_allows_is_signed_by_the_key_that_the_room_names() {
    let scene = scene();
    let mut event = scene.message(&scene.peer.user("bob"));
    let answer = scene.ask(&event).ok().body;
    assert_eq!(answer[scene.network[0].name()].as_object().unwrap().keys().collect::<Vec<_>>(), ["ed25519:policy_server"]);
    event["signatures"].as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    let policy: RoomPolicyEventContent = serde_json::from_value(scene.policy.clone()).unwrap();
    let rules = RoomVersion::parse("12").unwrap().rules;
    verify_policy_server_signature(&policy, &serde_json::from_value(event.clone()).unwrap(), &rules).unwrap();
    event["depth"] = 10.into();
    assert!(verify_policy_server_signature(&policy, &serde_json::from_value(event).unwrap(), &rules).is_err());
}

#[test]
fn what_the_room_does_not_allow_is_not_recommended() {
    let scene = scene();
    scene.ask(&scene.message(&scene.peer.user("eve"))).refused(400, "M_FORBIDDEN");
    let mut topic = message(&scene.room, &scene.peer.user("bob"), &["$x".into()], &["$x".into()], 9);
    (topic["type"], topic["state_key"]) = ("m.room.topic".into(), "".into());
    scene.ask(&scene.peer.sign(topic.clone(), "12").1).refused(400, "M_FORBIDDEN");
    (topic["type"], topic["sender"]) = ("m.room.policy".into(), scene.alice.id.clone().into());
    scene.ask(&scene.peer.sign(topic, "12").1).refused(400, "M_FORBIDDEN");
    scene.ask(&json!({ "room_id": scene.room, "type": "m.room.message" })).refused(400, "M_BAD_JSON");
    let shut_out = json!({ "allow": ["*"], "deny": [scene.peer.name()] });
    scene.network[0].put_state(&scene.alice, &scene.room, "m.room.server_acl", "", shut_out);
    scene.ask(&scene.message(&scene.peer.user("bob"))).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_room_that_has_named_another_key_is_not_protected() {
    let scene = scene();
    let event = scene.message(&scene.peer.user("bob"));
    scene.ask(&event).ok();
    for change in [json!({ "via": scene.peer.name() }), json!({ "public_keys": { "ed25519": scene.peer.public_key() } })] {
        let mut policy = scene.policy.clone();
        policy.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        scene.network[0].put_state(&scene.alice, &scene.room, "m.room.policy", "", policy);
        scene.ask(&event).refused(404, "M_NOT_FOUND");
    }
}

/// A room of Alice's, whose policy server is hers, with Bob of the second host and a user of a server that asks nobody.
struct Protected {
    network: Network,
    alice: User,
    bob: User,
    peer: Peer,
    room: String,
    /// An event upon which the peer may build, and its depth.
    last: (String, u64),
}

fn protected() -> Protected {
    let network = Network::of_keys(2);
    let (alice, bob, peer) = (network[0].register("alice"), network[1].register("bob"), Peer::new(7));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    let key = network[0].request(Method::Get, "/.well-known/matrix/policy_server", None, None).ok().body;
    network[0].put_state(&alice, &room, "m.room.policy", "", json!({ "via": network[0].name(), "public_keys": key["public_keys"] }));
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).ok();
    peer.join(&network[0], &room, &peer.user("eve"));
    let last = network[0].send(&alice, &room, "hello");
    network.run();
    let depth = peer.get(&network[0], &format!("/v1/event/{}", encode(&last))).ok().body["pdus"][0]["depth"].as_u64().unwrap();
    Protected { network, alice, bob, peer, room, last: (last, depth) }
}

impl Protected {
    fn refuse_everything(&self) {
        self.network.treat(|carried: &Carried| match carried.target.as_str() {
            "/_matrix/policy/v1/sign" => {
                Treatment::Answer(Response::json(400, json!({ "errcode": "M_FORBIDDEN", "error": "spam" }).as_object().unwrap()))
            }
            _ => Treatment::Carry,
        });
    }

    /// An event of the peer that nobody has recommended.
    fn unrecommended(&self) -> (String, Value) {
        let state = |kind: &str, key: &str| {
            let ids =
                self.peer.get(&self.network[0], &format!("/v1/state/{}?event_id={}", encode(&self.room), encode(&self.last.0))).ok().body;
            let found = ids["pdus"].as_array().unwrap().iter().find(|pdu| pdu["type"] == kind && pdu["state_key"] == key).unwrap().clone();
            support::peer::id_of(&found, "12")
        };
        let eve = self.peer.user("eve");
        let auth = [state("m.room.power_levels", ""), state("m.room.member", &eve)];
        self.peer.sign(message(&self.room, &eve, std::slice::from_ref(&self.last.0), &auth, self.last.1 + 1), "12")
    }

    fn send_to(&self, host: usize, event: &Value) -> Value {
        let body = json!({ "origin": self.peer.name(), "origin_server_ts": 1, "pdus": [event] });
        let answer = self.peer.put(&self.network[host], &format!("/v1/send/t{host}"), &body).ok().body;
        self.network.run();
        answer
    }

    fn sees(&self, host: usize, user: &User, id: &str) -> bool {
        let target = support::room_path(&self.room, &format!("event/{}", encode(id)));
        self.network[host].get(user, &target).status == 200
    }
}

#[test]
fn what_is_sent_from_here_carries_the_recommendation() {
    let scene = protected();
    for (host, user) in [(1, &scene.bob), (0, &scene.alice)] {
        let id = scene.network[host].send(user, &scene.room, "hello");
        scene.network.run();
        let event = scene.peer.get(&scene.network[0], &format!("/v1/event/{}", encode(&id))).ok().body["pdus"][0].clone();
        let signatures = &event["signatures"][scene.network[0].name()];
        assert!(signatures["ed25519:policy_server"].is_string(), "{signatures}");
        assert!(scene.sees(0, &scene.alice, &id) && scene.sees(1, &scene.bob, &id));
    }
}

#[test]
fn what_the_policy_server_refuses_is_not_sent() {
    let scene = protected();
    scene.refuse_everything();
    let refused = scene.network[1].send_as(&scene.bob, &scene.room, "m.room.message", "t", json!({ "msgtype": "m.text", "body": "spam" }));
    refused.refused(400, "M_FORBIDDEN");
    assert_eq!(refused.body["error"], "spam");
    scene.network.run();
    let sent =
        scene.network.carried().into_iter().filter(|carried| carried.target.contains("/send/") && carried.from == scene.network[1].name());
    assert_eq!(sent.filter(|carried| carried.body["pdus"].as_array().is_some_and(|pdus| !pdus.is_empty())).count(), 0);
    let dave = scene.network[1].register("dave");
    scene.network[1].post(&dave, &support::room_path(&scene.room, "join"), json!({})).refused(400, "M_FORBIDDEN");
}

#[test]
fn what_comes_without_a_recommendation_is_asked_about() {
    let scene = protected();
    let (id, event) = scene.unrecommended();
    assert_eq!(scene.send_to(1, &event)["pdus"][&id], json!({}));
    assert!(scene.sees(1, &scene.bob, &id), "the policy server has recommended it");
    assert!(scene.send_to(0, &event)["pdus"][&id] == json!({}) && scene.sees(0, &scene.alice, &id), "and does so for itself");
}

/// Anybody could otherwise have this server ask as often as they like.
#[test]
fn what_the_room_does_not_allow_anyway_is_not_asked_about() {
    let scene = protected();
    let (id, event) = scene.unrecommended();
    let kick = json!({ "user_id": scene.peer.user("eve") });
    scene.network[0].post(&scene.alice, &support::room_path(&scene.room, "kick"), kick).ok();
    scene.network.run();
    drop(scene.network.carried());
    assert_eq!(scene.send_to(1, &event)["pdus"][&id], json!({}));
    assert!(scene.network.carried().iter().all(|carried| carried.target != "/_matrix/policy/v1/sign"));
    assert!(!scene.sees(1, &scene.bob, &id));
}

/// A server sends events of several rooms at once; one room's policy server takes its time.
#[test]
fn the_policy_server_of_one_room_does_not_hold_up_the_others() {
    let scene = protected();
    let (host, eve) = (&scene.network[1], scene.peer.user("eve"));
    // The other room comes second in any order.
    let mut rooms = (0..100).map(|_| host.create_room(&scene.bob, json!({ "preset": "public_chat" })));
    let other = rooms.find(|other| *other > scene.room).unwrap();
    scene.peer.join(host, &other, &eve);
    let last = host.send(&scene.bob, &other, "hello");
    let state = scene.peer.get(host, &format!("/v1/state/{}?event_id={}", encode(&other), encode(&last))).ok().body;
    let id_of = |kind: &str, key: &str| {
        let found = state["pdus"].as_array().unwrap().iter().find(|pdu| pdu["type"] == kind && pdu["state_key"] == key).unwrap();
        support::peer::id_of(found, "12")
    };
    let auth = [id_of("m.room.power_levels", ""), id_of("m.room.member", &eve)];
    let (quick, quick_event) = scene.peer.sign(message(&other, &eve, &[last], &auth, 20), "12");
    let (slow, slow_event) = scene.unrecommended();
    scene.network.treat(|carried: &Carried| match carried.target.as_str() {
        "/_matrix/policy/v1/sign" => Treatment::Late(10_000, Box::new(Treatment::Carry)),
        _ => Treatment::Carry,
    });
    let body = json!({ "origin": scene.peer.name(), "origin_server_ts": 1, "pdus": [slow_event, quick_event] });
    let request = scene.peer.request(host, Method::Put, "/_matrix/federation/v1/send/t", Some(&body));
    let server = std::rc::Rc::clone(&host.server());
    host.drive(async move { assert_eq!(server.federation(request).await.status, 200) });
    scene.network.run();
    let sees = |room: &str, id: &str| {
        let target = support::room_path(room, &format!("event/{}", encode(id)));
        host.get(&scene.bob, &target).status == 200
    };
    assert!(sees(&other, &quick) && !sees(&scene.room, &slow));
    scene.network.advance(10_000);
    assert!(sees(&scene.room, &slow));
}

/// Whoever sends many events that need a recommendation does not have their room stand still for each of them.
#[test]
fn a_slow_policy_server_is_waited_for_once_for_all_events() {
    let scene = protected();
    scene.network.treat(|carried: &Carried| match carried.target.as_str() {
        "/_matrix/policy/v1/sign" => Treatment::Late(10_000, Box::new(Treatment::Carry)),
        _ => Treatment::Carry,
    });
    let (_, event) = scene.unrecommended();
    let events = (0..20).map(|number| {
        let mut event = event.clone();
        event["content"]["body"] = number.to_string().into();
        scene.peer.sign(event, "12").1
    });
    let body = json!({ "origin": scene.peer.name(), "origin_server_ts": 1, "pdus": events.collect::<Vec<_>>() });
    let request = scene.peer.request(&scene.network[1], Method::Put, "/_matrix/federation/v1/send/t", Some(&body));
    let (server, answered) = (std::rc::Rc::clone(&scene.network[1].server()), std::rc::Rc::<std::cell::Cell<bool>>::default());
    let is_answered = std::rc::Rc::clone(&answered);
    scene.network[1].drive(async move { is_answered.set(server.federation(request).await.status == 200) });
    scene.network.run();
    scene.network.advance_in_steps(1_000, 19);
    assert!(!answered.get());
    scene.network.advance(1_000);
    assert!(answered.get(), "it was asked twice");
}

#[test]
fn what_is_not_recommended_is_soft_failed() {
    let scene = protected();
    let (id, event) = scene.unrecommended();
    scene.refuse_everything();
    assert_eq!(scene.send_to(1, &event)["pdus"][&id], json!({}), "it is kept, and its sender told nothing");
    scene.network.treat_well();
    assert!(!scene.sees(1, &scene.bob, &id));
    let own = scene.network[1].send(&scene.bob, &scene.room, "own");
    scene.network.run();
    let own = scene.peer.get(&scene.network[1], &format!("/v1/event/{}", encode(&own))).ok().body["pdus"][0].clone();
    assert_eq!(own["prev_events"], json!([scene.last.0]), "nothing is built on it");
}

#[test]
fn a_policy_server_that_is_in_no_room_is_not_asked() {
    let scene = protected();
    scene.network[0].put_state(
        &scene.alice,
        &scene.room,
        "m.room.policy",
        "",
        json!({
            "via": "far.example", "public_keys": { "ed25519": scene.peer.public_key() },
        }),
    );
    scene.network.run();
    let (id, event) = scene.unrecommended();
    scene.send_to(1, &event);
    assert!(scene.sees(1, &scene.bob, &id));
    scene.network[1].send(&scene.bob, &scene.room, "own");
}

#[test]
fn a_protected_message_costs_the_same_in_a_larger_room() {
    let rows_read = |members: usize| {
        let scene = scene();
        let host = &scene.network[0];
        for number in 0..members {
            host.join(&host.register(&format!("member{number}")), &scene.room);
        }
        host.send(&scene.alice, &scene.room, "the first may look around");
        host.store.take_work();
        host.send(&scene.alice, &scene.room, "hello");
        host.store.take_work().rows_read
    };
    assert_eq!(rows_read(40), rows_read(4));
}
