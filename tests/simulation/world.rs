//! The world of one seed: nodes with one user each, their rooms, and a network that does to requests what chance says.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use inglenook::{
    Config,
    http::{Method, Response},
};
use serde_json::{Value, json};

use super::{chance::Chance, checks, devices::Sessions, rooms::Room};
use crate::support::{
    Answer, Network, User,
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

/// An event that was acknowledged to a client, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) node: usize,
    pub(crate) room: usize,
    pub(crate) event: String,
}

/// The events or EDUs of a transaction.
fn items<'a>(transaction: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    transaction[kind].as_array().into_iter().flatten()
}

/// The world.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) chance: Chance,
    pub(crate) users: Vec<User>,
    pub(crate) rooms: Vec<Room>,
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// The messages from device to device that were acknowledged to a client: to whom, and what they say.
    pub(crate) whispers: Vec<(usize, u64)>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) down: BTreeSet<usize>,
    pub(crate) relays: Vec<Rc<Relay>>,
    /// Rooms and nodes whose users have come there later than the first, or have come back, or have tried to.
    pub(crate) returned: BTreeSet<(usize, usize)>,
    /// The same, and those who were put out or have left, or whom somebody has tried to put out.
    pub(crate) moved: BTreeSet<(usize, usize)>,
    /// Rooms and nodes whose users have knocked there and were not answered.
    pub(crate) knocked: BTreeSet<(usize, usize)>,
    /// Rooms and nodes, and the events there up to which their users say that they have read, where it was not refused.
    pub(crate) read: BTreeMap<(usize, usize), Vec<String>>,
    pub(crate) sessions: Vec<Sessions>,
    pub(crate) transactions: u64,
    /// Whether the network goes on to lie when all else is mended: the little that it swallows would be found again by what comes later.
    lies: bool,
    story: RefCell<Vec<String>>,
}

impl World {
    /// Three to eight nodes, with no relay or some of up to three, whose users are in the rooms of `found_rooms`.
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
            rooms: Vec::new(),
            acknowledged: Vec::new(),
            whispers: Vec::new(),
            cut: BTreeSet::new(),
            down: BTreeSet::new(),
            relays,
            returned: BTreeSet::new(),
            moved: BTreeSet::new(),
            knocked: BTreeSet::new(),
            read: BTreeMap::new(),
            sessions: Vec::new(),
            transactions: 0,
            lies: false,
            story,
        };
        world.tell(format!("{} nodes, {} relays", world.network.len(), world.relays.len()));
        world.upload_first_keys();
        world.found_rooms();
        world.begin_sessions();
        world.unsettle();
        world
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
        self.swallow(|_| true);
    }

    /// The same for those with an event of this room.
    pub(crate) fn swallow_events_of(&mut self, room: usize) {
        let id = self.rooms[room].id.clone();
        self.swallow(move |body| items(body, "pdus").any(|event| event["room_id"] == id));
        self.lies = true;
    }

    /// The same for those with an EDU of this type, and no event beside it.
    pub(crate) fn swallow_edus(&mut self, kind: &'static str) {
        self.swallow(move |body| items(body, "pdus").next().is_none() && items(body, "edus").any(|edu| edu["edu_type"] == kind));
        self.lies = true;
    }

    fn swallow(&mut self, is_swallowed: impl Fn(&Value) -> bool + 'static) {
        let is_transaction = |carried: &Carried| carried.target.starts_with("/_matrix/federation/v1/send/");
        self.network.treat(move |carried| {
            let is_lost = is_transaction(carried) && is_swallowed(&carried.body);
            if is_lost { Treatment::Answer(Response::ok(&json!({ "pdus": {} }))) } else { Treatment::Carry }
        });
        self.network.delay(0);
    }

    /// Everybody does something, one after the other.
    pub(crate) fn everybody(&mut self, act: impl Fn(&mut Self, usize)) {
        for node in 0..self.users.len() {
            act(self, node);
            self.settle(5_000);
        }
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
        self.request_with(node, &self.users[node].token, method, target, body)
    }

    /// The same with another token.
    pub(crate) fn request_with(&self, node: usize, token: &str, method: Method, target: &str, body: Value) -> Option<Answer> {
        let body = (method != Method::Get).then_some(body);
        let mut pending = self.network[node].begin(method, target, Some(token), body);
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

    /// A request below a room, in a node's user's name.
    pub(crate) fn in_room(&self, node: usize, room: usize, method: Method, below: &str, body: Value) -> Option<Answer> {
        self.request(node, method, &room_path(&self.rooms[room].id, below), body)
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
        if !self.lies {
            self.network.treat_well();
        }
        self.network.delay(0);
        self.tell("everything is mended".into());
        self.settle(MENDING_MILLIS);
        let is_apart = |room: &usize| checks::any_softly_failed(self, *room) || checks::any_said_beside_a_join(self, *room);
        let apart: Vec<_> = (0..self.rooms.len()).filter(is_apart).collect();
        if !apart.is_empty() {
            self.tell(format!("something is no part of what the last events of all build upon; all say one thing more in {apart:?}"));
            self.say_one_thing_more(&apart);
        }
        let thought: Vec<_> = (0..self.rooms.len()).filter(|room| checks::any_thought_at_relay(self, *room)).collect();
        if !thought.is_empty() {
            self.tell(format!("an acknowledgement was lost; all say one thing more in {thought:?}"));
            self.say_one_thing_more(&thought);
            self.settle(GRACE_MILLIS);
        }
    }

    fn say_one_thing_more(&mut self, rooms: &[usize]) {
        for node in 0..self.users.len() {
            let joined = self.rooms_of(node);
            for room in rooms.iter().filter(|room| joined.contains(room)) {
                self.speak_up(node, *room);
            }
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
