//! Room membership: every way in and out, who is told of whom, and what each refusal is called.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use inglenook::http::Method;
use serde_json::{Value, json};
use support::{Answer, Host, User, encode, room_path};

#[track_caller]
fn change(host: &Host, by: &User, room: &str, verb: &str, target: &User) -> Answer {
    host.post(by, &room_path(room, verb), json!({ "user_id": target.id }))
}

fn membership(host: &Host, viewer: &User, room: &str, target: &User) -> String {
    host.state(viewer, room, "m.room.member", &target.id).ok().text("membership")
}

/// The ID of somebody's membership event.
fn state_event(host: &Host, viewer: &User, room: &str, target: &User) -> String {
    let path = room_path(room, &format!("state/m.room.member/{}?format=event", encode(&target.id)));
    host.get(viewer, &path).ok().text("event_id")
}

fn join(host: &Host, user: &User, room: &str) -> Answer {
    host.post(user, &room_path(room, "join"), json!({}))
}

fn joined_rooms(host: &Host, user: &User) -> Value {
    host.get(user, "/_matrix/client/v3/joined_rooms").ok().body["joined_rooms"].clone()
}

fn set_join_rule(host: &Host, user: &User, room: &str, content: Value) {
    host.put_state(user, room, "m.room.join_rules", "", content);
}

/// A room of Alice's, with Bob in it.
fn room_of_two(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "invite": [bob.id] }));
    host.join(&bob, &room);
    (alice, bob, room)
}

#[test]
fn an_invitation_lets_in_and_nothing_else_does() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let room = host.create_room(&alice, json!({}));
    join(&host, &bob, &room).refused(403, "M_FORBIDDEN");
    change(&host, &alice, &room, "invite", &bob).ok();
    change(&host, &alice, &room, "invite", &bob).ok();
    change(&host, &bob, &room, "invite", &carol).refused(403, "M_FORBIDDEN");
    assert_eq!(join(&host, &bob, &room).ok().body, json!({ "room_id": room }));
    assert_eq!(joined_rooms(&host, &bob), json!([room]));
    change(&host, &alice, &room, "invite", &bob).refused(403, "M_FORBIDDEN");
    let before = state_event(&host, &alice, &room, &bob);
    join(&host, &bob, &room).ok();
    assert_eq!(state_event(&host, &alice, &room, &bob), before, "joining again changes nothing");
}

#[test]
fn member_events_carry_the_profile_and_the_reason() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let name = format!("/_matrix/client/v3/profile/{}/displayname", encode(&bob.id));
    host.put(&bob, &name, json!({ "displayname": "Bob the Builder" })).ok();
    let room = host.create_room(&alice, json!({}));
    host.post(&alice, &room_path(&room, "invite"), json!({ "user_id": bob.id, "reason": "Come" })).ok();
    let expected = |membership: &str, reason: &str| json!({ "membership": membership, "displayname": "Bob the Builder", "reason": reason });
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob.id).ok().body, expected("invite", "Come"));
    host.post(&bob, &room_path(&room, "join"), json!({ "reason": "Gladly" })).ok();
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob.id).ok().body, expected("join", "Gladly"));
    host.post(&bob, &room_path(&room, "leave"), json!({ "reason": "Bored" })).ok();
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob.id).ok().body, json!({ "membership": "leave", "reason": "Bored" }));
}

#[test]
fn a_public_room_is_joined_by_its_alias() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat", "room_alias_name": "pub" }));
    let target = |name: &str| format!("/_matrix/client/v3/join/{}", encode(name));
    assert_eq!(host.post(&bob, &target("#pub:example.org"), json!({})).ok().body, json!({ "room_id": room }));
    host.post(&bob, &target(&room), json!({})).ok();
    host.post(&bob, &target("#inn:example.org"), json!({})).refused(404, "M_NOT_FOUND");
    host.post(&bob, &target("!gone:example.org"), json!({})).refused(404, "M_NOT_FOUND");
    host.post(&bob, &target("#pub:elsewhere.example"), json!({})).refused(502, "M_UNREACHABLE");
    host.post(&bob, &target("pub"), json!({})).refused(400, "M_INVALID_PARAM");
    join(&host, &bob, "!gone:example.org").refused(404, "M_NOT_FOUND");
}

