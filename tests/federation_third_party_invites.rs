//! Invitations of people by another address than a user ID, who turn out to be somebody's users.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::{Body, Method, Request};
use serde_json::{Value, json};
use support::{Host, Network, User, encode, peer::Peer};

struct Scene {
    network: Network,
    alice: User,
    bob: User,
    identity_server: Peer,
    room: String,
}

/// Alice on the first host has invited somebody by address, who is Bob on the second host.
fn scene() -> Scene {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat", "name": "Den" }));
    let identity_server = Peer::new(9);
    let key = identity_server.public_key();
    let content = json!({ "display_name": "b...", "key_validity_url": "https://x.example", "public_key": key, "public_keys": [{ "public_key": key }] });
    network[0].put_state(&alice, &room, "m.room.third_party_invite", "token", content);
    Scene { network, alice, bob, identity_server, room }
}

impl Scene {
    fn signed(&self, user: &str, token: &str) -> Value {
        self.identity_server.sign_json(json!({ "mxid": user, "token": token }))
    }

    fn onbind(&self, host: &Host, signed: Value) {
        self.onbind_by(Method::Put, host, signed);
    }

    fn onbind_by(&self, method: Method, host: &Host, signed: Value) {
        let invite = json!({ "medium": "email", "address": "b@x.example", "mxid": signed["mxid"], "room_id": self.room, "sender": self.alice.id, "signed": signed });
        let body = json!({ "medium": "email", "address": "b@x.example", "mxid": invite["mxid"], "invites": [invite] });
        let mut request = Request::new(method, "/_matrix/federation/v1/3pid/onbind");
        request.body = Body::Bytes(body.to_string().into_bytes());
        assert_eq!(host.federation(request).ok().body, json!({}));
        self.network.run();
    }

    fn invited(&self, host: &Host, user: &User) -> Value {
        host.sync(user, None)["rooms"]["invite"][&self.room].clone()
    }
}

#[test]
fn whoever_the_address_belongs_to_is_invited_by_their_own_server() {
    let scene = scene();
    scene.onbind(&scene.network[1], scene.signed(&scene.bob.id, "token"));
    assert!(scene.invited(&scene.network[1], &scene.bob).is_object());
    let member = scene.network[0].state(&scene.alice, &scene.room, "m.room.member", &scene.bob.id).ok().body;
    assert_eq!((&member["membership"], &member["third_party_invite"]["display_name"]), (&json!("invite"), &json!("b...")));
}

#[test]
fn a_local_user_is_invited_at_once() {
    let scene = scene();
    let carol = scene.network[0].register("carol");
    scene.onbind(&scene.network[0], scene.signed(&carol.id, "token"));
    assert!(scene.invited(&scene.network[0], &carol).is_object());
}

/// As Sydent does, and Synapse expects.
#[test]
fn an_identity_server_may_post_what_it_should_put() {
    let scene = scene();
    scene.onbind_by(Method::Post, &scene.network[1], scene.signed(&scene.bob.id, "token"));
    assert!(scene.invited(&scene.network[1], &scene.bob).is_object());
}

#[test]
fn what_the_identity_server_has_not_signed_invites_nobody() {
    let scene = scene();
    let carol = scene.network[0].register("carol");
    let mut altered = scene.signed(&scene.bob.id, "token");
    altered["mxid"] = carol.id.clone().into();
    for signed in [altered, scene.signed(&carol.id, "other"), Peer::new(10).sign_json(json!({ "mxid": carol.id, "token": "token" }))] {
        scene.onbind(&scene.network[0], signed);
        assert!(scene.invited(&scene.network[0], &carol).is_null());
    }
}

#[test]
fn an_exchange_must_be_for_what_it_says() {
    let scene = scene();
    let (host, peer) = (&scene.network[0], Peer::new(7));
    let target = format!("/v1/exchange_third_party_invite/{}", encode(&scene.room));
    let event = |change: &dyn Fn(&mut Value)| {
        let signed = scene.signed(&scene.bob.id, "token");
        let content = json!({ "membership": "invite", "third_party_invite": { "display_name": "b", "signed": signed } });
        let mut event = json!({ "type": "m.room.member", "room_id": scene.room, "sender": scene.alice.id, "state_key": scene.bob.id, "content": content });
        change(&mut event);
        peer.put(host, &target, &event)
    };
    event(&|event| event["room_id"] = "!other".into()).refused(400, "M_INVALID_PARAM");
    event(&|event| event["type"] = "m.room.message".into()).refused(400, "M_INVALID_PARAM");
    event(&|event| event["content"]["membership"] = "join".into()).refused(400, "M_INVALID_PARAM");
    event(&|event| event["sender"] = peer.user("eve").into()).refused(400, "M_INVALID_PARAM");
    event(&|event| event["state_key"] = scene.alice.id.clone().into()).refused(400, "M_INVALID_PARAM");
    event(&|event| event["sender"] = format!("@eve:{}", host.name()).into()).refused(403, "M_FORBIDDEN");
    assert_eq!(event(&|_| {}).ok().body, json!({}));
}

fn join_with(scene: &Scene, host: usize, user: &User, signed: &Value) -> support::Answer {
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&scene.room), encode(&scene.network[0].name()));
    let answer = scene.network[host].post(user, &target, json!({ "third_party_signed": signed }));
    scene.network.run();
    answer
}

#[test]
fn whoever_proves_to_be_meant_is_invited_and_joins() {
    let scene = scene();
    let sign =
        |user: &User, token: &str| scene.identity_server.sign_json(json!({ "mxid": user.id, "sender": scene.alice.id, "token": token }));
    let (carol, dave) = (scene.network[0].register("carol"), scene.network[1].register("dave"));
    join_with(&scene, 1, &dave, &sign(&scene.bob, "token")).refused(403, "M_FORBIDDEN");
    join_with(&scene, 1, &dave, &sign(&dave, "other")).refused(403, "M_FORBIDDEN");
    let mut nobody = sign(&dave, "token");
    nobody.as_object_mut().unwrap().remove("sender");
    join_with(&scene, 1, &dave, &nobody).refused(400, "M_BAD_JSON");
    for (host, user) in [(1, &scene.bob), (0, &carol)] {
        join_with(&scene, host, user, &sign(user, "token")).ok();
        let member = scene.network[0].state(&scene.alice, &scene.room, "m.room.member", &user.id).ok().body;
        assert_eq!(member["membership"], "join");
    }
}
