//! The keys of servers that are away, from those who vouch for them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::{
    Config,
    http::{Method, Request, Response},
};
use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

const FIRST: &str = "first.example";
const SECOND: &str = "second.example";
const OWN_KEYS: &str = "/_matrix/key/v2/server";
const QUERY: &str = "/_matrix/key/v2/query";

fn join_via(host: &Host, user: &User, room: &str, via: &str) -> Answer {
    host.post(user, &format!("/_matrix/client/v3/join/{}?via={via}", encode(room)), json!({}))
}

/// What was said in a room, the latest first.
fn said(host: &Host, user: &User, room: &str) -> Vec<String> {
    let page = host.get(user, &room_path(room, "messages?dir=b&limit=50")).ok().body;
    let events = page["chunk"].as_array().unwrap().iter();
    events.filter_map(|event| Some(event["content"]["body"].as_str()?.to_owned())).collect()
}

/// A room of Alice's on the first server, in which Bob of the second is as well; the first is away from then on.
fn whose_first_is_away(names: &[&str], version: &str) -> (Network, User, User, String) {
    let network = Network::new(names);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "room_version": version, "name": "Hall" }));
    join_via(&network[1], &bob, &room, FIRST).ok();
    network[0].send(&alice, &room, "from the first");
    network.run();
    network[1].send(&bob, &room, "from the second");
    network.run();
    (1..names.len()).for_each(|other| network.cut(0, other));
    network.carried();
    (network, alice, bob, room)
}

#[test]
fn a_room_is_joined_while_the_server_of_its_creator_is_away() {
    for version in ["1", "6", "10", "11", "12"] {
        let (mut network, alice, bob, room) = whose_first_is_away(&[FIRST, SECOND, "third.example"], version);
        let carol = network[2].register("carol");
        join_via(&network[2], &carol, &room, SECOND).ok();
        assert_eq!(network[2].state(&carol, &room, "m.room.name", "").ok().body["name"], "Hall", "version {version}");
        assert_eq!(said(&network[2], &carol, &room), ["from the second", "from the first"], "version {version}");
        let queries = network.carried().into_iter().filter(|carried| carried.target == QUERY).count();
        assert_eq!(queries, 1, "asked once for all");

        network[2].restart();
        network[2].send(&carol, &room, "from the third");
        network.run();
        assert_eq!(said(&network[1], &bob, &room)[0], "from the third");
        (1..3).for_each(|other| network.heal(0, other));
        network.advance_in_steps(60_000, 20);
        network[0].send(&alice, &room, "back again");
        network.run();
        for (host, user) in [(0, &alice), (1, &bob), (2, &carol)] {
            assert_eq!(said(&network[host], user, &room)[..2], ["back again", "from the third"], "version {version}");
        }
    }
}

#[test]
fn whoever_is_back_is_heard_soon() {
    let (network, alice, _, room) = whose_first_is_away(&[FIRST, SECOND, "third.example"], "12");
    let carol = network[2].register("carol");
    join_via(&network[2], &carol, &room, SECOND).ok();
    (1..3).for_each(|other| network.heal(0, other));
    network[1].network_is_back();
    network.run();
    network[0].send(&alice, &room, "back again");
    network.advance_in_steps(1_000, 40);
    assert_eq!(said(&network[2], &carol, &room)[0], "back again");
}

/// Servers of which each is given these notaries.
fn with_notaries(names: &[&str], notaries: &[&str]) -> Network {
    let config = |name: &&str| Config {
        server_name: Some((*name).to_owned()),
        notaries: notaries.iter().map(|notary| (*notary).try_into().unwrap()).collect(),
        ..Config::default()
    };
    Network::with(names.iter().map(config).zip(1..).collect())
}

/// What a server says of the keys of another.
fn vouched_by(host: &Host, server: &str) -> Value {
    host.federation(Request::new(Method::Get, &format!("{QUERY}/{server}"))).ok().body
}

/// Alice of the first server, whose keys nobody can ask for but its notaries, invites Carol of the last.
fn invite(network: &Network) -> Answer {
    let last = network.len() - 1;
    let (alice, carol) = (network[0].register("alice"), network[last].register("carol"));
    let room = network[0].create_room(&alice, json!({}));
    network[0].post(&alice, &room_path(&room, "invite"), json!({ "user_id": carol.id }))
}

