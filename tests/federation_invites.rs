//! Users of other servers who invite this server's users.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::event::{RawPdu, RoomVersion};
use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    peer::{Peer, id_of, keys_of},
};

/// A room of another server, as far as an invitation shows it.
struct Elsewhere {
    peer: Peer,
    version: &'static str,
    room: String,
    create: Value,
}

fn elsewhere(version: &'static str) -> Elsewhere {
    let peer = Peer::new(7);
    let mut create = json!({
        "type": "m.room.create", "state_key": "", "sender": peer.user("bob"), "content": { "room_version": version },
        "origin_server_ts": 1, "depth": 1, "prev_events": [], "auth_events": [],
    });
    if version != "12" {
        create["room_id"] = format!("!room:{}", peer.name()).into();
    }
    let (id, create) = peer.sign(create, version);
    let room = create["room_id"].as_str().map_or_else(|| id.replacen('$', "!", 1), str::to_owned);
    Elsewhere { peer, version, room, create }
}

impl Elsewhere {
    fn state(&self, kind: &str, content: Value) -> Value {
        let event = json!({
            "type": kind, "state_key": "", "room_id": self.room, "sender": self.peer.user("bob"), "content": content,
            "origin_server_ts": 2, "depth": 2, "prev_events": self.no_events(), "auth_events": self.no_events(),
        });
        self.peer.sign(event, self.version).1
    }

    fn no_events(&self) -> Value {
        if self.version == "1" { json!([["$x:y", { "sha256": "" }]]) } else { json!(["$x"]) }
    }

    fn invitation(&self, user: &str) -> Value {
        json!({
            "type": "m.room.member", "state_key": user, "room_id": self.room, "sender": self.peer.user("bob"),
            "content": { "membership": "invite" }, "origin_server_ts": 3, "depth": 3,
            "prev_events": self.no_events(), "auth_events": self.no_events(),
        })
    }

    fn put(&self, host: &Host, event: Value, told: Value) -> Answer {
        let (id, event) = self.peer.sign(event, self.version);
        let body = json!({ "room_version": self.version, "event": event, "invite_room_state": told });
        self.peer.put(host, &format!("/v2/invite/{}/{}", encode(&self.room), encode(&id)), &body)
    }

    fn told(&self) -> Value {
        json!([self.create, self.state("m.room.name", json!({ "name": "Cabin" }))])
    }
}

fn host() -> (Network, User) {
    let network = Network::of_keys(1);
    let alice = network[0].register("alice");
    (network, alice)
}

#[test]
fn an_invitation_is_signed_and_shown() {
    for version in ["1", "10", "12"] {
        let (network, alice) = host();
        let (host, elsewhere) = (&network[0], elsewhere(version));
        let since = host.sync(&alice, None)["next_batch"].as_str().unwrap().to_owned();
        let mut waiting = host.begin_sync(&alice, Some(&since), 20_000);
        network.run();
        let event = elsewhere.put(host, elsewhere.invitation(&alice.id), elsewhere.told()).ok().body["event"].clone();
        assert!(event["signatures"][host.name()].is_object());
        let rules = RoomVersion::parse(version).unwrap();
        RawPdu::parse(event.to_string().as_bytes()).unwrap().check(&rules, &keys_of(&[host.name(), elsewhere.peer.name()])).unwrap();
        network.run();
        let news = waiting.answer().expect("a waiting sync is told at once").body;
        let told = news["rooms"]["invite"][&elsewhere.room]["invite_state"]["events"].clone();
        for (kind, key, value) in [("m.room.name", "name", "Cabin"), ("m.room.member", "membership", "invite")] {
            let event = told.as_array().unwrap().iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("{told}"));
            assert_eq!(event["content"][key], value);
            assert_eq!(event.as_object().unwrap().len(), 4, "stripped: {event}");
        }
        // What was told once is told to whoever syncs anew, and to nobody twice.
        let again = host.sync(&alice, None);
        assert!(again["rooms"]["invite"][&elsewhere.room].is_object());
        let next = host.sync(&alice, news["next_batch"].as_str());
        assert!(next["rooms"]["invite"].as_object().unwrap().is_empty());
    }
}