#[test]
fn leaving_rejects_invitations_and_may_be_repeated() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    host.leave(&bob, &room);
    host.leave(&bob, &room);
    assert_eq!(membership(&host, &alice, &room, &bob), "leave");
    assert_eq!(joined_rooms(&host, &bob), json!([]));
    join(&host, &bob, &room).refused(403, "M_FORBIDDEN");
    host.invite(&alice, &room, &bob);
    host.leave(&bob, &room);
    assert_eq!(membership(&host, &alice, &room, &bob), "leave");
    let carol = host.register("carol");
    host.post(&carol, &room_path(&room, "leave"), json!({})).refused(403, "M_FORBIDDEN");
    host.post(&carol, &room_path("!gone:example.org", "leave"), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn kicking_needs_power_and_a_member() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    let carol = host.register("carol");
    change(&host, &bob, &room, "kick", &alice).refused(403, "M_FORBIDDEN");
    change(&host, &alice, &room, "kick", &carol).refused(403, "M_FORBIDDEN");
    host.post(&alice, &room_path(&room, "kick"), json!({ "user_id": bob.id, "reason": "Rude" })).ok();
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob.id).ok().body, json!({ "membership": "leave", "reason": "Rude" }));
    change(&host, &alice, &room, "kick", &bob).refused(403, "M_FORBIDDEN");
    change(&host, &carol, &room, "kick", &alice).refused(403, "M_FORBIDDEN");
    host.post(&alice, &room_path(&room, "kick"), json!({})).refused(400, "M_BAD_JSON");
    change(&host, &alice, "!gone:example.org", "kick", &bob).refused(403, "M_FORBIDDEN");
}

#[test]
fn the_banned_stay_out_until_unbanned() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    change(&host, &bob, &room, "ban", &alice).refused(403, "M_FORBIDDEN");
    change(&host, &alice, &room, "unban", &bob).refused(403, "M_BAD_STATE");
    change(&host, &alice, &room, "ban", &bob).ok();
    assert_eq!(membership(&host, &alice, &room, &bob), "ban");
    change(&host, &alice, &room, "invite", &bob).refused(403, "M_FORBIDDEN");
    change(&host, &alice, &room, "kick", &bob).refused(403, "M_FORBIDDEN");
    assert_eq!(membership(&host, &alice, &room, &bob), "ban", "kicking does not unban");
    set_join_rule(&host, &alice, &room, json!({ "join_rule": "public" }));
    join(&host, &bob, &room).refused(403, "M_FORBIDDEN");
    host.post(&bob, &room_path(&room, "leave"), json!({})).refused(403, "M_FORBIDDEN");
    let carol = host.register("carol");
    change(&host, &carol, &room, "unban", &bob).refused(403, "M_FORBIDDEN");
    change(&host, &alice, &room, "unban", &bob).ok();
    join(&host, &bob, &room).ok();
}

#[test]
fn forgetting_needs_leaving_and_is_undone_by_joining() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    let forget = |user: &User| host.post(user, &room_path(&room, "forget"), json!({}));
    forget(&bob).refused(400, "M_UNKNOWN");
    host.leave(&bob, &room);
    host.get(&bob, &room_path(&room, "state")).ok();
    forget(&bob).ok();
    forget(&bob).ok();
    host.get(&bob, &room_path(&room, "state")).refused(403, "M_FORBIDDEN");
    host.invite(&alice, &room, &bob);
    forget(&bob).refused(400, "M_UNKNOWN");
    host.join(&bob, &room);
    host.leave(&bob, &room);
    host.get(&bob, &room_path(&room, "state")).ok();
    forget(&host.register("carol")).refused(404, "M_NOT_FOUND");
}

