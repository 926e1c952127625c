//! A scene: the server `c.example` in a room with Alice of `a.example` and Bob of `b.example`, whose servers the test plays.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use futures_util::FutureExt;
use inglenook_protocol::x_matrix::SignedParts;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, serde::Base64, signatures};
use serde_json::{Value, json};

use crate::{
    event::CheckedPdu,
    http::{Body, Method, Request, Response},
    identity::{Identity, KEY_ID},
    ports::Clock,
    room_server::{
        Input, InputKind, Room, Verdict,
        stored::{Status, StoredEvent},
        tests::world::{ALICE, BOB, CAROL, Recipe, State, World},
    },
    server::Server,
    support::{
        Host, Network,
        network::{Carried, Treatment},
    },
};

pub(super) const A: &str = "a.example";
pub(super) const B: &str = "b.example";
pub(super) const C: &str = "c.example";

pub(super) struct Scene {
    pub(super) world: Rc<World>,
    pub(super) network: Network,
    pub(super) peers: Rc<Peers>,
    transaction: Cell<u64>,
}

/// What the played servers do when they are asked.
pub(super) struct Peers {
    world: Rc<World>,
    /// Servers that do not answer at all.
    pub(super) silent: RefCell<BTreeSet<String>>,
    /// Events that a server does not have, or does not give.
    pub(super) withheld: RefCell<BTreeMap<String, BTreeSet<OwnedEventId>>>,
    /// Answers that a server gives instead of honest ones: by server and a part of the target.
    pub(super) lies: RefCell<Vec<(String, String, Value)>>,
    /// How many missing events are told at once.
    pub(super) batch: Cell<usize>,
}

impl Scene {
    /// A room of a version in which Alice, Bob and Carol have joined; all of its events so far are known.
    pub(super) fn new(version: &str) -> Self {
        let scene = Self::of_strangers(version);
        // From here on their keys are known.
        [A, B].into_iter().for_each(|name| drop(scene.send_json(name, Vec::new())));
        scene.network.carried();
        scene
    }

    /// A room that the server has only now entered: it knows its state, and nothing of what was said before.
    pub(super) fn entered(version: &str) -> Self {
        let scene = Self::about_to_enter(version);
        scene.enter();
        scene
    }

    /// A room that Bob has joined and in which much was said, before anybody of the server has come.
    pub(super) fn about_to_enter(version: &str) -> Self {
        let scene = Self::unknown(version);
        scene.make(Recipe::member(BOB, BOB, "join"));
        (0..30).for_each(|serial| drop(scene.message(&format!("before {serial}"))));
        [A, B].into_iter().for_each(|name| drop(scene.send_json(name, Vec::new())));
        scene.network.carried();
        scene
    }

    /// Carol joins, and the server enters with the state as it is told.
    pub(super) fn enter(&self) {
        let state = self.world.workshop.current();
        let state = self.world.made().into_iter().filter(|id| state.values().any(|other| other == id));
        let events: Vec<_> = state.map(|id| self.world.event(&id)).collect();
        let join = self.make(Recipe::member(CAROL, CAROL, "join"));
        let (server, world) = (self.server(), Rc::clone(&self.world));
        self.host().block_on(async {
            let room = server.rooms.room_or_new(&world.workshop.room.id, &world.version).await.unwrap();
            let told = server.rooms.transact_in(&room, |draft| draft.take_in(&events)).await.unwrap();
            let told: Vec<_> = told.into_iter().flatten().collect();
            let entered = server.rooms.transact_in(&room, |draft| draft.enter(&world.event(&join), &told)).await.unwrap();
            assert_eq!(entered, Ok(()));
        });
    }

    /// The same where the keys of the others are not known yet.
    pub(super) fn of_strangers(version: &str) -> Self {
        let scene = Self::unknown(version);
        scene.make(Recipe::member(BOB, BOB, "join"));
        scene.make(Recipe::member(CAROL, CAROL, "join"));
        scene.world.made().iter().for_each(|id| scene.know(id));
        scene
    }