#[test]
fn an_invitation_survives_a_restart_and_comes_twice_as_once() {
    let (mut network, alice) = host();
    let elsewhere = elsewhere("12");
    let first = elsewhere.put(&network[0], elsewhere.invitation(&alice.id), elsewhere.told()).ok().body;
    network[0].restart();
    let since = network[0].sync(&alice, None);
    assert!(since["rooms"]["invite"][&elsewhere.room].is_object());
    let second = elsewhere.put(&network[0], elsewhere.invitation(&alice.id), elsewhere.told()).ok().body;
    assert_eq!(first, second);
    let news = network[0].sync(&alice, since["next_batch"].as_str());
    assert!(news["rooms"]["invite"].as_object().unwrap().is_empty());
}

#[test]
fn an_old_server_invites_by_the_old_way() {
    let (network, alice) = host();
    let (host, elsewhere) = (&network[0], elsewhere("1"));
    let (id, mut event) = elsewhere.peer.sign(elsewhere.invitation(&alice.id), "1");
    let stripped = json!({ "type": "m.room.name", "state_key": "", "sender": elsewhere.peer.user("bob"), "content": { "name": "Cabin" } });
    event["unsigned"] = json!({ "invite_room_state": [stripped, { "type": "broken" }] });
    let answer = elsewhere.peer.put(host, &format!("/v1/invite/{}/{}", encode(&elsewhere.room), encode(&id)), &event).ok().body;
    assert_eq!((&answer[0], id_of(&answer[1]["event"], "1")), (&json!(200), id));
    let told = host.sync(&alice, None)["rooms"]["invite"][&elsewhere.room]["invite_state"]["events"].clone();
    assert!(told.as_array().unwrap().contains(&stripped), "{told}");
    assert_eq!(told.as_array().unwrap().len(), 2);
}

#[test]
fn nothing_but_an_invitation_is_signed() {
    let (network, alice) = host();
    let (host, elsewhere) = (&network[0], elsewhere("12"));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = elsewhere.invitation(&alice.id);
        change(&mut event);
        elsewhere.put(host, event, elsewhere.told())
    };
    with(&|event| event["type"] = "m.room.message".into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["content"]["membership"] = "join".into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["sender"] = Peer::new(8).user("eve").into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["sender"] = alice.id.clone().into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["state_key"] = Peer::new(8).user("eve").into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["room_id"] = "!another".into()).refused(400, "M_INVALID_PARAM");
    with(&|event| event["state_key"] = format!("@nobody:{}", host.name()).into()).refused(403, "M_FORBIDDEN");
    assert!(host.sync(&alice, None)["rooms"]["invite"].as_object().unwrap().is_empty());
}

