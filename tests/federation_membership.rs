//! Invitations, knocks and leaves between servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::Response;
use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

fn two() -> (Network, User, User) {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    (network, alice, bob)
}

fn invite(host: &Host, user: &User, room: &str, invited: &User) -> Answer {
    host.post(user, &room_path(room, "invite"), json!({ "user_id": invited.id }))
}

/// What a sync tells of the rooms where the user is this.
fn rooms(host: &Host, user: &User, membership: &str) -> Value {
    host.sync(user, None)["rooms"][membership].clone()
}

fn membership(host: &Host, user: &User, room: &str, of: &User) -> Value {
    host.state(user, room, "m.room.member", &of.id).ok().body["membership"].clone()
}

fn has(events: &Value, kind: &str) -> bool {
    events.as_array().unwrap().iter().any(|event| event["type"] == kind)
}

#[test]
fn a_user_of_another_server_is_invited_and_joins_in_every_room_version() {
    for version in 1..=12 {
        let (network, alice, bob) = two();
        let body = json!({ "preset": "private_chat", "room_version": version.to_string(), "name": "Den" });
        let room = network[0].create_room(&alice, body);
        let mut waiting = network[1].begin_sync(&bob, Some(network[1].sync(&bob, None)["next_batch"].as_str().unwrap()), 20_000);
        invite(&network[0], &alice, &room, &bob).ok();
        assert_eq!(membership(&network[0], &alice, &room, &bob), "invite");
        let told = waiting.answer().expect("the poll ends").ok().body["rooms"]["invite"][&room]["invite_state"]["events"].clone();
        assert!(has(&told, "m.room.name") && has(&told, "m.room.create") && has(&told, "m.room.member"), "{told}");
        network[1].join(&bob, &room);
        assert_eq!(membership(&network[0], &alice, &room, &bob), "join");
        assert_eq!(membership(&network[1], &bob, &room, &bob), "join");
        assert_eq!(rooms(&network[1], &bob, "invite"), json!({}));
    }
}

#[test]
fn those_whom_a_new_room_invites_are_asked_by_their_servers() {
    let (network, alice, bob) = two();
    let carol = network[0].register("carol");
    let room = network[0].create_room(&alice, json!({ "preset": "trusted_private_chat", "is_direct": true, "invite": [bob.id, carol.id] }));
    for user in [&bob, &carol] {
        assert_eq!(network[0].state(&alice, &room, "m.room.member", &user.id).ok().body["is_direct"], true);
    }
    let told = rooms(&network[1], &bob, "invite")[&room]["invite_state"]["events"].clone();
    let member = told.as_array().unwrap().iter().find(|event| event["state_key"] == bob.id.as_str()).unwrap();
    assert_eq!(member["content"]["is_direct"], true);
}

#[test]
fn a_new_room_stays_though_an_invited_user_cannot_be_reached() {
    let (network, alice, bob) = two();
    network.cut(0, 1);
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat", "invite": [bob.id] }));
    network[0].state(&alice, &room, "m.room.member", &bob.id).refused(404, "M_NOT_FOUND");
    network.heal(0, 1);
    invite(&network[0], &alice, &room, &bob).ok();
}

#[test]
fn an_invitation_by_the_state_itself_is_sent_as_well() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    let first = network[0].put_state(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "invite" }));
    assert!(rooms(&network[1], &bob, "invite").get(&room).is_some());
    assert_eq!(network[0].put_state(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "invite" })), first);
}

#[test]
fn who_cannot_be_reached_is_not_invited_unless_a_relay_keeps_the_invitation() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    network.cut(0, 1);
    invite(&network[0], &alice, &room, &bob).refused(502, "M_UNREACHABLE");
    network[0].state(&alice, &room, "m.room.member", &bob.id).refused(404, "M_NOT_FOUND");
    network.treat(|_: &Carried| Treatment::Keep);
    invite(&network[0], &alice, &room, &bob).ok();
    assert_eq!(membership(&network[0], &alice, &room, &bob), "invite");
}

#[test]
fn who_takes_no_invitations_is_not_invited() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    let config = format!("/_matrix/client/v3/user/{}/account_data/m.invite_permission_config", encode(&bob.id));
    network[1].put(&bob, &config, json!({ "default_action": "block" })).ok();
    invite(&network[0], &alice, &room, &bob).refused(403, "M_INVITE_BLOCKED");
    network[0].state(&alice, &room, "m.room.member", &bob.id).refused(404, "M_NOT_FOUND");
}

