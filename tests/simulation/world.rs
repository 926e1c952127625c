//! The world of one seed: nodes with one user each, one room, and a network that does to requests what chance says.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use inglenook::{
    Config,
    http::{Method, Response},
};
use serde_json::{Value, json};

use super::{chance::Chance, checks};
use crate::support::{
    Answer, Network, User, encode,
    network::{Carried, Treatment},
    relay::Relay,
    room_path,
};

/// How long a request of a client may take before the client gives up.
const PATIENCE_MILLIS: u64 = 90_000;

/// How long everything has to be mended by itself: some rounds of the longest back-off.
const MENDING_MILLIS: u64 = 3 * 60 * 60 * 1000;

/// How long who speaks may take to acknowledge what a relay keeps, and to be sent it again: `docs/delivery.md`.
const GRACE_MILLIS: u64 = 30 * 60 * 1000;

/// The world.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) chance: Chance,
    pub(crate) users: Vec<User>,
    pub(crate) room: String,
    /// The events that were acknowledged to a client, and whose.
    pub(crate) acknowledged: Vec<(usize, String)>,
    /// The messages from device to device that were acknowledged to a client: to whom, and what they say.
    pub(crate) whispers: Vec<(usize, u64)>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) down: BTreeSet<usize>,
    pub(crate) relays: Vec<Rc<Relay>>,
    /// The nodes whose users have come back to the room, or have tried to.
    pub(crate) returned: BTreeSet<usize>,
    pub(crate) transactions: u64,
    story: RefCell<Vec<String>>,
}

impl World {
    /// Three to eight nodes, with no relay or some of up to three, whose users are all in one room.
    pub(crate) fn new(seed: u64) -> Self {
        let chance = Chance::new(seed);
        let count = 3 + chance.index(3) + if chance.percent(20) { chance.index(4) } else { 0 };
        let urls: Vec<_> = (0..chance.index(4)).map(|relay| format!("https://relay{relay}.example")).collect();
        let chosen = || urls.iter().filter(|_| chance.percent(70)).cloned().collect();
        let configs = (0..count as u64).map(|node| (Config { relays: chosen(), ..Config::default() }, seed * 100 + node)).collect();
        let network = Network::with(configs);
        let relays = urls.iter().map(|url| network.add_relay(url)).collect();
        let users = (0..count).map(|node| network[node].register(&format!("user{node}"))).collect();
        let story = RefCell::default();
        let mut world = Self {
            network,
            chance,
            users,
            room: String::new(),
            acknowledged: Vec::new(),
            whispers: Vec::new(),
            cut: BTreeSet::new(),
            down: BTreeSet::new(),
            relays,
            returned: BTreeSet::new(),
            transactions: 0,
            story,
        };
        world.found_room();
        world.unsettle();
        world
    }

    fn found_room(&mut self) {
        let version = ["12", "11", "10", "6"][self.chance.index(4)];
        let creation = json!({ "preset": "public_chat", "room_version": version, "name": "Hearth" });
        self.room = self.network[0].create_room(&self.users[0], creation);
        self.tell(format!("{} nodes, {} relays, room version {version}", self.network.len(), self.relays.len()));
        for node in 1..self.network.len() {
            self.invite_by_link(node);
            let joined = self.join(node).expect("a join over a good network is answered");
            assert_eq!(joined.status, 200, "{}", joined.body);
        }
        self.settle(60_000);
    }

    /// Whoever comes by a link learns from it where the first node is.
    fn invite_by_link(&self, node: usize) {
        let record = self.network[0].get(&self.users[0], "/_inglenook/record").ok().body;
        self.network[node].put(&self.users[node], &format!("/_inglenook/records/{}", self.network[0].name()), record).ok();
    }

    /// From now on the network is slow, each time as much as it likes, loses and repeats.
    fn unsettle(&mut self) {
        let (slowest, chance) = (5 + self.chance.below(600), Chance::new(self.chance.below(u64::MAX)));
        self.network.delay_by(move || 1 + chance.below(slowest));
        let (lost, repeated, broken) = (self.chance.below(15), self.chance.below(15), self.chance.below(15));
        // What breaks off matters where there is something to be broken off.
        let is_slow = self.chance.percent(30);
        for node in 0..self.network.len() {
            self.network[node].store.set_slow(is_slow);
        }
        let chance = Chance::new(self.chance.below(u64::MAX));
        self.network.treat(move |_| match chance.below(100) {
            roll if roll < lost => Treatment::Lose,
            roll if roll < 2 * lost => Treatment::LoseAnswer,
            roll if roll < 2 * lost + repeated => Treatment::Repeat,
            roll if roll < 2 * lost + repeated + broken => Treatment::BreakOff,
            _ => Treatment::Carry,
        });
    }

