//! Spaces and summaries of rooms that this server is not in, as others tell of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::{Method, Response};
use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    network::{Carried, Treatment},
};

/// Alice's server has a space; Bob's server is in none of its rooms.
struct Scene {
    network: Network,
    alice: User,
    bob: User,
}

fn scene(hosts: u64) -> Scene {
    let network = Network::of_keys(hosts);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    Scene { network, alice, bob }
}

fn space(host: &Host, user: &User, name: &str) -> String {
    host.create_room(user, json!({ "preset": "public_chat", "name": name, "creation_content": { "type": "m.space" } }))
}

fn add(host: &Host, user: &User, space: &str, child: &str, via: &str, content: Value) {
    let mut content = content;
    content["via"] = json!([via]);
    host.put_state(user, space, "m.space.child", child, content);
}

fn hierarchy(host: &Host, user: &User, room: &str, query: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/hierarchy{query}", encode(room)))
}

fn summary(host: &Host, user: Option<&User>, room: &str, via: &str) -> Answer {
    let target = format!("/_matrix/client/v1/room_summary/{}?via={}", encode(room), encode(via));
    host.request(Method::Get, &target, user.map(|user| &*user.token), None)
}

fn names(body: &Value) -> Vec<String> {
    body["rooms"].as_array().unwrap().iter().map(|room| room["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_space_leads_into_rooms_of_other_servers() {
    let Scene { network, alice, bob } = scene(3);
    let carol = network[2].register("carol");
    let public = |host: &Host, user: &User, name: &str| host.create_room(user, json!({ "preset": "public_chat", "name": name }));
    let (root, inner) = (space(&network[1], &bob, "Root"), space(&network[0], &alice, "Inner"));
    let (near, far) = (public(&network[0], &alice, "Near"), public(&network[2], &carol, "Far"));
    let closed = network[0].create_room(&alice, json!({ "name": "Closed" }));
    add(&network[0], &alice, &inner, &near, &network[0].name(), json!({ "order": "b" }));
    add(&network[0], &alice, &inner, &far, &network[2].name(), json!({ "order": "a", "suggested": true }));
    add(&network[0], &alice, &inner, &closed, &network[0].name(), json!({}));
    add(&network[1], &bob, &root, &inner, &network[0].name(), json!({ "suggested": true }));
    network.run();

    network.carried();
    let body = hierarchy(&network[1], &bob, &root, "").ok().body;
    assert_eq!(names(&body), ["Root", "Inner", "Far", "Near"]);
    let told = &body["rooms"][1];
    assert_eq!((&told["room_type"], told["children_state"].as_array().unwrap().len()), (&json!("m.space"), 3));
    assert_eq!(body["rooms"][3]["children_state"], json!([]));
    let asked: Vec<_> = network.carried().into_iter().map(|carried| carried.to).collect();
    assert_eq!(asked, [network[0].name(), network[2].name()], "what came with the space is not asked for by itself");

    assert_eq!(names(&hierarchy(&network[1], &bob, &root, "?suggested_only=true").ok().body), ["Root", "Inner", "Far"]);
    assert_eq!(names(&hierarchy(&network[1], &bob, &root, "?max_depth=1").ok().body), ["Root", "Inner"]);
    let page = hierarchy(&network[1], &bob, &root, "?limit=3").ok().body;
    assert_eq!(names(&page), ["Root", "Inner", "Far"]);
    network.carried();
    let rest = format!("?limit=3&from={}", page["next_batch"].as_str().unwrap());
    assert_eq!(names(&hierarchy(&network[1], &bob, &root, &rest).ok().body), ["Near"]);
    assert_eq!(network.carried(), [], "a page uses what was told for the page before it");
}

#[test]
fn what_cannot_be_reached_is_left_out() {
    let Scene { network, alice, bob } = scene(2);
    let (root, inner) = (space(&network[1], &bob, "Root"), space(&network[0], &alice, "Inner"));
    add(&network[1], &bob, &root, &inner, &network[0].name(), json!({}));
    add(&network[1], &bob, &root, "!gone:far.example", &network[0].name(), json!({}));
    network.cut(0, 1);
    network.carried();
    assert_eq!(names(&hierarchy(&network[1], &bob, &root, "").ok().body), ["Root"]);
    let asked = network.carried().iter().filter(|carried| carried.target.contains("/hierarchy/")).count();
    assert_eq!(asked, 1, "who is away is not waited for twice");
    network.heal(0, 1);
    network.advance(120_000);
    assert_eq!(names(&hierarchy(&network[1], &bob, &root, "").ok().body), ["Root", "Inner"]);
}

#[test]
fn a_restricted_room_elsewhere_is_shown_to_those_whom_it_lets_in() {
    let Scene { network, alice, bob } = scene(2);
    let dave = network[1].register("dave");
    let root = space(&network[0], &alice, "Root");
    let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": root }] });
    let state = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rules }]);
    let inner = network[0].create_room(&alice, json!({ "name": "Inner", "initial_state": state }));
    add(&network[0], &alice, &root, &inner, &network[0].name(), json!({}));
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&root), encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).ok();
    network.run();
    assert_eq!(names(&hierarchy(&network[1], &bob, &root, "").ok().body), ["Root", "Inner"]);
    assert_eq!(names(&hierarchy(&network[1], &dave, &root, "").ok().body), ["Root"]);
    assert_eq!(summary(&network[1], Some(&bob), &inner, &network[0].name()).ok().body["name"], "Inner");
    summary(&network[1], Some(&dave), &inner, &network[0].name()).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_room_elsewhere_is_summed_up_by_who_is_in_it() {
    let Scene { network, alice, bob } = scene(2);
    let hall = network[0].create_room(&alice, json!({ "preset": "public_chat", "name": "Hall", "room_alias_name": "hall" }));
    let told = summary(&network[1], Some(&bob), &hall, &network[0].name()).ok().body;
    assert_eq!((&told["room_id"], &told["name"], &told["join_rule"]), (&json!(hall), &json!("Hall"), &json!("public")));
    assert_eq!((told.get("membership"), told.get("children_state")), (None, None));
    let alias = format!("#hall:{}", network[0].name());
    assert_eq!(summary(&network[1], None, &alias, "").body["errcode"], "M_INVALID_PARAM");
    let target = format!("/_matrix/client/v1/room_summary/{}", encode(&alias));
    assert_eq!(network[1].request(Method::Get, &target, None, None).ok().body["name"], "Hall");

    let den = network[0].create_room(&alice, json!({ "name": "Den" }));
    summary(&network[1], Some(&bob), &den, &network[0].name()).refused(404, "M_NOT_FOUND");
    network[0].invite(&alice, &den, &bob);
    network.advance(301_000);
    let told = summary(&network[1], Some(&bob), &den, "nobody.example").ok().body;
    assert_eq!((&told["name"], &told["membership"]), (&json!("Den"), &json!("invite")), "who has invited is asked");
}

#[test]
fn what_is_no_description_is_not_told() {
    let Scene { network, alice, bob } = scene(2);
    let hall = network[0].create_room(&alice, json!({ "preset": "public_chat", "name": "Hall" }));
    let other = json!({ "room_id": "!other:a.example", "num_joined_members": 1, "world_readable": true, "guest_can_join": false });
    for answer in [json!({}), json!({ "room": 1 }), json!({ "room": other, "children": [], "inaccessible_children": [] })] {
        network.treat(move |carried: &Carried| match carried.target.contains("/hierarchy/") {
            true => Treatment::Answer(Response::ok(&answer)),
            false => Treatment::Carry,
        });
        summary(&network[1], Some(&bob), &hall, &network[0].name()).refused(404, "M_NOT_FOUND");
    }
}