#[test]
fn knocking_asks_for_an_invitation() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({}));
    let knock = |user: &User, room: &str| host.post(user, &format!("/_matrix/client/v3/knock/{}", encode(room)), json!({ "reason": "Me" }));
    knock(&bob, &room).refused(403, "M_FORBIDDEN");
    set_join_rule(&host, &alice, &room, json!({ "join_rule": "knock" }));
    assert_eq!(knock(&bob, &room).ok().body, json!({ "room_id": room }));
    assert_eq!(host.state(&alice, &room, "m.room.member", &bob.id).ok().body["reason"], "Me");
    join(&host, &bob, &room).refused(403, "M_FORBIDDEN");
    host.leave(&bob, &room);
    assert_eq!(membership(&host, &alice, &room, &bob), "leave", "a knock can be taken back");
    knock(&bob, &room).ok();
    host.invite(&alice, &room, &bob);
    knock(&bob, &room).refused(403, "M_FORBIDDEN");
    join(&host, &bob, &room).ok();
    knock(&bob, &room).refused(403, "M_FORBIDDEN");
    knock(&bob, "!gone:example.org").refused(404, "M_NOT_FOUND");
    let old = host.create_room(&alice, json!({ "room_version": "6", "preset": "public_chat" }));
    knock(&bob, &old).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_restricted_room_opens_to_members_of_another() {
    for (version, rule) in [("8", "restricted"), ("10", "knock_restricted"), ("12", "restricted")] {
        let host = Host::new();
        let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
        let club = host.create_room(&alice, json!({ "preset": "public_chat", "room_version": version }));
        let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
        let room = host.create_room(
            &alice,
            json!({ "room_version": version, "initial_state": [
                { "type": "m.room.join_rules", "content": { "join_rule": rule, "allow": allow } },
            ] }),
        );
        join(&host, &bob, &room).refused(403, "M_FORBIDDEN");
        host.join(&bob, &club);
        join(&host, &bob, &room).ok();
        let content = host.state(&alice, &room, "m.room.member", &bob.id).ok().body;
        assert_eq!(content["join_authorised_via_users_server"], json!(alice.id), "version {version}");
        host.invite(&alice, &room, &carol);
        join(&host, &carol, &room).ok();
        let content = host.state(&alice, &room, "m.room.member", &carol.id).ok().body;
        assert_eq!(content.get("join_authorised_via_users_server"), None, "an invitation is enough");
    }
}

#[test]
fn a_restricted_room_needs_somebody_who_vouches() {
    let host = Host::new();
    let (alice, bob, carol) = (host.register("alice"), host.register("bob"), host.register("carol"));
    let club = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let restricted = |rooms: &[&str]| {
        let allow: Vec<_> = rooms.iter().map(|room| json!({ "type": "m.room_membership", "room_id": room })).collect();
        json!([{ "type": "m.room.join_rules", "content": { "join_rule": "restricted", "allow": allow } }])
    };
    let room = host.create_room(&alice, json!({ "invite": [bob.id], "initial_state": restricted(&[&club]) }));
    host.join(&bob, &room);
    host.join(&carol, &club);
    host.put_state(&alice, &room, "m.room.power_levels", "", json!({ "invite": 10 }));
    host.leave(&alice, &room);
    join(&host, &carol, &room).refused(400, "M_UNABLE_TO_GRANT_JOIN");

    // Everybody may invite here, so that any member vouches, though the power levels name none.
    let open = host.create_room(&alice, json!({ "invite": [bob.id], "initial_state": restricted(&[&club]) }));
    host.join(&bob, &open);
    host.leave(&alice, &open);
    join(&host, &carol, &open).ok();

    let unknown = host.create_room(&alice, json!({ "initial_state": restricted(&["!far:elsewhere.example"]) }));
    join(&host, &carol, &unknown).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");
    let nowhere = host.create_room(&alice, json!({ "initial_state": restricted(&[]) }));
    join(&host, &carol, &nowhere).refused(403, "M_FORBIDDEN");
}