#[test]
fn an_invitation_that_comes_back_as_another_is_not_believed() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    let other =
        json!({ "event": { "type": "m.room.member", "state_key": alice.id, "sender": alice.id, "content": { "membership": "ban" } } });
    network.treat(move |_: &Carried| Treatment::Answer(Response::ok(&other)));
    invite(&network[0], &alice, &room, &bob).refused(502, "M_UNKNOWN");
    network[0].state(&alice, &room, "m.room.member", &bob.id).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_server_of_old_is_invited_the_old_way() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat", "room_version": "1" }));
    network.treat(|carried: &Carried| match carried.target.contains("/v2/invite") {
        true => Treatment::Answer(Response::json(404, &json!({ "errcode": "M_UNRECOGNIZED", "error": "What?" }))),
        false => Treatment::Carry,
    });
    invite(&network[0], &alice, &room, &bob).ok();
    assert!(has(&rooms(&network[1], &bob, "invite")[&room]["invite_state"]["events"], "m.room.create"));
}

#[test]
fn an_invitation_is_declined_through_who_sent_it() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    invite(&network[0], &alice, &room, &bob).ok();
    let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
    network[1].leave(&bob, &room);
    assert_eq!(membership(&network[0], &alice, &room, &bob), "leave");
    let told = network[1].sync(&bob, Some(&since))["rooms"].clone();
    assert!(told["leave"].get(&room).is_some(), "{told}");
    assert_eq!(rooms(&network[1], &bob, "invite"), json!({}));
    invite(&network[0], &alice, &room, &bob).ok();
    network[1].join(&bob, &room);
}

#[test]
fn who_declines_has_left_even_if_nobody_is_there_to_be_told() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    invite(&network[0], &alice, &room, &bob).ok();
    network.cut(0, 1);
    network[1].leave(&bob, &room);
    assert_eq!(rooms(&network[1], &bob, "invite"), json!({}));
    network[1].post(&bob, &room_path(&room, "forget"), json!({})).ok();
}

#[test]
fn a_knock_is_answered_with_what_the_room_is_and_can_be_taken_back() {
    let (network, alice, bob) = two();
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } }]);
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat", "name": "Den", "initial_state": rules }));
    let knock = |via: &str| {
        let target = format!("/_matrix/client/v3/knock/{}?via={}", encode(&room), encode(via));
        network[1].post(&bob, &target, json!({ "reason": "it rains" }))
    };
    assert_eq!(knock(&network[0].name()).ok().body["room_id"], room.as_str());
    assert_eq!(network[0].state(&alice, &room, "m.room.member", &bob.id).ok().body["reason"], "it rains");
    let told = rooms(&network[1], &bob, "knock")[&room]["knock_state"]["events"].clone();
    assert!(has(&told, "m.room.name") && has(&told, "m.room.create"), "{told}");
    network[1].leave(&bob, &room);
    assert_eq!(membership(&network[0], &alice, &room, &bob), "leave");
    assert_eq!(rooms(&network[1], &bob, "knock"), json!({}));

    knock(&network[0].name()).ok();
    invite(&network[0], &alice, &room, &bob).ok();
    assert!(rooms(&network[1], &bob, "invite").get(&room).is_some());
    network[1].join(&bob, &room);
    assert_eq!(membership(&network[0], &alice, &room, &bob), "join");
}

#[test]
fn a_knock_that_the_room_does_not_want_is_refused() {
    let (network, alice, bob) = two();
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    let target = format!("/_matrix/client/v3/knock/{}?via={}", encode(&room), encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).refused(403, "M_FORBIDDEN");
    assert_eq!(rooms(&network[1], &bob, "knock"), json!({}));
}

#[test]
fn a_restricted_room_is_joined_by_members_of_the_other_room() {
    for version in ["8", "10", "12"] {
        let (network, alice, bob) = two();
        let carol = network[1].register("carol");
        let open = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
        let other = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
        let allow = [&open, &other].map(|room| json!({ "type": "m.room_membership", "room_id": room }));
        let rules = json!({ "join_rule": "restricted", "allow": allow });
        let body = json!({
            "preset": "private_chat",
            "room_version": version,
            "initial_state": [{ "type": "m.room.join_rules", "state_key": "", "content": rules }],
            "power_level_content_override": { "invite": 50 },
        });
        let room = network[0].create_room(&alice, body);
        let join = |user: &User, room: &str| {
            let target = format!("/_matrix/client/v3/join/{}?via={}", encode(room), encode(&network[0].name()));
            network[1].post(user, &target, json!({}))
        };
        join(&bob, &room).refused(403, "M_FORBIDDEN");
        join(&bob, &open).ok();
        join(&bob, &room).ok();
        let content = network[1].state(&bob, &room, "m.room.member", &bob.id).ok().body;
        assert_eq!(content["join_authorised_via_users_server"], alice.id.as_str());
        // Bob's server is in the room by now, and nobody of it may let Carol in.
        join(&carol, &other).ok();
        join(&carol, &room).ok();
        assert_eq!(membership(&network[0], &alice, &room, &carol), "join");
        assert_eq!(membership(&network[1], &bob, &room, &carol), "join");
    }
}
