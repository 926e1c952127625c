//! Nodes that nobody can connect to, each behind a relay of its own: how they learn where the others are whom they have not met.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use inglenook::{
    Config,
    http::{Method, Request},
};
use serde_json::{Value, json};
use support::{
    Network, User, encode,
    network::{Carried, Treatment},
    relay::Relay,
    room_path,
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Nodes with a user and a relay each, in a room of the first.
struct Scene {
    network: Network,
    relays: Vec<Rc<Relay>>,
    users: Vec<User>,
    room: String,
}

impl Scene {
    fn new() -> Self {
        let config = |at: usize| Config { relays: vec![url(at)], ..Config::default() };
        let network = Network::with((0..NAMES.len()).map(|at| (config(at), at as u64 + 1)).collect());
        let relays = (0..NAMES.len()).map(|at| network.add_relay(&url(at))).collect();
        let users: Vec<_> = NAMES.iter().enumerate().map(|(at, name)| network[at].register(name)).collect();
        let room = network[0].create_room(&users[0], json!({ "preset": "public_chat" }));
        Self { network, relays, users, room }
    }

    /// Joins by a link of the first node's, which holds that node's record and no other.
    fn join(&self, at: usize) {
        let (network, user) = (&self.network, &self.users[at]);
        let record = network[0].get(&self.users[0], "/_inglenook/record").ok().body;
        network[at].put(user, &format!("/_inglenook/records/{}", network[0].name()), record).ok();
        let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&self.room), encode(&network[0].name()));
        network[at].post(user, &target, json!({})).ok();
        network.run();
    }

    fn say(&self, at: usize, text: &str) {
        self.network[at].send(&self.users[at], &self.room, text);
        self.network.run();
    }

    fn seen(&self, at: usize) -> Vec<String> {
        let messages = self.network[at].get(&self.users[at], &room_path(&self.room, "messages?dir=f&limit=500")).ok().body;
        let messages = messages["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message");
        messages.map(|event| event["content"]["body"].as_str().unwrap().to_owned()).collect()
    }

    fn to_device(&self, from: usize, to: usize, transaction: &str) {
        let body = json!({ "messages": { &self.users[to].id: { "*": { "from": NAMES[from] } } } });
        self.network[from].put(&self.users[from], &format!("/_matrix/client/v3/sendToDevice/m.test/{transaction}"), body).ok();
        self.network.run();
    }

    fn type_in(&self, at: usize) {
        let target = room_path(&self.room, &format!("typing/{}", encode(&self.users[at].id)));
        self.network[at].put(&self.users[at], &target, json!({ "typing": true, "timeout": 30_000 })).ok();
        self.network.run();
    }

    fn sync(&self, at: usize) -> Value {
        self.network[at].sync(&self.users[at], None)
    }

    fn typing(&self, at: usize) -> Value {
        let ephemeral = self.sync(at)["rooms"]["join"][&self.room]["ephemeral"]["events"].clone();
        let typing = ephemeral.as_array().unwrap().iter().find(|event| event["type"] == "m.typing").cloned();
        typing.map(|typing| typing["content"]["user_ids"].clone()).unwrap_or_default()
    }

    /// The relays by which one node reaches another.
    fn known(&self, at: usize, of: usize) -> Value {
        let target = format!("/_inglenook/relay/v1/record/{}", self.network[of].name());
        self.network[at].federation(Request::new(Method::Get, &target)).body["relays"].clone()
    }

    /// Nothing that the one sends the other arrives.
    fn lose(&self, from: usize, to: usize) {
        let (from, to) = (self.network[from].name(), self.network[to].name());
        let is_lost = move |carried: &Carried| carried.from == from && carried.to == to;
        self.network.treat(move |carried| if is_lost(carried) { Treatment::Lose } else { Treatment::Carry });
    }
}

fn url(at: usize) -> String {
    format!("https://relay{at}.example")
}

#[test]
fn who_joins_by_anothers_link_meets_everybody_though_that_other_goes() {
    let scene = Scene::new();
    scene.join(1);
    scene.join(2);
    scene.network[0].kill();
    scene.say(1, "from bob");
    scene.say(2, "from carol");
    scene.to_device(1, 2, "1");
    scene.to_device(2, 1, "1");
    for at in [1, 2] {
        assert_eq!(scene.seen(at), ["from bob", "from carol"], "{}", NAMES[at]);
        let devices = &scene.sync(at)["to_device"]["events"];
        assert_eq!(devices.as_array().unwrap().len(), 1, "{}: {devices}", NAMES[at]);
        assert_eq!(devices[0]["content"]["from"], NAMES[3 - at]);
    }
    scene.type_in(1);
    assert_eq!(scene.typing(2), json!([&scene.users[1].id]));
    scene.type_in(2);
    assert_eq!(scene.typing(1), json!([&scene.users[1].id, &scene.users[2].id]));
}

#[test]
fn who_hears_of_a_newcomer_asks_others_in_the_room_where_it_is() {
    let scene = Scene::new();
    scene.join(1);
    scene.lose(2, 1);
    scene.join(2);
    assert_eq!(scene.known(1, 2), Value::Null);
    scene.say(1, "hello");
    scene.network.advance_in_steps(1_000, 5);
    assert_eq!((scene.seen(2), scene.known(1, 2)), (vec!["hello".into()], json!([url(2)])));
}

#[test]
fn who_knows_an_outdated_record_asks_others_for_a_newer_one() {
    let scene = Scene::new();
    scene.join(1);
    scene.join(2);
    scene.lose(1, 2);
    scene.network.add_relay("https://new.example");
    scene.network[1].put(&scene.users[1], "/_inglenook/relays", json!({ "relays": ["https://new.example"] })).ok();
    scene.relays[1].set_down(true);
    scene.network.run();
    scene.say(2, "hello");
    scene.network.advance_in_steps(1_000, 5);
    assert_eq!((scene.seen(1), scene.known(2, 1)), (vec!["hello".into()], json!(["https://new.example"])));
}

#[test]
fn what_cannot_be_found_is_looked_for_ever_more_rarely() {
    let scene = Scene::new();
    scene.join(1);
    scene.lose(2, 1);
    scene.join(2);
    scene.network[0].kill();
    scene.say(1, "hello");
    scene.network.carried();
    scene.network.advance_in_steps(60_000, 24 * 60);
    let asked = scene.network.carried().iter().filter(|carried| carried.target.contains("/record/")).count();
    assert!((1..=2 * (24 * 4 + 12) * 2).contains(&asked), "{asked}");
}

/// A server that is found by its name has met nobody yet, and cannot ask around where a node is whose name leads nowhere.
#[test]
fn an_invitation_tells_a_server_of_an_ordinary_name_where_it_comes_from() {
    let ordinary = Config { server_name: Some("bob.example".into()), ..Config::default() };
    let network = Network::with(vec![(Config { relays: vec![url(0)], ..Config::default() }, 1), (ordinary, 2)]);
    let _relay = network.add_relay(&url(0));
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "private_chat" }));
    network[0].post(&alice, &room_path(&room, "invite"), json!({ "user_id": bob.id })).ok();
    network.run();
    network[1].post(&bob, &room_path(&room, "join"), json!({})).ok();
}
