//! Nodes whose users share a room, behind relays that the test has in hand.

use std::{collections::BTreeMap, rc::Rc};

use inglenook::{
    Config,
    identity::Identity,
    ports::{Store, Transport},
    relays::RelayTransport,
};
use inglenook_protocol::{message::Headers, path::MAILBOX_HEADER, x_matrix::SignedParts};
use ruma::CanonicalJsonValue;
use serde_json::{Value, json};

use super::relay::{Letter, Relay, Relays};
use crate::support::{Executor, Host, Life, ManualClock, User, encode, room_path};

pub(crate) const BAD: &str = "https://bad.example";
pub(crate) const GOOD: &str = "https://good.example";

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

pub(crate) struct Scene {
    executor: Rc<Executor>,
    clock: Rc<ManualClock>,
    pub(crate) bad: Rc<Relay>,
    pub(crate) good: Rc<Relay>,
    life: Rc<Life>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) users: Vec<User>,
    pub(crate) room: String,
}

impl Scene {
    /// So many nodes, each of which uses these relays, with a user each in one room.
    pub(crate) fn new(count: usize, relays: &[&str]) -> Self {
        let mut scene = Self::empty();
        for _ in 0..count {
            scene.add(relays);
        }
        scene.room = scene.hosts[0].create_room(&scene.users[0], json!({ "preset": "public_chat", "name": "Hall" }));
        for at in 1..count {
            assert_eq!(scene.join(at), 200);
        }
        scene.minutes(2);
        scene.bad.given();
        scene.good.given();
        scene
    }

    pub(crate) fn empty() -> Self {
        let (executor, clock) = (Executor::new(), Rc::new(ManualClock::new()));
        let life = Rc::new(executor.begin());
        let (bad, good) = (Relay::new(BAD, &clock, 101), Relay::new(GOOD, &clock, 102));
        Self { executor, clock, bad, good, life, hosts: Vec::new(), users: Vec::new(), room: String::new() }
    }

    /// One more node.
    pub(crate) fn add(&mut self, relays: &[&str]) {
        let seed = self.hosts.len() as u64 + 1;
        let sockets = Relays { relays: vec![Rc::clone(&self.bad), Rc::clone(&self.good)], life: Rc::clone(&self.life) };
        let transport = RelayTransport::new(Box::new(sockets));
        let config = Config { relays: relays.iter().map(|&url| url.to_owned()).collect(), ..Config::default() };
        let host = Host::over(Rc::clone(&self.executor), Rc::clone(&self.clock), Rc::clone(&transport) as Rc<dyn Transport>, config, seed);
        let server = Rc::clone(&host.server());
        host.drive(transport.run(server));
        host.run();
        self.users.push(host.register(NAMES[self.hosts.len()]));
        self.hosts.push(host);
    }

    /// Lets a node's user join the room of the first, and returns the status.
    pub(crate) fn join(&self, at: usize) -> u16 {
        let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&self.room), encode(&self.name(0)));
        let body = Some(json!({}));
        let mut pending = self.hosts[at].begin(inglenook::http::Method::Post, &target, Some(&self.users[at].token), body);
        let answer = pending.answer().expect("the join has come to an end");
        self.executor.run();
        answer.status
    }

    pub(crate) fn name(&self, at: usize) -> String {
        self.hosts[at].name()
    }

    pub(crate) fn run(&self) {
        self.executor.run();
    }

    /// Lets so many minutes pass, one after the other.
    pub(crate) fn minutes(&self, count: usize) {
        for _ in 0..count {
            self.hosts[0].advance(60_000);
        }
    }

    pub(crate) fn say(&self, at: usize, text: &str) -> String {
        let id = self.hosts[at].send(&self.users[at], &self.room, text);
        self.run();
        id
    }

    /// The texts of the messages that a user sees.
    pub(crate) fn seen(&self, at: usize) -> Vec<String> {
        let messages = self.hosts[at].get(&self.users[at], &room_path(&self.room, "messages?dir=f&limit=500")).ok().body;
        let messages = messages["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message");
        messages.map(|event| event["content"]["body"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// How an event of a node's stands on its way to another.
    pub(crate) fn delivery(&self, from: usize, event: &str, to: usize) -> String {
        let target = format!("/_inglenook/rooms/{}/delivery?event_id={}", encode(&self.room), encode(event));
        let answer = self.hosts[from].get(&self.users[from], &target).ok().body;
        answer["events"][event]["destinations"][self.name(to)]["state"].as_str().unwrap().to_owned()
    }

    /// Lets a relay send a request down the tunnel of a node, and returns the status.
    pub(crate) fn hand(&self, relay: &Relay, at: usize, letter: &Letter) -> u16 {
        let answer = self.executor.block_on(relay.hand(&self.name(at), letter)).expect("the node answers");
        self.run();
        answer.0
    }

    /// How much a node stores, and what its user is told: nothing was changed where it is the same.
    pub(crate) fn state(&self, at: usize) -> (BTreeMap<&'static str, u64>, Vec<String>, Value) {
        let sync = self.hosts[at].sync(&self.users[at], None);
        let room = &sync["rooms"]["join"][&self.room];
        let events = ["state", "timeline"].iter().flat_map(|part| room[part]["events"].as_array().cloned().unwrap_or_default());
        let events = events.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
        let beside = json!([sync["to_device"], sync["presence"], sync["device_lists"], room["ephemeral"], room["unread_notifications"]]);
        (self.rows(at), events, beside)
    }

    /// How many rows each table of a node has.
    pub(crate) fn rows(&self, at: usize) -> BTreeMap<&'static str, u64> {
        let usage = self.executor.block_on(self.hosts[at].database().usage(false)).unwrap();
        usage.into_iter().map(|table| (table.name, table.rows)).collect()
    }
}

/// The transactions among some requests.
pub(crate) fn transactions(letters: Vec<Letter>) -> Vec<Letter> {
    letters.into_iter().filter(|letter| letter.uri.starts_with("/_matrix/federation/v1/send/")).collect()
}

impl Letter {
    /// A request that a server has signed for another.
    pub(crate) fn signed(from: &Identity, to: &str, method: &str, uri: &str, body: Option<&Value>) -> Self {
        let content = body.map(|body| CanonicalJsonValue::try_from(body.clone()).unwrap());
        let parts = SignedParts { method, uri, origin: from.server_name().as_str(), destination: to, content: content.as_ref() };
        let headers = Headers::from_iter([("authorization", parts.sign(from).unwrap()), ("content-type", "application/json".into())]);
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Self { method: method.into(), to: to.into(), uri: uri.into(), headers, body }
    }

    /// The same as an entry of a mailbox.
    pub(crate) fn of_mailbox(&self, entry: u64) -> Self {
        Self { headers: self.headers.clone().with(MAILBOX_HEADER, entry.to_string()), ..self.clone() }
    }

    /// The same with other words in its body.
    pub(crate) fn with_text(&self, text: &str, other: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).unwrap();
        assert!(body.contains(text), "{text} is not in {body}");
        Self { body: body.replace(text, other).into_bytes(), ..self.clone() }
    }
}
