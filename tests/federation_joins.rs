//! Users of other servers who join, leave and knock, and what their servers are told and let in by.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::event::{RawPdu, RoomVersion};
use serde_json::{Value, json};
use support::{
    Host, Network, User, encode,
    peer::{Peer, id_of, keys_of},
};

/// A host whose name is made of its key, with a user.
fn host() -> (Network, User) {
    let network = Network::of_keys(1);
    let alice = network[0].register("alice");
    (network, alice)
}

fn public_room(host: &Host, user: &User, version: &str) -> String {
    host.create_room(user, json!({ "preset": "public_chat", "room_version": version, "name": "Hall" }))
}

/// Every event of the list is what its server signed.
fn check_all(events: &Value, version: &str, names: &[String]) {
    let version = RoomVersion::parse(version).unwrap();
    for event in events.as_array().unwrap() {
        RawPdu::parse(event.to_string().as_bytes()).unwrap().check(&version, &keys_of(names)).unwrap();
    }
}

#[test]
fn a_user_of_another_server_joins_in_every_room_version() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    for version in 1..=12 {
        let version = version.to_string();
        let room = public_room(host, &alice, &version);
        let bob = peer.user("bob");
        let (id, answer) = peer.shake(host, "join", &room, &bob);
        let answer = answer.ok().body;
        let names = [host.name(), peer.name()];
        check_all(&answer["state"], &version, &names);
        check_all(&answer["auth_chain"], &version, &names);
        assert_eq!(id_of(&answer["event"], &version), id);
        assert_eq!(answer["members_omitted"], false);
        let state = answer["state"].as_array().unwrap();
        assert!(state.iter().any(|event| event["type"] == "m.room.create"));
        assert!(state.iter().all(|event| event["state_key"] != bob.as_str()), "the state is that before the join");
        assert_eq!(host.state(&alice, &room, "m.room.member", &bob).ok().body["membership"], "join");
    }
}

#[test]
fn who_signs_for_another_server_or_asks_twice_changes_nothing() {
    let (network, alice) = host();
    let (host, peer, other) = (&network[0], Peer::new(7), Peer::new(8));
    let room = public_room(host, &alice, "12");
    let bob = peer.user("bob");
    other.make(host, "join", &room, &bob).refused(403, "M_FORBIDDEN");
    let made = peer.make(host, "join", &room, &bob).ok().body;
    let (forged_id, forged) = other.sign(made["event"].clone(), "12");
    let target = |id: &str| format!("/v2/send_join/{}/{}", encode(&room), encode(id));
    peer.put(host, &target(&forged_id), &forged).refused(400, "M_INVALID_PARAM");
    let (id, event) = peer.sign(made["event"].clone(), "12");
    other.put(host, &target(&id), &event).refused(400, "M_INVALID_PARAM");
    peer.put(host, &target("$other"), &event).refused(400, "M_INVALID_PARAM");
    let first = peer.put(host, &target(&id), &event).ok().body;
    let second = peer.put(host, &target(&id), &event).ok().body;
    assert_eq!(first, second);
    let mut changed = made["event"].clone();
    changed["content"]["membership"] = "leave".into();
    let (id, leave) = peer.sign(changed, "12");
    peer.put(host, &target(&id), &leave).refused(400, "M_INVALID_PARAM");
}

#[test]
fn an_old_server_gets_an_old_answer() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = public_room(host, &alice, "6");
    let bob = peer.user("bob");
    let event = peer.make(host, "join", &room, &bob).ok().body["event"].clone();
    let (id, event) = peer.sign(event, "6");
    let answer = peer.put(host, &format!("/v1/send_join/{}/{}", encode(&room), encode(&id)), &event).ok().body;
    assert_eq!(answer[0], 200);
    assert!(answer[1]["state"].as_array().is_some_and(|state| !state.is_empty()));
    let event = peer.make(host, "leave", &room, &bob).ok().body["event"].clone();
    let (id, event) = peer.sign(event, "6");
    let answer = peer.put(host, &format!("/v1/send_leave/{}/{}", encode(&room), encode(&id)), &event).ok().body;
    assert_eq!(answer, json!([200, {}]));
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob).ok().body["membership"], "leave");
}

