//! Events that are missing here and are asked for by themselves: by their ID, or by their time.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use support::{
    Answer, Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

/// Alice's room with messages a second apart, which Bob has joined since, and the messages' IDs.
struct Scene {
    network: Network,
    alice: User,
    bob: User,
    room: String,
    sent: Vec<String>,
}

fn scene(messages: usize, visibility: &str) -> Scene {
    let network = Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let state = json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": visibility } }]);
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat", "initial_state": state }));
    let mut sent = Vec::new();
    for number in 0..messages {
        network.advance(1_000);
        sent.push(network[0].send(&alice, &room, &number.to_string()));
    }
    network.advance(1_000);
    let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).ok();
    network.run();
    Scene { network, alice, bob, room, sent }
}

impl Scene {
    fn event(&self, host: usize, user: &User, id: &str) -> Answer {
        self.network[host].get(user, &room_path(&self.room, &format!("event/{}", encode(id))))
    }

    fn time_of(&self, id: &str) -> u64 {
        self.event(0, &self.alice, id).ok().body["origin_server_ts"].as_u64().unwrap()
    }

    fn find(&self, time: u64, direction: &str) -> Answer {
        find(&self.network[1], &self.bob, &self.room, time, direction)
    }
}

fn find(host: &Host, user: &User, room: &str, time: u64, direction: &str) -> Answer {
    host.get(user, &format!("/_matrix/client/v1/rooms/{}/timestamp_to_event?ts={time}&dir={direction}", encode(room)))
}

fn bodies(events: &Value) -> Vec<String> {
    events.as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect()
}

#[test]
fn an_event_from_before_the_join_is_asked_for_by_its_id() {
    let scene = scene(6, "shared");
    let wanted = &scene.sent[3];
    assert_eq!(scene.event(1, &scene.bob, wanted).ok().body["content"]["body"], "3");
    let context = scene.network[1].get(&scene.bob, &room_path(&scene.room, &format!("context/{}?limit=4", encode(wanted)))).ok().body;
    assert_eq!(context["event"]["event_id"], wanted.as_str());
    assert_eq!(bodies(&context["events_before"]), ["2", "1"], "what is before it is fetched from there");
    scene.network.cut(0, 1);
    scene.event(1, &scene.bob, wanted).ok();
    scene.event(1, &scene.bob, "$nothing").refused(404, "M_NOT_FOUND");
}

#[test]
fn only_who_may_see_an_event_is_told_of_it() {
    let scene = scene(3, "joined");
    let dave = scene.network[1].register("dave");
    scene.event(1, &scene.bob, &scene.sent[1]).refused(404, "M_NOT_FOUND");
    scene.network.carried();
    scene.event(1, &dave, &scene.sent[1]).refused(404, "M_NOT_FOUND");
    assert_eq!(scene.network.carried(), [], "nobody is asked for who is not in the room");
}

#[test]
fn an_event_that_was_found_by_itself_still_comes_as_a_new_one() {
    let scene = scene(1, "shared");
    let since = scene.network[1].sync(&scene.bob, None)["next_batch"].as_str().unwrap().to_owned();
    // Two events are on their way, and Bob asks for the second before either has come.
    let is_transaction = |carried: &Carried| carried.target.contains("/send/");
    scene.network.treat(move |carried| if is_transaction(carried) { Treatment::Lose } else { Treatment::Carry });
    let sent = [scene.network[0].send(&scene.alice, &scene.room, "first"), scene.network[0].send(&scene.alice, &scene.room, "second")];
    scene.network.run();
    assert_eq!(scene.event(1, &scene.bob, &sent[1]).ok().body["content"]["body"], "second");
    scene.network[1].get(&scene.bob, &room_path(&scene.room, &format!("context/{}?limit=6", encode(&sent[1])))).ok();
    assert_eq!(scene.network[1].sync(&scene.bob, Some(&since))["rooms"]["join"].get(&scene.room), None);
    scene.network.treat_well();
    scene.network.advance_in_steps(60_000, 20);
    let told = scene.network[1].sync(&scene.bob, Some(&since));
    assert_eq!(bodies(&told["rooms"]["join"][&scene.room]["timeline"]["events"]), ["first", "second"]);
    // What Bob writes builds on them, and on nothing else.
    let own = scene.network[1].send(&scene.bob, &scene.room, "third");
    scene.network.run();
    let pdu = support::peer::Peer::new(7);
    pdu.join(&scene.network[1], &scene.room, &pdu.user("eve"));
    let event = pdu.get(&scene.network[1], &format!("/v1/event/{}", encode(&own))).ok().body["pdus"][0].clone();
    assert_eq!(event["prev_events"], json!([sent[1]]));
}

#[test]
fn the_event_of_a_time_before_the_join_is_found_elsewhere() {
    let scene = scene(8, "shared");
    let (third, fourth) = (&scene.sent[3], &scene.sent[4]);
    let time = scene.time_of(third);
    assert_eq!(scene.find(time + 400, "b").ok().body, json!({ "event_id": third, "origin_server_ts": time }));
    assert_eq!(scene.find(time + 400, "f").ok().text("event_id"), *fourth);
    scene.event(1, &scene.bob, third).ok();
    // What is here and closest is not asked for.
    scene.network.carried();
    let newest = scene.network[1].send(&scene.bob, &scene.room, "own");
    scene.network.run();
    scene.network.carried();
    let at = scene.event(1, &scene.bob, &newest).ok().body["origin_server_ts"].as_u64().unwrap();
    assert_eq!(scene.find(at, "b").ok().text("event_id"), newest);
    assert_eq!(scene.network.carried(), []);
}

#[test]
fn where_nobody_helps_the_closest_that_is_here_is_told() {
    let scene = scene(4, "shared");
    let time = scene.time_of(&scene.sent[1]);
    scene.network.cut(0, 1);
    let found = scene.find(time, "f").ok().text("event_id");
    assert_eq!(scene.event(1, &scene.bob, &found).ok().body["state_key"], scene.bob.id.as_str());
    scene.find(time, "b").refused(404, "M_NOT_FOUND");
}

#[test]
fn another_server_cannot_point_in_the_wrong_direction() {
    let scene = scene(4, "shared");
    let (time, early) = (scene.time_of(&scene.sent[2]), scene.sent[1].clone());
    for told in [time - 1_000, time] {
        let answer = json!({ "event_id": early, "origin_server_ts": told });
        scene.network.treat(move |carried: &Carried| match carried.target.contains("/timestamp_to_event/") {
            true => Treatment::Answer(inglenook::http::Response::ok(&answer)),
            false => Treatment::Carry,
        });
        assert_ne!(scene.find(time, "f").ok().text("event_id"), early);
    }
}
