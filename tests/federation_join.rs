//! Joining rooms of other servers: through several candidates, whole or not at all.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::Response;
use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

/// Two servers with a user each, and a public room of the first.
fn two_with_room(version: &str) -> (Network, User, User, String) {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version, "name": "Hall" }));
    (network, alice, bob, room)
}

fn join_via(host: &Host, user: &User, room: &str, via: &[String]) -> Answer {
    let via: Vec<_> = via.iter().map(|name| format!("via={}", encode(name))).collect();
    host.post(user, &format!("/_matrix/client/v3/join/{}?{}", encode(room), via.join("&")), json!({}))
}

fn joined(host: &Host, user: &User, room: &str) -> Value {
    host.get(user, &room_path(room, "joined_members")).ok().body["joined"].clone()
}

fn bodies(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[test]
fn a_room_of_each_version_is_joined_and_usable() {
    for version in 1..=12 {
        let (network, alice, bob, room) = two_with_room(&version.to_string());
        network[0].send(&alice, &room, "before");
        let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
        let answer = join_via(&network[1], &bob, &room, &[network[0].name()]).ok().body;
        assert_eq!(answer["room_id"], room.as_str());
        for (host, user) in [(&network[0], &alice), (&network[1], &bob)] {
            let members = joined(host, user, &room);
            assert_eq!(members.as_object().unwrap().keys().len(), 2, "version {version}: {members}");
        }
        assert_eq!(network[1].state(&bob, &room, "m.room.name", "").ok().body["name"], "Hall");
        for since in [None, Some(since.as_str())] {
            let told = &network[1].sync(&bob, since)["rooms"]["join"][&room];
            assert_eq!(told["timeline"]["limited"], true);
            assert!(told["timeline"]["prev_batch"].is_string());
            let state = told["state"]["events"].as_array().unwrap();
            assert!(state.iter().any(|event| event["type"] == "m.room.name"), "the state is told: {told}");
            assert_eq!(told["timeline"]["events"].as_array().unwrap().len(), 1);
        }
        network[1].send(&bob, &room, "hello");
    }
}

#[test]
fn an_alias_leads_to_the_room_and_to_who_is_in_it() {
    let network = Network::new(&["alpha.example", "beta.example"]);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_alias_name": "hall" }));
    let alias = encode("#hall:alpha.example");
    let found = network[1].get(&bob, &format!("/_matrix/client/v3/directory/room/{alias}")).ok().body;
    assert_eq!(found, json!({ "room_id": room, "servers": ["alpha.example"] }));
    let answer = network[1].post(&bob, &format!("/_matrix/client/v3/join/{alias}"), json!({})).ok();
    assert_eq!(answer.body["room_id"], room.as_str());
    network[1].post(&bob, &format!("/_matrix/client/v3/join/{}", encode("#no:alpha.example")), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn who_cannot_help_is_passed_over() {
    let network = Network::of_keys(4);
    let (alice, dora) = (network[0].register("alice"), network[3].register("dora"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    network.cut(3, 1);
    let via = [network[1].name(), network[2].name(), network[0].name()];
    join_via(&network[3], &dora, &room, &via).ok();
    let asked: Vec<_> =
        network.carried().into_iter().filter(|carried| carried.target.contains("make_join")).map(|carried| carried.to).collect();
    assert_eq!(asked, via);
}

#[test]
fn any_candidate_may_take_the_event() {
    let network = Network::of_keys(3);
    let (alice, bob, carol) = (network[0].register("alice"), network[1].register("bob"), network[2].register("carol"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    join_via(&network[1], &bob, &room, &[network[0].name()]).ok();
    let alpha = network[0].name();
    network.treat(move |carried: &Carried| match carried.target.contains("send_join") && carried.to == alpha {
        true => Treatment::Lose,
        false => Treatment::Carry,
    });
    join_via(&network[2], &carol, &room, &[network[0].name(), network[1].name()]).ok();
    assert!(joined(&network[2], &carol, &room).get(&carol.id).is_some());
    assert!(joined(&network[1], &bob, &room).get(&carol.id).is_some());
}

#[test]
fn an_old_server_is_joined_the_old_way() {
    let (network, _, bob, room) = two_with_room("6");
    network.treat(|carried: &Carried| match carried.target.contains("v2/send_join") {
        true => Treatment::Answer(Response::json(404, &json!({ "errcode": "M_UNRECOGNIZED", "error": "no such thing" }))),
        false => Treatment::Carry,
    });
    join_via(&network[1], &bob, &room, &[network[0].name()]).ok();
    assert!(network.carried().iter().any(|carried| carried.target.contains("v1/send_join")));
}

#[test]
fn what_others_refuse_is_told_in_their_words() {
    let (network, alice, bob, _) = two_with_room("11");
    let via = [network[0].name()];
    let private = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    join_via(&network[1], &bob, &private, &via).refused(403, "M_FORBIDDEN");
    join_via(&network[1], &bob, "!nowhere:example.org", &via).refused(404, "M_NOT_FOUND");
    join_via(&network[1], &bob, "!nowhere:example.org", &[]).refused(404, "M_NOT_FOUND");
    assert_eq!(network[1].sync(&bob, None)["rooms"]["join"], json!({}));
}

#[test]
fn a_room_is_joined_again_and_what_was_missed_can_be_read() {
    let (network, alice, bob, room) = two_with_room("12");
    join_via(&network[1], &bob, &room, &[network[0].name()]).ok();
    network[1].send(&bob, &room, "while Bob was here");
    network[1].leave(&bob, &room);
    for number in 0..3 {
        network[0].send(&alice, &room, &format!("missed {number}"));
    }
    network[0].put_state(&alice, &room, "m.room.name", "", json!({ "name": "Kitchen" }));
    let since = network[1].sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
    // Whoever was in the room when Bob left may let him in again.
    join_via(&network[1], &bob, &room, &[]).ok();
    assert_eq!(network[1].state(&bob, &room, "m.room.name", "").ok().body["name"], "Kitchen");
    let told = network[1].sync(&bob, Some(&since))["rooms"]["join"][&room].clone();
    assert_eq!((&told["timeline"]["limited"], bodies(&told["timeline"]["events"])), (&json!(true), vec![]));
}

#[test]
fn a_peer_that_lies_about_a_room_changes_nothing() {
    let (network, _, bob, room) = two_with_room("11");
    let answers = std::rc::Rc::new(std::cell::RefCell::new(Vec::<Value>::new()));
    let lies = std::rc::Rc::clone(&answers);
    network.treat(move |carried: &Carried| {
        let lie = if carried.target.contains("send_join") { lies.borrow_mut().pop() } else { None };
        lie.map_or(Treatment::Carry, |lie| Treatment::Answer(Response::ok(&lie)))
    });
    let event = json!({ "type": "m.room.create", "state_key": "", "room_id": room, "sender": "@x:example.org", "content": {} });
    for lie in [
        json!({}),
        json!([]),
        json!({ "state": [], "auth_chain": [] }),
        json!({ "state": [event, 1, {}], "auth_chain": [[], {}] }),
        json!({ "state": [event], "auth_chain": [], "event": event }),
    ] {
        answers.borrow_mut().push(lie);
        join_via(&network[1], &bob, &room, &[network[0].name()]).refused(502, "M_UNKNOWN");
        assert_eq!(network[1].sync(&bob, None)["rooms"]["join"], json!({}));
    }
    network.treat_well();
    join_via(&network[1], &bob, &room, &[network[0].name()]).ok();
}

#[test]
fn a_large_room_is_joined_in_pieces() {
    let (network, alice, bob, room) = two_with_room("11");
    for number in 0..500 {
        network[0].put_state(
            &alice,
            &room,
            "m.room.member",
            &format!("@u{number}:{}", network[0].name()),
            json!({ "membership": "invite" }),
        );
    }
    for number in 0..2_000 {
        network[0].put_state(&alice, &room, "org.example.seat", &number.to_string(), json!({ "row": number }));
    }
    network[1].store.set_fault(None);
    network[1].store.take_work();
    join_via(&network[1], &bob, &room, &[network[0].name()]).ok();
    let (reads, commits) = (network[1].store.take_work().reads, network[1].store.commits());
    assert!((8..16).contains(&commits), "{commits} commits: each has half a megabyte of events");
    assert!(reads < 100, "{reads} reads: each piece is looked up in a few");
    for (host, user) in [(&network[0], &alice), (&network[1], &bob)] {
        let state = host.get(user, &room_path(&room, "state")).ok().body.as_array().unwrap().len();
        assert!(state > 2_500, "{state}");
    }
    network[1].send(&bob, &room, "hello");
}

#[test]
fn of_a_join_that_is_cut_off_both_servers_think_alike_in_the_end() {
    use support::Fault;
    for commit in 1.. {
        for fault in [Fault::FailAt(commit), Fault::StopBefore(commit), Fault::StopAfter(commit)] {
            let (mut network, alice, bob, room) = two_with_room("12");
            let via = [network[0].name()];
            network[1].store.set_fault(Some(fault));
            let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&via[0]));
            let mut pending = network[1].begin(inglenook::http::Method::Post, &target, Some(&bob.token), Some(json!({})));
            let answer = pending.answer_if_any();
            let commits = network[1].store.commits();
            network[1].restart();
            network.advance_in_steps(10_000, 20);
            let told = network[1].sync(&bob, None)["rooms"]["join"].get(&room).is_some();
            let known = network[0].state(&alice, &room, "m.room.member", &bob.id).body["membership"] == "join";
            assert_eq!(told, known, "{fault:?}: the room's server counts Bob in, or not, as his own does");
            assert!(told || answer.is_none_or(|answer| answer.status != 200), "{fault:?}: what is acknowledged is there");
            if commits < commit {
                assert!(told);
                return;
            }
            join_via(&network[1], &bob, &room, &via).ok();
            assert_eq!(joined(&network[1], &bob, &room).as_object().unwrap().len(), 2);
        }
    }
}

#[test]
fn who_is_away_may_know_more_than_who_is_not_in_the_room() {
    let network = Network::of_keys(3);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    network.cut(0, 1);
    let answer = join_via(&network[1], &bob, &room, &[network[2].name(), network[0].name()]);
    assert_eq!(answer.body["inglenook.pending"], true);
    answer.refused(502, "M_UNREACHABLE");
}

const PENDING: &str = "/_inglenook/pending_joins";

#[test]
fn a_join_waits_until_somebody_is_there() {
    let (mut network, _, bob, room) = two_with_room("12");
    network.cut(0, 1);
    let answer = join_via(&network[1], &bob, &room, &[network[0].name()]);
    assert_eq!(answer.body["inglenook.pending"], true);
    answer.refused(502, "M_UNREACHABLE");
    let shown = network[1].get(&bob, PENDING).ok().body["pending_joins"].clone();
    assert_eq!((&shown[0]["room_id"], &shown[0]["servers"]), (&json!(room), &json!([network[0].name()])));
    network.advance(60_000);
    network[1].restart();
    network.run();
    assert_eq!(network[1].sync(&bob, None)["rooms"]["join"], json!({}));
    network.heal(0, 1);
    network.advance_in_steps(60_000, 16);
    assert!(network[1].sync(&bob, None)["rooms"]["join"].get(&room).is_some());
    assert_eq!(network[1].get(&bob, PENDING).ok().body, json!({ "pending_joins": [] }));
}

#[test]
fn a_join_that_waits_is_tried_ever_less_often() {
    let (network, _, bob, room) = two_with_room("12");
    network.cut(0, 1);
    join_via(&network[1], &bob, &room, &[network[0].name()]).refused(502, "M_UNREACHABLE");
    network.carried();
    network.advance_in_steps(1_000, 3_600);
    let tried = network.carried().iter().filter(|carried| carried.target.contains("make_join")).count();
    assert!((8..20).contains(&tried), "{tried} times in an hour");
}

#[test]
fn a_join_that_waits_ends_with_a_refusal_or_when_it_is_given_up() {
    let (network, alice, bob, room) = two_with_room("12");
    let private = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    network.cut(0, 1);
    for room in [&room, &private] {
        join_via(&network[1], &bob, room, &[network[0].name()]).refused(502, "M_UNREACHABLE");
    }
    let given_up = format!("{PENDING}/{}", encode(&room));
    network[1].delete(&bob, &given_up, None).ok();
    network[1].delete(&bob, &given_up, None).refused(404, "M_NOT_FOUND");
    network.heal(0, 1);
    network.advance_in_steps(60_000, 16);
    let shown = network[1].get(&bob, PENDING).ok().body["pending_joins"].clone();
    assert_eq!((&shown[0]["room_id"], shown.as_array().unwrap().len()), (&json!(private), 1));
    assert!(shown[0]["refused"].is_string());
    assert_eq!(network[1].sync(&bob, None)["rooms"]["join"], json!({}));
    network[1].delete(&bob, &format!("{PENDING}/{}", encode(&private)), None).ok();
}

#[test]
fn a_join_whose_answer_was_lost_is_not_given_up_for_what_others_say() {
    let network = Network::of_keys(3);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    let mut lost = 0;
    network.treat(move |carried: &Carried| match carried.target.contains("/send_join/") && lost == 0 {
        true => {
            lost += 1;
            Treatment::LoseAnswer
        }
        false => Treatment::Carry,
    });
    // The third server is not in the room, and says so; the first may have let Bob in.
    let via = format!("?via={}&via={}", encode(&network[0].name()), encode(&network[2].name()));
    let answer = network[1].post(&bob, &format!("/_matrix/client/v3/join/{}{via}", encode(&room)), json!({}));
    answer.refused(502, "M_UNREACHABLE");
    assert_eq!(answer.body["inglenook.pending"], true);
    network.advance_in_steps(10_000, 20);
    for (host, user) in [(0, &alice), (1, &bob)] {
        assert_eq!(network[host].state(user, &room, "m.room.member", &bob.id).ok().body["membership"], "join");
    }
}

/// Whoever is asked for one room and does not answer has nobody wait for another room.
#[test]
fn a_join_that_takes_long_does_not_hold_up_others() {
    let network = Network::of_keys(3);
    let bob = network[2].register("bob");
    let mut rooms: Vec<_> =
        (0..2).map(|host| (network[host].create_room(&network[host].register("u"), json!({ "preset": "public_chat" })), host)).collect();
    // In the order in which they are kept.
    rooms.sort();
    let (slow, quick) = (rooms[0].clone(), rooms[1].clone());
    for (room, host) in &rooms {
        network.cut(*host, 2);
        join_via(&network[2], &bob, room, &[network[*host].name()]).refused(502, "M_UNREACHABLE");
    }
    let name = network[slow.1].name();
    network.treat(move |carried: &Carried| match carried.to == name && carried.target.contains("make_join") {
        true => Treatment::Late(3_600_000, Box::new(Treatment::Lose)),
        false => Treatment::Carry,
    });
    network.heal(0, 2);
    network.heal(1, 2);
    network.advance_in_steps(1_000, 10);
    let joined = network[2].sync(&bob, None)["rooms"]["join"].clone();
    assert!(joined.get(&quick.0).is_some() && joined.get(&slow.0).is_none());
    assert_eq!(network[2].get(&bob, PENDING).ok().body["pending_joins"][0]["room_id"], slow.0);
}