#[test]
fn invitations_that_nobody_takes_are_refused() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({}));
    let invite = |body: Value| host.post(&alice, &room_path(&room, "invite"), body);
    invite(json!({ "user_id": "@bob:elsewhere.example" })).refused(502, "M_UNREACHABLE");
    invite(json!({ "user_id": "bob" })).refused(400, "M_BAD_JSON");
    invite(json!({})).refused(400, "M_BAD_JSON");
    let third_party = json!({ "id_server": "id.example.org", "id_access_token": "t", "medium": "email", "address": "b@example.org" });
    invite(third_party).refused(400, "M_SERVER_NOT_TRUSTED");

    let config = format!("/_matrix/client/v3/user/{}/account_data/m.invite_permission_config", encode(&bob.id));
    host.put(&bob, &config, json!({ "default_action": "block" })).ok();
    invite(json!({ "user_id": bob.id })).refused(403, "M_INVITE_BLOCKED");
    host.post(&alice, "/_matrix/client/v3/createRoom", json!({ "invite": [bob.id] })).refused(403, "M_INVITE_BLOCKED");
    let state = room_path(&room, &format!("state/m.room.member/{}", encode(&bob.id)));
    host.put(&alice, &state, json!({ "membership": "invite" })).refused(403, "M_INVITE_BLOCKED");
    host.put(&bob, &config, json!({})).ok();
    invite(json!({ "user_id": bob.id })).ok();
}

#[test]
fn members_are_listed_by_membership() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    let (carol, dora) = (host.register("carol"), host.register("dora"));
    host.invite(&alice, &room, &carol);
    change(&host, &alice, &room, "ban", &dora).ok();
    let list = |user: &User, query: &str| {
        let body = host.get(user, &room_path(&room, &format!("members{query}"))).ok().body;
        let mut users: Vec<_> =
            body["chunk"].as_array().expect("a list").iter().map(|event| event["state_key"].as_str().expect("a user").to_owned()).collect();
        users.sort();
        users
    };
    assert_eq!(list(&alice, ""), [&*alice.id, &bob.id, &carol.id, &dora.id]);
    assert_eq!(list(&alice, "?membership=join"), [&*alice.id, &bob.id]);
    assert_eq!(list(&alice, "?membership=invite"), [&*carol.id]);
    assert_eq!(list(&alice, "?not_membership=join"), [&*carol.id, &dora.id]);
    assert_eq!(list(&alice, "?not_membership=join&membership=join").len(), 4, "either is enough");
    host.get(&alice, &room_path(&room, "members?membership=here")).refused(400, "M_INVALID_PARAM");

    host.leave(&bob, &room);
    change(&host, &alice, &room, "kick", &carol).ok();
    assert_eq!(list(&bob, "?membership=invite"), [&*carol.id], "as it was when he left");
    assert_eq!(list(&bob, "?membership=leave"), [&*bob.id]);
    assert_eq!(list(&alice, "?membership=leave"), [&*bob.id, &carol.id]);
    host.get(&dora, &room_path(&room, "members")).refused(403, "M_FORBIDDEN");
    host.get(&dora, &room_path("!gone:example.org", "members")).refused(403, "M_FORBIDDEN");
}

#[test]
fn members_are_listed_as_of_a_token() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let page = host.get(&alice, &room_path(&room, "messages?dir=b&limit=1")).ok().body;
    let before = page["end"].as_str().expect("a token").to_owned();
    host.join(&bob, &room);
    let at = |token: &str| {
        let body = host.get(&alice, &room_path(&room, &format!("members?at={}", encode(token)))).ok().body;
        body["chunk"].as_array().expect("a list").len()
    };
    assert_eq!(at(&before), 1);
    host.get(&alice, &room_path(&room, "members?at=nonsense")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn joined_members_are_shown_with_their_names() {
    let host = Host::new();
    let (alice, bob, room) = room_of_two(&host);
    let carol = host.register("carol");
    host.invite(&alice, &room, &carol);
    let name = format!("/_matrix/client/v3/profile/{}/displayname", encode(&bob.id));
    host.put(&bob, &name, json!({ "displayname": "Bob" })).ok();
    let body = host.get(&alice, &room_path(&room, "joined_members")).ok().body;
    assert_eq!(body["joined"].as_object().map(|joined| joined.len()), Some(2));
    assert_eq!(body["joined"][&bob.id], json!({ "display_name": "Bob" }));
    host.get(&carol, &room_path(&room, "joined_members")).refused(403, "M_FORBIDDEN");
    host.leave(&bob, &room);
    host.get(&bob, &room_path(&room, "joined_members")).refused(403, "M_FORBIDDEN");
    host.request(Method::Get, &room_path(&room, "joined_members"), None, None).refused(401, "M_MISSING_TOKEN");
}