    /// A room of Alice's of which the server knows nothing.
    fn unknown(version: &str) -> Self {
        let network = Network::new(&[C]);
        let mut world = World::new(version);
        world.adopt(Rc::clone(&network[0].server().identity));
        let world = Rc::new(world);
        let (silent, withheld, lies) = Default::default();
        let peers = Rc::new(Peers { world: Rc::clone(&world), silent, withheld, lies, batch: Cell::new(20) });
        let scene = Self { world, network, peers, transaction: Cell::new(0) };
        for name in [A, B] {
            let peers = Rc::clone(&scene.peers);
            scene.network.play(name, move |request| peers.answer(name, &request));
        }
        let silent = Rc::clone(&scene.peers);
        scene.network.treat(
            move |carried: &Carried| {
                if silent.silent.borrow().contains(&carried.to) { Treatment::Lose } else { Treatment::Carry }
            },
        );
        scene
    }

    pub(super) fn host(&self) -> &Host {
        &self.network[0]
    }

    pub(super) fn now(&self) -> u64 {
        self.network.clock.now()
    }

    pub(super) fn server(&self) -> Rc<Server> {
        Rc::clone(&self.host().server())
    }

    /// Lets the server know an event without anybody sending it.
    fn know(&self, id: &EventId) {
        let server = self.server();
        let event = self.world.event(id);
        self.host().block_on(async {
            let room = server.rooms.room_or_new(&event.pdu().room_id, &self.world.version).await.unwrap();
            let input = Input { event, kind: InputKind::New, state_before: None };
            let verdict = server.rooms.transact_in(&room, |draft| draft.receive(&input)).await.unwrap();
            assert_eq!(verdict, Verdict::Stored(Status::Accepted));
        });
    }

    pub(super) fn room(&self) -> Rc<Room> {
        let server = self.server();
        let id = self.world.workshop.room.id.clone();
        self.host().block_on(async { server.rooms.room(&id).await.unwrap().unwrap() })
    }

    pub(super) fn make(&self, recipe: Recipe) -> OwnedEventId {
        self.world.make(recipe)
    }

    pub(super) fn message(&self, body: &str) -> OwnedEventId {
        self.make(Recipe::message(ALICE, body))
    }

    /// A server sends these events.
    pub(super) fn send(&self, from: &str, events: &[&OwnedEventId]) -> Value {
        self.send_json(from, events.iter().map(|id| json_of(&self.world.event(id))).collect())
    }

    pub(super) fn send_json(&self, from: &str, pdus: Vec<Value>) -> Value {
        self.send_as(from, &self.next_transaction(), json!({ "pdus": pdus })).1
    }

    pub(super) fn send_edu(&self, from: &str, edu_type: &str, content: Value, age: u64) {
        let at = self.now() - age;
        let edus = [json!({ "edu_type": edu_type, "content": content })];
        self.send_as(from, &self.next_transaction(), json!({ "pdus": [], "edus": edus, "origin_server_ts": at }));
    }

    pub(super) fn next_transaction(&self) -> String {
        let serial = self.transaction.get();
        self.transaction.set(serial + 1);
        format!("t{serial}")
    }

    /// A server sends a transaction under this ID. Everything that follows from it at once is done.
    pub(super) fn send_as(&self, from: &str, id: &str, body: Value) -> (u16, Value) {
        let answer = self.host().federation(self.transaction(from, id, body));
        self.network.run();
        (answer.status, answer.body)
    }

    /// The same where the power may go: the status of the answer, if there is one.
    pub(super) fn try_send_as(&self, from: &str, id: &str, body: Value) -> Option<u16> {
        let (server, request) = (self.server(), self.transaction(from, id, body));
        let answer = server.federation(request).now_or_never();
        self.network.run();
        answer.map(|answer| answer.status)
    }

    pub(super) fn transaction(&self, from: &str, id: &str, mut body: Value) -> Request {
        let object = body.as_object_mut().unwrap();
        object.entry("origin").or_insert(from.into());
        object.entry("origin_server_ts").or_insert(self.now().into());
        signed(&self.world.identity(from), &format!("/_matrix/federation/v1/send/{id}"), &body)
    }

    pub(super) fn find(&self, id: &EventId) -> Option<std::sync::Arc<StoredEvent>> {
        let (server, room) = (self.server(), self.room());
        self.host().block_on(async { server.rooms.event_by_id(&room, id).await.unwrap() })
    }

    pub(super) fn status(&self, id: &EventId) -> Option<Status> {
        self.find(id).map(|event| event.decided.status)
    }