#[test]
fn a_server_that_lacks_the_version_is_told_which_it_is() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = public_room(host, &alice, "11");
    let target = format!("/v1/make_join/{}/{}", encode(&room), encode(&peer.user("bob")));
    for query in ["", "?ver=10&ver=12"] {
        let answer = peer.get(host, &format!("{target}{query}"));
        answer.refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
        assert_eq!(answer.body["room_version"], "11");
    }
    peer.get(host, &format!("{target}?ver=10&ver=11")).ok();
    peer.get(host, &format!("/v1/make_join/{}/{}?ver=1", encode("!no:where"), encode(&peer.user("bob")))).refused(404, "M_NOT_FOUND");
}

#[test]
fn whom_the_room_does_not_want_does_not_come_in() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let bob = peer.user("bob");
    let closed = host.create_room(&alice, json!({ "preset": "private_chat" }));
    peer.make(host, "join", &closed, &bob).refused(403, "M_FORBIDDEN");
    peer.make(host, "leave", &closed, &bob).refused(403, "M_FORBIDDEN");
    let open = public_room(host, &alice, "12");
    let template = peer.make(host, "join", &open, &bob).ok().body["event"].clone();
    host.post(&alice, &support::room_path(&open, "ban"), json!({ "user_id": bob })).ok();
    // The template is from before the ban, and so is the place in the graph that it has.
    let (id, event) = peer.sign(template, "12");
    peer.put(host, &format!("/v2/send_join/{}/{}", encode(&open), encode(&id)), &event).refused(403, "M_FORBIDDEN");
    assert_eq!(host.state(&alice, &open, "m.room.member", &bob).ok().body["membership"], "ban");
}

#[test]
fn a_server_that_the_room_shuts_out_gets_nothing() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = public_room(host, &alice, "12");
    let bob = peer.user("bob");
    peer.join(host, &room, &bob);
    let template = peer.make(host, "leave", &room, &bob).ok().body["event"].clone();
    let event = host.send(&alice, &room, "hello");
    host.put_state(&alice, &room, "m.room.server_acl", "", json!({ "allow": ["*"], "deny": [peer.name()] }));
    let (room_path, event_path) = (encode(&room), encode(&event));
    for target in [
        format!("/v1/make_join/{room_path}/{}?ver=12", encode(&bob)),
        format!("/v1/make_leave/{room_path}/{}", encode(&bob)),
        format!("/v1/make_knock/{room_path}/{}?ver=12", encode(&bob)),
        format!("/v1/state/{room_path}?event_id={event_path}"),
        format!("/v1/state_ids/{room_path}?event_id={event_path}"),
        format!("/v1/event_auth/{room_path}/{event_path}"),
        format!("/v1/backfill/{room_path}?v={event_path}&limit=1"),
        format!("/v1/timestamp_to_event/{room_path}?ts=1&dir=f"),
    ] {
        peer.get(host, &target).refused(403, "M_FORBIDDEN");
    }
    peer.get(host, &format!("/v1/event/{event_path}")).refused(404, "M_NOT_FOUND");
    let missing = json!({ "earliest_events": [], "latest_events": [event] });
    peer.post(host, &format!("/v1/get_missing_events/{room_path}"), &missing).refused(403, "M_FORBIDDEN");
    let (id, event) = peer.sign(template, "12");
    for path in ["/v1/send_leave", "/v2/send_leave", "/v1/send_join", "/v2/send_join", "/v1/send_knock"] {
        peer.put(host, &format!("{path}/{room_path}/{}", encode(&id)), &event).refused(403, "M_FORBIDDEN");
    }
    let signed = json!({ "mxid": bob, "token": "t", "signatures": {} });
    let content = json!({ "membership": "invite", "third_party_invite": { "display_name": "b", "signed": signed } });
    let exchange = json!({ "type": "m.room.member", "room_id": room, "sender": alice.id, "state_key": bob, "content": content });
    let answer = peer.put(host, &format!("/v1/exchange_third_party_invite/{room_path}"), &exchange);
    answer.refused(403, "M_FORBIDDEN");
    assert!(answer.body["error"].as_str().unwrap().contains("shuts"), "{}", answer.body);
    let transaction = json!({ "origin": peer.name(), "origin_server_ts": 1, "pdus": [event] });
    let told = peer.put(host, "/v1/send/t", &transaction).ok().body;
    assert!(told["pdus"][&id]["error"].as_str().unwrap().contains("shuts"), "{told}");
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob).ok().body["membership"], "join");
}

