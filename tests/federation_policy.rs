//! This server as the policy server of a room.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::{event::RoomVersion, http::Method};
use ruma::{events::room::policy::RoomPolicyEventContent, signatures::verify_policy_server_signature};
use serde_json::{Value, json};
use support::{
    Answer, Network, User,
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