    /// From now on every transaction is dropped, and its sender is told that it arrived.
    pub(crate) fn swallow_transactions(&mut self) {
        let is_transaction = |carried: &Carried| carried.target.starts_with("/_matrix/federation/v1/send/");
        self.network.treat(move |carried| {
            if is_transaction(carried) { Treatment::Answer(Response::ok(&json!({ "pdus": {} }))) } else { Treatment::Carry }
        });
        self.network.delay(0);
    }

    /// From now on the disks lose some of what they say they have written.
    pub(crate) fn lose_commits(&mut self) {
        (0..self.network.len()).for_each(|node| self.network[node].store.lie_every(11));
    }

    /// Notes what was done.
    pub(crate) fn tell(&self, what: String) {
        self.story.borrow_mut().push(what);
    }

    /// What was done.
    pub(crate) fn story(&self) -> String {
        self.story.borrow().join("\n")
    }

    /// A request of a node's user, with the clock moving until it is answered; `None` where it never is.
    pub(crate) fn request(&self, node: usize, method: Method, target: &str, body: Value) -> Option<Answer> {
        let body = (method != Method::Get).then_some(body);
        let mut pending = self.network[node].begin(method, target, Some(&self.users[node].token), body);
        let mut waited = 0;
        loop {
            if let Some(answer) = pending.answer_if_any() {
                return Some(answer);
            }
            if waited >= PATIENCE_MILLIS || self.network[node].store.is_stopped() {
                return None;
            }
            let step = if waited < 2_000 { 20 } else { 1_000 };
            self.network.advance(step);
            waited += step;
        }
    }

    /// A node's user asks to join the room by way of all the others.
    pub(crate) fn join(&self, node: usize) -> Option<Answer> {
        let vias = (0..self.network.len()).filter(|other| *other != node).map(|other| self.network[other].name());
        let query = vias.map(|name| format!("via={}&server_name={}", encode(&name), encode(&name))).collect::<Vec<_>>().join("&");
        self.request(node, Method::Post, &format!("/_matrix/client/v3/join/{}?{query}", encode(&self.room)), json!({}))
    }

    /// A request below the room, in a node's user's name.
    pub(crate) fn in_room(&self, node: usize, method: Method, below: &str, body: Value) -> Option<Answer> {
        self.request(node, method, &room_path(&self.room, below), body)
    }

    /// Lets so much time pass, in steps.
    pub(crate) fn settle(&self, millis: u64) {
        let step = (millis / 60).max(50);
        for _ in 0..millis.div_ceil(step) {
            self.network.advance(step);
        }
    }

    /// Mends everything, and gives it time.
    pub(crate) fn mend(&mut self) {
        for node in std::mem::take(&mut self.down) {
            self.network[node].restart();
        }
        for node in 0..self.network.len() {
            if self.network[node].store.is_stopped() {
                self.network[node].restart();
            }
            self.network[node].store.set_fault(None);
        }
        self.relays.iter().for_each(|relay| relay.set_down(false));
        for (one, other) in std::mem::take(&mut self.cut) {
            self.network.heal(one, other);
        }
        self.network.treat_well();
        self.network.delay(0);
        self.tell("everything is mended".into());
        self.settle(MENDING_MILLIS);
        if checks::any_softly_failed(self) || checks::any_said_beside_a_join(self) {
            self.tell("something is no part of what the last events of all build upon; all say one thing more".into());
            self.say_one_thing_more();
        }
        if checks::any_thought_at_relay(self) {
            self.tell("an acknowledgement was lost; all say one thing more".into());
            self.say_one_thing_more();
            self.settle(GRACE_MILLIS);
        }
    }

    fn say_one_thing_more(&mut self) {
        for node in 0..self.users.len() {
            self.say(node);
            self.settle(60_000);
        }
    }

    /// Nodes whose user can act.
    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.network.len()).filter(|node| !self.down.contains(node) && !self.network[*node].store.is_stopped()).collect()
    }

    /// The database of a node, for the checks.
    pub(crate) fn database(&self, node: usize) -> Rc<inglenook::storage::MemoryStore> {
        Rc::new(self.network[node].database())
    }
}