#[test]
fn two_notaries_that_say_the_same_are_believed() {
    const NAMES: [&str; 4] = [FIRST, "one.example", "two.example", "third.example"];
    let hide = |carried: &Carried| carried.from == NAMES[3] && carried.to == FIRST && carried.target == OWN_KEYS;
    for (notaries, is_believed) in [(&NAMES[1..3], true), (&NAMES[1..2], false), (&NAMES[..2], false)] {
        let network = with_notaries(&NAMES, notaries);
        network.treat(move |carried: &Carried| if hide(carried) { Treatment::Lose } else { Treatment::Carry });
        assert_eq!(invite(&network).status == 200, is_believed, "{notaries:?}");
    }
}

#[test]
fn a_notary_has_to_sign_and_to_agree() {
    const NAMES: [&str; 4] = [FIRST, "one.example", "two.example", "third.example"];
    let elsewhere = Network::with(vec![
        (Config { server_name: Some(FIRST.into()), ..Config::default() }, 99),
        (Config { server_name: Some("two.example".into()), ..Config::default() }, 3),
    ]);
    let other_keys = vouched_by(&elsewhere[1], FIRST);
    let mut unsigned = vouched_by(&with_notaries(&NAMES, &[])[2], FIRST);
    assert!(unsigned["server_keys"][0]["signatures"].as_object_mut().unwrap().remove("two.example").is_some());
    for lie in [other_keys, unsigned] {
        let network = with_notaries(&NAMES, &NAMES[1..3]);
        network.treat(move |carried: &Carried| match (carried.to.as_str(), carried.target.as_str()) {
            (FIRST, OWN_KEYS) if carried.from == NAMES[3] => Treatment::Lose,
            ("two.example", QUERY) => Treatment::Answer(Response::ok(&lie)),
            _ => Treatment::Carry,
        });
        assert_ne!(invite(&network).status, 200);
    }
}

#[test]
fn what_a_resident_vouches_for_counts_in_its_room_alone() {
    let (network, alice, bob, room) = whose_first_is_away(&[FIRST, SECOND, "third.example"], "12");
    let carol = network[2].register("carol");
    join_via(&network[2], &carol, &room, SECOND).ok();
    // The first server is back, but for its keys.
    (1..3).for_each(|other| network.heal(0, other));
    network.treat(
        |carried: &Carried| {
            if (carried.to.as_str(), carried.target.as_str()) == (FIRST, OWN_KEYS) { Treatment::Lose } else { Treatment::Carry }
        },
    );
    let private = network[0].create_room(&alice, json!({}));
    let answer = network[0].post(&alice, &room_path(&private, "invite"), json!({ "user_id": carol.id }));
    assert_ne!(answer.status, 200, "a request needs the server's own word");
    let other = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    join_via(&network[1], &bob, &other, FIRST).ok();
    network.carried();
    join_via(&network[2], &carol, &other, SECOND).ok();
    let asked: Vec<_> = network.carried().into_iter().filter(|carried| carried.target == QUERY).map(|carried| carried.to).collect();
    assert_eq!(asked, [SECOND]);
}

#[test]
fn whoever_vouches_wrongly_does_not_stand_in_the_way_of_others() {
    const NAMES: [&str; 4] = [FIRST, SECOND, "third.example", "fourth.example"];
    let network = Network::new(&NAMES);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let (carol, dora) = (network[2].register("carol"), network[3].register("dora"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    join_via(&network[1], &bob, &room, FIRST).ok();
    join_via(&network[3], &dora, &room, FIRST).ok();
    network.cut(0, 2);
    let elsewhere = Network::with(vec![
        (Config { server_name: Some(FIRST.into()), ..Config::default() }, 99),
        (Config { server_name: Some(SECOND.into()), ..Config::default() }, 2),
    ]);
    let lie = vouched_by(&elsewhere[1], FIRST);
    network.treat(move |carried: &Carried| match (carried.to.as_str(), carried.target.as_str()) {
        (SECOND, QUERY) => Treatment::Answer(Response::ok(&lie)),
        _ => Treatment::Carry,
    });
    join_via(&network[2], &carol, &room, SECOND).refused(502, "M_UNKNOWN");
    join_via(&network[2], &carol, &room, &format!("{SECOND}&via=fourth.example")).ok();
}