    #[track_caller]
    pub(super) fn assert_accepted(&self, ids: &[&OwnedEventId]) {
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(self.status(id), Some(Status::Accepted), "number {index}");
        }
    }

    pub(super) fn extremities(&self) -> BTreeSet<OwnedEventId> {
        self.room().head().extremities.iter().map(|extremity| extremity.id.clone()).collect()
    }

    /// The room's state as the server has it.
    pub(super) fn state(&self) -> State {
        let (server, room) = (self.server(), self.room());
        let current = room.head().current;
        let entries = self.host().block_on(async {
            let found = server.rooms.ask(&room, |view| {
                let entries = current.entries(view)?;
                let events = view.events(entries.iter().map(|entry| entry.event))?;
                Ok(entries.into_iter().zip(events).collect::<Vec<_>>())
            });
            found.await.unwrap()
        });
        entries.into_iter().map(|(entry, event)| ((entry.kind.to_string(), entry.state_key), event.pdu.event_id.clone())).collect()
    }

    /// The server has what the workshop has.
    #[track_caller]
    pub(super) fn assert_converged(&self) {
        assert_eq!(self.extremities(), self.world.workshop.extremities());
        assert_eq!(self.state(), self.world.workshop.current());
    }

    /// Events of the room's log, oldest first.
    pub(super) fn told(&self) -> Vec<OwnedEventId> {
        let (server, room) = (self.server(), self.room());
        self.host().block_on(async {
            let rows =
                crate::room_server::room_log::newest_first(&*server.ports.store, &room, Default::default(), room.head().position, 10_000);
            let numbers: Vec<_> = rows.await.unwrap().into_iter().rev().map(|row| row.event).collect();
            server.rooms.events(&room, &numbers).await.unwrap().iter().map(|event| event.pdu.event_id.clone()).collect()
        })
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        let server = self.server();
        self.host().block_on(async {
            let scan = crate::storage::Scan::prefix(crate::storage::Key::new(crate::storage::Table::Waiting));
            server.ports.store.scan(&scan).await.unwrap().len()
        })
    }

    pub(super) fn withhold(&self, server: &str, ids: &[&OwnedEventId]) {
        let mut withheld = self.peers.withheld.borrow_mut();
        withheld.entry(server.into()).or_default().extend(ids.iter().copied().cloned());
    }

    pub(super) fn silence(&self, server: &str) {
        self.peers.silent.borrow_mut().insert(server.into());
    }

    pub(super) fn lie(&self, server: &str, about: &str, answer: Value) {
        self.peers.lies.borrow_mut().push((server.into(), about.into(), answer));
    }

    /// How many questions were asked since the last call whose targets hold this.
    pub(super) fn asked(&self, about: &str) -> usize {
        let questions = self.network.carried().into_iter().filter(|carried| !carried.target.contains("/send/"));
        questions.filter(|carried| carried.target.contains(about)).count()
    }

    /// Everything that has failed is tried again.
    pub(super) fn wait_an_hour(&self) {
        self.network.advance_in_steps(60 * 60 * 1000, 1);
    }

    pub(super) fn restart(&mut self) {
        self.network[0].restart();
        self.network.run();
    }
}

impl Peers {
    fn answer(&self, name: &str, request: &Request) -> Response {
        let target = request.target();
        if let Some((.., lie)) = self.lies.borrow().iter().find(|(liar, about, _)| liar == name && target.contains(about.as_str())) {
            return Response::ok(lie);
        }
        match self.honest(name, request) {
            Some(answer) => Response::ok(&answer),
            None => Response::json(404, &json!({ "errcode": "M_NOT_FOUND", "error": "" })),
        }
    }