#[test]
fn what_describes_the_room_must_be_of_the_room() {
    let (network, alice) = host();
    let (host, room) = (&network[0], elsewhere("12"));
    let invite = |told: Value| room.put(host, room.invitation(&alice.id), told);
    invite(json!([])).refused(400, "M_MISSING_PARAM");
    invite(json!([room.state("m.room.name", json!({ "name": "Cabin" }))])).refused(400, "M_MISSING_PARAM");
    let mut forged = room.state("m.room.name", json!({ "name": "Cabin" }));
    forged["signatures"] = json!({});
    invite(json!([room.create, forged])).refused(400, "M_INVALID_PARAM");
    let mut of_another_room = room.state("m.room.name", json!({ "name": "Cabin" }));
    of_another_room["room_id"] = "!another".into();
    let (_, of_another_room) = room.peer.sign(of_another_room, "12");
    invite(json!([room.create, of_another_room])).refused(400, "M_INVALID_PARAM");
    let stripped = json!({ "type": "m.room.name", "state_key": "", "sender": room.peer.user("bob"), "content": {} });
    invite(json!([room.create, stripped])).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_version_that_is_not_known_is_named() {
    let (network, alice) = host();
    let elsewhere = elsewhere("12");
    let (id, event) = elsewhere.peer.sign(elsewhere.invitation(&alice.id), "12");
    let body = json!({ "room_version": "13", "event": event, "invite_room_state": [] });
    let target = format!("/v2/invite/{}/{}", encode(&elsewhere.room), encode(&id));
    let answer = elsewhere.peer.put(&network[0], &target, &body);
    answer.refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    assert_eq!(answer.body["room_version"], "13");
}

#[test]
fn who_takes_no_invitations_gets_none() {
    let (network, alice) = host();
    let (host, elsewhere) = (&network[0], elsewhere("12"));
    let target = format!("/_matrix/client/v3/user/{}/account_data/m.invite_permission_config", encode(&alice.id));
    host.put(&alice, &target, json!({ "default_action": "block" })).ok();
    elsewhere.put(host, elsewhere.invitation(&alice.id), elsewhere.told()).refused(403, "M_INVITE_BLOCKED");
    assert!(host.sync(&alice, None)["rooms"]["invite"].as_object().unwrap().is_empty());
}

#[test]
fn in_a_room_that_the_server_is_in_an_invitation_comes_as_its_event() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let carol = host.register("carol");
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    peer.join(host, &room, &peer.user("bob"));
    let invitation = |depth: u64| {
        let event = json!({
            "type": "m.room.member", "state_key": carol.id, "room_id": room, "sender": peer.user("bob"),
            "content": { "membership": "invite" }, "origin_server_ts": 3, "depth": depth, "prev_events": ["$x"], "auth_events": ["$x"],
        });
        let (id, event) = peer.sign(event, "12");
        let state = peer.get(host, &format!("/v1/state/{}?event_id={}", encode(&room), encode(&host.send(&alice, &room, "hello"))));
        let told =
            state.body["pdus"].as_array().map(|pdus| pdus.iter().filter(|event| event["type"] == "m.room.create").cloned().collect());
        let body = json!({ "room_version": "12", "event": event, "invite_room_state": told.unwrap_or_else(|| vec![json!({})]) });
        (format!("/v2/invite/{}/{}", encode(&room), encode(&id)), body)
    };
    let (target, body) = invitation(9);
    assert!(peer.put(host, &target, &body).ok().body["event"]["signatures"][host.name()].is_object());
    assert!(host.sync(&carol, None)["rooms"]["invite"].as_object().unwrap().is_empty());
    let (target, body) = invitation(10);
    host.put_state(&alice, &room, "m.room.server_acl", "", json!({ "allow": ["*"], "deny": [peer.name()] }));
    peer.put(host, &target, &body).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_wrong_version_told_with_an_invitation_keeps_nobody_from_joining() {
    for (version, told) in [("11", "1"), ("12", "10"), ("1", "11")] {
        let mut network = Network::of_keys(2);
        let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
        let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
        let liar = Elsewhere { room: room.clone(), create: Value::Null, ..elsewhere(told) };
        let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
        liar.put(&network[1], liar.invitation(&bob.id), json!([])).ok();
        assert!(network[1].sync(&bob, Some(&since))["rooms"]["invite"][&room].is_object());
        let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&network[0].name()));
        network[1].post(&bob, &target, json!({})).ok();
        network.run();
        let id = network[1].send(&bob, &room, "hello");
        network.run();
        network[0].get(&alice, &support::room_path(&room, &format!("event/{}", encode(&id)))).ok();
        network[1].restart();
        for since in [None, Some(&*since)] {
            assert!(network[1].sync(&bob, since)["rooms"]["join"][&room].is_object());
        }
        network[1].send(&bob, &room, "again");
    }
}

#[test]
fn a_server_has_a_bounded_number_of_invitations_without_an_answer() {
    let (network, alice) = host();
    let host = &network[0];
    let invite = |seed: u8, number: usize| {
        let peer = Peer::new(seed);
        let room = format!("!room{number}:{}", peer.name());
        let elsewhere = Elsewhere { peer, version: "10", room, create: Value::Null };
        elsewhere.put(host, elsewhere.invitation(&alice.id), json!([]))
    };
    for number in 0..50 {
        invite(7, number).ok();
    }
    invite(7, 50).refused(403, "M_FORBIDDEN");
    invite(7, 3).ok();
    invite(8, 50).ok();
    let first = format!("!room0:{}", Peer::new(7).name());
    host.leave(&alice, &first);
    invite(7, 50).ok();
}
