//! A server with a room in which users of other servers are joined, and what those servers have received.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use super::support::{
    Host, Network, User,
    network::{Carried, Treatment},
    room_path,
};
use crate::{
    event::{NewEvent, Placement},
    http::Response,
    room_server::{Input, InputKind, Verdict, stored::Status},
};

/// How another server behaves.
#[derive(Clone, Debug, Default)]
pub(super) enum Mood {
    /// It takes what it gets.
    #[default]
    Well,
    /// It is away, and no relay keeps anything for it.
    Away,
    /// It is away, and a relay keeps what is sent to it.
    Kept,
    /// It takes what it gets, and its answers are lost.
    Mute,
    /// It takes no transaction in which this text stands.
    Choosy(&'static str),
    /// It takes transactions, and says that it has not taken the events in which this text stands.
    Picky(&'static str),
    /// It answers with this status.
    Ill(u16),
    /// It takes what it gets, and answers after so many milliseconds.
    Slow(u64),
}

/// What a server has received.
#[derive(Default)]
pub(super) struct Inbox {
    /// Transactions by ID, in the order in which they first came.
    pub(super) transactions: Vec<(String, Value)>,
    /// How many requests came.
    pub(super) requests: usize,
    /// Transactions that a relay keeps.
    pub(super) mail: Vec<(String, Value)>,
}

#[derive(Default)]
struct Others {
    moods: RefCell<BTreeMap<String, Mood>>,
    inboxes: RefCell<BTreeMap<String, Inbox>>,
    log: Cell<usize>,
}

/// The scene.
pub(super) struct Scene {
    pub(super) network: Network,
    pub(super) alice: User,
    others: Rc<Others>,
}

impl Scene {
    /// A server `a.example` with the user Alice, and other servers of these names.
    pub(super) fn new(others: &[&str]) -> Self {
        let names: Vec<_> = std::iter::once("a.example").chain(others.iter().copied()).collect();
        let network = Network::new(&names);
        let alice = network[0].register("alice");
        let others: Rc<Others> = Rc::default();
        let answering = Rc::clone(&others);
        network.treat(move |carried| answering.treat(carried));
        Self { network, alice, others }
    }

    pub(super) fn host(&self) -> &Host {
        &self.network[0]
    }

    /// A room that everybody may join.
    pub(super) fn room(&self) -> String {
        let creation = json!({ "preset": "public_chat", "room_version": "11", "name": "Room" });
        let room = self.host().create_room(&self.alice, creation);
        self.network.run();
        room
    }

    pub(super) fn say(&self, room: &str, text: &str) -> String {
        let id = self.host().send(&self.alice, room, text);
        self.network.run();
        id
    }

    pub(super) fn post(&self, room: &str, below: &str, body: Value) {
        self.host().post(&self.alice, &room_path(room, below), body).ok();
        self.network.run();
    }

    pub(super) fn set_mood(&self, name: &str, mood: Mood) {
        self.others.moods.borrow_mut().insert(name.into(), mood);
    }

    /// The user of another server joins or leaves; that server's event came here by a handshake, to be passed on or not.
    pub(super) fn member(&self, room: &str, user: &str, membership: &str, passed_on: bool) {
        let server = Rc::clone(&self.host().server());
        let user = UserId::parse(user).unwrap();
        let at = (0..self.network.len()).find(|at| self.network[*at].name() == user.server_name().as_str()).unwrap();
        let identity = Rc::clone(&self.network[at].server().identity);
        let making = async {
            let room = server.rooms.room(&RoomId::parse(room).unwrap()).await.unwrap().unwrap();
            let transacting = server.rooms.transact_in(&room, |draft| {
                let mut auth_events = Vec::new();
                let join_rules = (membership == "join").then_some(("m.room.join_rules", ""));
                let selected = [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", user.as_str())];
                for (kind, key) in selected.into_iter().chain(join_rules) {
                    auth_events.extend(draft.state(&kind.into(), key)?.map(|event| event.pdu.event_id.clone()));
                }
                let head = draft.room().head();
                let placement = Placement {
                    room_id: Some(draft.room().id.clone()),
                    prev_events: head.prev_events(),
                    auth_events,
                    depth: head.next_depth(),
                    now: draft.now(),
                    localpart: String::new(),
                };
                let event = NewEvent::state(user.clone(), "m.room.member", user.as_str(), json!({ "membership": membership }));
                let event = event.build(placement, &draft.room().version, &identity)?;
                if passed_on {
                    draft.pass_on(event.pdu().event_id.clone());
                }
                let verdict = draft.receive(&Input { event, kind: InputKind::New, state_before: None })?;
                assert_eq!(verdict, Verdict::Stored(Status::Accepted));
                Ok(())
            });
            transacting.await.unwrap();
        };
        self.host().block_on(making);
        self.network.run();
    }

    /// What a server has received of the log: the texts of messages, and what else there is, in order and each once.
    pub(super) fn received(&self, name: &str) -> Vec<String> {
        self.pdus(name, false)
    }

    /// What a server was shown when it was met again.
    pub(super) fn shown(&self, name: &str) -> Vec<String> {
        self.pdus(name, true)
    }

    fn pdus(&self, name: &str, of_notes: bool) -> Vec<String> {
        let inboxes = self.others.inboxes.borrow();
        let mut texts = Vec::new();
        let transactions = inboxes.get(name).into_iter().flat_map(|inbox| &inbox.transactions);
        for (_, body) in transactions.filter(|(id, _)| is_of_notes(id) == of_notes) {
            for text in body["pdus"].as_array().unwrap().iter().map(told) {
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
        texts
    }

    /// The EDUs that a server has received.
    pub(super) fn edus(&self, name: &str) -> Vec<Value> {
        let inboxes = self.others.inboxes.borrow();
        let transactions = inboxes.get(name).into_iter().flat_map(|inbox| &inbox.transactions);
        transactions.flat_map(|(_, body)| body["edus"].as_array().cloned().unwrap_or_default()).collect()
    }

    pub(super) fn with_inbox<T>(&self, name: &str, look: impl FnOnce(&mut Inbox) -> T) -> T {
        look(self.others.inboxes.borrow_mut().entry(name.into()).or_default())
    }

    /// What Alice is told about the delivery of an event, by server.
    pub(super) fn delivery(&self, room: &str, event: &str) -> BTreeMap<String, String> {
        let target = format!("/_inglenook/rooms/{}/delivery?event_id={}", super::support::encode(room), super::support::encode(event));
        let answer = self.host().get(&self.alice, &target).ok().body;
        let events = answer["events"][event]["destinations"].as_object().unwrap_or_else(|| panic!("{answer}"));
        events.iter().map(|(name, delivery)| (name.clone(), delivery["state"].as_str().unwrap().to_owned())).collect()
    }

    /// Moves the clock by a second, so often.
    pub(super) fn seconds(&self, count: usize) {
        self.network.advance_in_steps(1_000, count);
    }

    /// Moves the clock by ten minutes, so often.
    pub(super) fn tens_of_minutes(&self, count: usize) {
        self.network.advance_in_steps(600_000, count);
    }
}

pub(super) fn server_name(name: &str) -> OwnedServerName {
    ServerName::parse(name).unwrap()
}

/// Whether a transaction of that ID tells something beside the log.
pub(super) fn is_of_notes(id: &str) -> bool {
    id.contains(".n")
}

/// How a test calls an event.
fn told(pdu: &Value) -> String {
    match pdu["type"].as_str().unwrap() {
        "m.room.message" => pdu["content"]["body"].as_str().unwrap_or("redacted").to_owned(),
        "m.room.member" => format!("{} {}", pdu["state_key"].as_str().unwrap(), pdu["content"]["membership"].as_str().unwrap()),
        other => other.to_owned(),
    }
}

impl Others {
    fn treat(&self, carried: &Carried) -> Treatment {
        let Some(id) = carried.target.strip_prefix("/_matrix/federation/v1/send/") else { return Treatment::Carry };
        assert_eq!(carried.method, "PUT");
        self.log.set(self.log.get() + 1);
        let mood = self.moods.borrow().get(&carried.to).cloned().unwrap_or_default();
        let mut inboxes = self.inboxes.borrow_mut();
        let inbox = inboxes.entry(carried.to.clone()).or_default();
        inbox.requests += 1;
        let body = &carried.body;
        assert!(body["pdus"].as_array().unwrap().len() <= 50);
        let (taken, treatment) = match mood {
            Mood::Slow(millis) => {
                let answer = Treatment::Answer(Response::ok(&json!({ "pdus": {} })));
                (true, Treatment::Late(millis, Box::new(answer)))
            }
            Mood::Well => (true, Treatment::Answer(Response::ok(&json!({ "pdus": {} })))),
            Mood::Away => (false, Treatment::Lose),
            Mood::Kept => {
                inbox.mail.push((id.to_owned(), body.clone()));
                (false, Treatment::Keep)
            }
            Mood::Mute => (true, Treatment::Lose),
            Mood::Choosy(text) if body.to_string().contains(text) => {
                (false, Treatment::Answer(Response::json(400, &json!({ "errcode": "M_UNKNOWN", "error": "No." }))))
            }
            Mood::Picky(text) => {
                let wrong = body["pdus"].as_array().unwrap().iter().filter(|pdu| pdu.to_string().contains(text));
                let wrong = wrong.map(|pdu| (super::support::peer::id_of(pdu, "11"), json!({ "error": "Not this." })));
                (true, Treatment::Answer(Response::ok(&json!({ "pdus": wrong.collect::<serde_json::Map<_, _>>() }))))
            }
            Mood::Choosy(_) => (true, Treatment::Answer(Response::ok(&json!({ "pdus": {} })))),
            Mood::Ill(status) => (false, Treatment::Answer(Response::json(status, &json!({ "errcode": "M_UNKNOWN" })))),
        };
        if taken {
            inbox.take(id, body);
        }
        treatment
    }
}

impl Inbox {
    /// A transaction that came before is the same as before, or the receiver would lose what differs.
    pub(super) fn take(&mut self, id: &str, body: &Value) {
        match self.transactions.iter().find(|(known, _)| known == id) {
            Some((_, known)) => assert_eq!(known, body, "transaction {id} is repeated with another content"),
            None => self.transactions.push((id.to_owned(), body.clone())),
        }
    }
}