    fn honest(&self, name: &str, request: &Request) -> Option<Value> {
        let path: Vec<String> =
            request.path.split('/').map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into()).collect();
        let query =
            request.query.strip_prefix("event_id=").map(|id| percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned());
        let body: Value = match &request.body {
            Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
            _ => Value::Null,
        };
        match path.iter().skip(2).map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["key", "v2", "server"] => Some(server_keys(&self.world.identity(name), u64::MAX >> 12)),
            ["federation", "v1", "get_missing_events", _] => Some(json!({ "events": self.missing(name, &body) })),
            ["federation", "v1", "event", id] => Some(json!({ "pdus": [self.give(name, id)?] })),
            ["federation", "v1", "event_auth", _, id] => Some(json!({ "auth_chain": self.chain(name, vec![self.find(name, id)?]) })),
            ["federation", "v1", "state_ids", _] => {
                let state = self.state(name, &query?)?;
                let ids: Vec<_> = state.iter().map(|event| event.pdu().event_id.clone()).collect();
                let chain: Vec<_> = self.chain_of(name, state).iter().map(|event| event.pdu().event_id.clone()).collect();
                Some(json!({ "pdu_ids": ids, "auth_chain_ids": chain }))
            }
            ["federation", "v1", "state", _] => {
                let state = self.state(name, &query?)?;
                let pdus: Vec<_> = state.iter().map(json_of).collect();
                Some(json!({ "pdus": pdus, "auth_chain": self.chain(name, state) }))
            }
            _ => None,
        }
    }

    fn find(&self, name: &str, id: &str) -> Option<CheckedPdu> {
        let id = EventId::parse(id).ok()?;
        let is_withheld = self.withheld.borrow().get(name).is_some_and(|withheld| withheld.contains(&id));
        self.world.made().contains(&id).then(|| self.world.event(&id)).filter(|_| !is_withheld)
    }

    fn give(&self, name: &str, id: &str) -> Option<Value> {
        self.find(name, id).as_ref().map(json_of)
    }

    fn state(&self, name: &str, id: &str) -> Option<Vec<CheckedPdu>> {
        let event = self.find(name, id)?;
        let state = self.world.workshop.before(&event.pdu().event_id);
        Some(state.values().map(|id| self.world.event(id)).collect())
    }

    fn chain_of(&self, name: &str, events: Vec<CheckedPdu>) -> Vec<CheckedPdu> {
        let (mut chain, mut queue) = (BTreeMap::new(), events);
        while let Some(event) = queue.pop() {
            for id in &event.pdu().auth_events {
                if let Some(found) = self.find(name, id.as_str()).filter(|_| !chain.contains_key(id)) {
                    chain.insert(id.clone(), found.clone());
                    queue.push(found);
                }
            }
        }
        chain.into_values().collect()
    }

    fn chain(&self, name: &str, events: Vec<CheckedPdu>) -> Vec<Value> {
        self.chain_of(name, events).iter().map(json_of).collect()
    }

    fn missing(&self, name: &str, body: &Value) -> Vec<Value> {
        let ids = |field: &str| -> Vec<String> { serde_json::from_value(body[field].clone()).unwrap() };
        let mut seen: BTreeSet<String> = ids("earliest_events").into_iter().collect();
        let mut queue: std::collections::VecDeque<String> = ids("latest_events").into();
        let (mut found, mut first) = (Vec::new(), queue.len());
        while let Some(id) = queue.pop_front() {
            let Some(event) = self.find(name, &id) else { continue };
            if first > 0 {
                first -= 1;
            } else if event.pdu().depth < body["min_depth"].as_u64().unwrap() {
                continue;
            } else {
                found.push(json_of(&event));
            }
            if found.len() >= self.batch.get() {
                break;
            }
            for previous in event.pdu().prev_events.iter().map(ToString::to_string) {
                if seen.insert(previous.clone()) {
                    queue.push_back(previous);
                }
            }
        }
        found.reverse();
        found
    }
}

pub(super) fn json_of(event: &CheckedPdu) -> Value {
    serde_json::from_str(event.pdu().json.get()).unwrap()
}

/// What a server publishes of its key.
pub(super) fn server_keys(identity: &Identity, valid_until: u64) -> Value {
    let keys = json!({
        "server_name": identity.server_name(),
        "valid_until_ts": valid_until,
        "verify_keys": { KEY_ID: { "key": <Base64>::new(identity.public_key().to_vec()) } },
        "old_verify_keys": {},
    });
    let mut keys: CanonicalJsonObject = serde_json::from_value(keys).unwrap();
    signatures::sign_json(identity.server_name().as_str(), identity, &mut keys).unwrap();
    serde_json::to_value(&keys).unwrap()
}

pub(super) fn signed(identity: &Identity, target: &str, body: &Value) -> Request {
    let content = CanonicalJsonValue::try_from(body.clone()).unwrap();
    let parts =
        SignedParts { method: "PUT", uri: target, origin: identity.server_name().as_str(), destination: C, content: Some(&content) };
    let mut request = Request::new(Method::Put, target);
    request.headers.insert("authorization".into(), parts.sign(identity).unwrap());
    request.body = Body::Bytes(serde_json::to_vec(&content).unwrap());
    request
}