#[test]
fn a_knock_is_heard_and_the_room_describes_itself() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
    let room = host.create_room(&alice, json!({ "preset": "private_chat", "name": "Den", "initial_state": rules }));
    let bob = peer.user("bob");
    let answer = peer.shake(host, "knock", &room, &bob).1.ok().body;
    let state = &answer["knock_room_state"];
    check_all(state, "12", &[host.name()]);
    for (kind, content) in [("m.room.create", None), ("m.room.name", Some(json!({ "name": "Den" })))] {
        let event = state.as_array().unwrap().iter().find(|event| event["type"] == kind).unwrap();
        assert!(content.is_none_or(|content| event["content"] == content), "{event}");
    }
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob).ok().body["membership"], "knock");
    peer.shake(host, "leave", &room, &bob).1.ok();
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob).ok().body["membership"], "leave");
    let closed = host.create_room(&alice, json!({ "preset": "private_chat" }));
    peer.make(host, "knock", &closed, &bob).refused(403, "M_FORBIDDEN");
}

fn restricted_room(host: &Host, user: &User, allowed: &[&str], rule: &str) -> String {
    let allow: Vec<_> = allowed.iter().map(|room| json!({ "type": "m.room_membership", "room_id": room })).collect();
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": rule, "allow": allow } }]);
    host.create_room(user, json!({ "preset": "private_chat", "initial_state": rules }))
}

#[test]
fn membership_of_another_room_opens_a_restricted_one() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let bob = peer.user("bob");
    let hall = public_room(host, &alice, "12");
    for rule in ["restricted", "knock_restricted"] {
        let den = restricted_room(host, &alice, &[&hall], rule);
        peer.make(host, "join", &den, &peer.user("stranger")).refused(403, "M_FORBIDDEN");
        peer.join(host, &hall, &bob);
        let made = peer.make(host, "join", &den, &bob).ok().body;
        assert_eq!(made["event"]["content"]["join_authorised_via_users_server"], alice.id);
        let (id, event) = peer.sign(made["event"].clone(), "12");
        let answer = peer.put(host, &format!("/v2/send_join/{}/{}", encode(&den), encode(&id)), &event).ok().body;
        let signed = &answer["event"];
        assert!(signed["signatures"][host.name()].is_object(), "the authorising server signs");
        check_all(&json!([signed]), "12", &[host.name(), peer.name()]);
        // Who is in needs nobody to vouch for them.
        assert!(peer.make(host, "join", &den, &bob).ok().body["event"]["content"].get("join_authorised_via_users_server").is_none());
        peer.shake(host, "leave", &hall, &bob).1.ok();
    }
}

#[test]
fn nobody_vouches_who_may_not() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let bob = peer.user("bob");
    let elsewhere = restricted_room(host, &alice, &["!unknown:elsewhere.example"], "restricted");
    peer.make(host, "join", &elsewhere, &bob).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");
    let hall = public_room(host, &alice, "12");
    peer.join(host, &hall, &bob);
    let den = restricted_room(host, &alice, &[&hall], "restricted");
    let template = peer.make(host, "join", &den, &bob).ok().body["event"].clone();
    peer.shake(host, "leave", &hall, &bob).1.ok();
    // The permission was for a member of the hall.
    let (id, event) = peer.sign(template, "12");
    peer.put(host, &format!("/v2/send_join/{}/{}", encode(&den), encode(&id)), &event).refused(403, "M_FORBIDDEN");
    peer.join(host, &hall, &bob);
    let old = host.create_room(
        &alice,
        json!({ "preset": "private_chat", "room_version": "11", "power_level_content_override": { "invite": 101 }, "initial_state": [
            { "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }] } },
        ] }),
    );
    peer.make(host, "join", &old, &bob).refused(400, "M_UNABLE_TO_GRANT_JOIN");
}

/// State that makes a room a large one.
fn filling() -> Value {
    (0..100).map(|number| json!({ "type": "com.example.row", "state_key": number.to_string(), "content": {} })).collect()
}

#[test]
fn a_small_room_is_told_whole() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = public_room(host, &alice, "12");
    let template = peer.make(host, "join", &room, &peer.user("bob")).ok().body["event"].clone();
    let (id, event) = peer.sign(template, "12");
    let answer = peer.put(host, &format!("/v2/send_join/{}/{}?omit_members=true", encode(&room), encode(&id)), &event).ok().body;
    assert_eq!((&answer["members_omitted"], answer.get("servers_in_room")), (&json!(false), None));
    assert!(answer["state"].as_array().unwrap().iter().any(|event| event["state_key"] == alice.id));
}

#[test]
fn a_large_room_is_told_without_its_members() {
    let (network, alice) = host();
    let host = &network[0];
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "name": "hall", "initial_state": filling() }));
    let others: Vec<_> = (10..13).map(Peer::new).collect();
    for other in &others {
        other.join(host, &room, &other.user("someone"));
    }
    let peer = Peer::new(7);
    let template = peer.make(host, "join", &room, &peer.user("bob")).ok().body["event"].clone();
    let (id, event) = peer.sign(template, "12");
    let answer = peer.put(host, &format!("/v2/send_join/{}/{}?omit_members=true", encode(&room), encode(&id)), &event).ok().body;
    assert_eq!(answer["members_omitted"], true);
    let state = answer["state"].as_array().unwrap();
    assert!(state.iter().all(|event| event["type"] != "m.room.member"), "{state:?}");
    let mut names: Vec<_> = others.iter().map(Peer::name).chain([host.name()]).collect();
    names.sort();
    assert_eq!(answer["servers_in_room"], json!(names));
    // What authorises the state is told all the same, once.
    let ids: Vec<_> = state.iter().chain(answer["auth_chain"].as_array().unwrap()).map(|event| id_of(event, "12")).collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    assert!(answer["auth_chain"].as_array().unwrap().iter().any(|event| event["state_key"] == alice.id));
}

#[test]
fn the_members_of_a_room_without_a_name_are_told() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "initial_state": filling() }));
    let template = peer.make(host, "join", &room, &peer.user("bob")).ok().body["event"].clone();
    let (id, event) = peer.sign(template, "12");
    let answer = peer.put(host, &format!("/v2/send_join/{}/{}?omit_members=true", encode(&room), encode(&id)), &event).ok().body;
    assert_eq!(answer["members_omitted"], true);
    assert!(answer["state"].as_array().unwrap().iter().any(|event| event["state_key"] == alice.id));
}

#[test]
fn what_is_missing_before_a_join_is_asked_for() {
    let network = Network::of_keys(2);
    let (alice, bob, peer) = (network[0].register("alice"), network[1].register("bob"), Peer::new(7));
    let room = public_room(&network[0], &alice, "12");
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).ok();
    network.run();
    // The second server has not heard of what the first one has given the join its place behind.
    network.treat(|carried| match carried.target.contains("/send/") {
        true => support::network::Treatment::Lose,
        false => support::network::Treatment::Carry,
    });
    let unheard = ["one", "two"].map(|text| network[0].send(&alice, &room, text));
    let eve = peer.user("eve");
    for (what, membership) in [("join", "join"), ("leave", "leave")] {
        let made = peer.make(&network[0], what, &room, &eve).ok().body;
        let (id, event) = peer.sign(made["event"].clone(), "12");
        peer.put(&network[1], &format!("/v2/send_{what}/{}/{}", encode(&room), encode(&id)), &event).ok();
        assert_eq!(network[1].state(&bob, &room, "m.room.member", &eve).ok().body["membership"], membership);
        // The first hears of it by that server, or there is no second round.
        network.treat_well();
        network.advance_in_steps(60_000, 20);
        assert_eq!(network[0].state(&alice, &room, "m.room.member", &eve).ok().body["membership"], membership, "{what} is passed on");
    }
    for id in unheard {
        network[1].get(&bob, &support::room_path(&room, &format!("event/{}", encode(&id)))).ok();
    }
}

#[test]
fn a_join_behind_events_that_nobody_has_is_refused() {
    let (network, alice) = host();
    let (host, peer) = (&network[0], Peer::new(7));
    let room = public_room(host, &alice, "12");
    let eve = peer.user("eve");
    let mut event = peer.make(host, "join", &room, &eve).ok().body["event"].clone();
    event["prev_events"] = json!(["$nobody-has-this-one"]);
    let (id, event) = peer.sign(event, "12");
    peer.put(host, &format!("/v2/send_join/{}/{}", encode(&room), encode(&id)), &event).refused(404, "M_NOT_FOUND");
}
