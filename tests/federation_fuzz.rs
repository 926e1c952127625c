//! Requests of other servers that are almost right: whatever is wrong with them is answered by an error of the specification, costs
//! little, and changes nothing.
//!
//! What is varied is `corpus/federation.json`; a case that fails is shrunk and written to a file beside this one.
//! `PROPTEST_CASES=<count>` tries more of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

use inglenook::http::{Body, Method, Request};
use peak_alloc::PeakAlloc;
use proptest::{collection::vec, prelude::*, test_runner::FileFailurePersistence};
use ruma::CanonicalJsonValue;
use serde_json::{Value, json};
use support::{
    Host, User, encode,
    peer::{Peer, message},
    room_path,
};

/// What one request may write at most: some events and what belongs to them.
const MOST_BYTES: usize = 256 << 10;

/// What one request may take of the memory at most, at one time: so much for what belongs to its room, and so often what it weighs itself
/// for what is made of it. (A list of small objects weighs some thirty times as much when it is parsed.)
const MOST_MEMORY: usize = 8 << 20;
const MOST_MEMORY_FOR_A_BYTE: usize = 40;

/// Counts what is allocated.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held by whoever looks at the memory, or takes much of it.
static ALONE: Mutex<()> = Mutex::new(());

/// What is done to a JSON value: the way down to a place in it, and what is put there.
#[derive(Clone, Debug)]
struct Change {
    way: Vec<usize>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Replace(Value),
    Remove,
    /// The value within itself, so many times.
    Nest(usize),
    Repeat(usize),
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(9_007_199_254_740_992_i64)),
        Just(json!(1.5)),
        "[@!$#]?[a-z:.=/%\\u{0}\\u{ffff}]{0,20}".prop_map(Value::from),
        Just(json!("x".repeat(70_000))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-z_.]{0,8}", inner), 0..4).prop_map(|entries| entries.into_iter().collect())
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    let what = prop_oneof![
        4 => value().prop_map(What::Replace),
        2 => Just(What::Remove),
        1 => (1..200_usize).prop_map(What::Nest),
        1 => (1..200_usize).prop_map(What::Repeat),
    ];
    (vec(0..8_usize, 0..7), what).prop_map(|(way, what)| Change { way, what })
}

impl Change {
    fn make(&self, value: &mut Value, depth: usize) {
        let next = self.way.get(depth);
        match (value, next) {
            (Value::Array(items), Some(step)) if !items.is_empty() => {
                let index = step % items.len();
                if depth + 1 == self.way.len() && matches!(self.what, What::Remove) {
                    items.remove(index);
                } else {
                    self.make(&mut items[index], depth + 1);
                }
            }
            (Value::Object(fields), Some(step)) if !fields.is_empty() => {
                let key = fields.keys().nth(step % fields.len()).unwrap().clone();
                if depth + 1 == self.way.len() && matches!(self.what, What::Remove) {
                    fields.remove(&key);
                } else {
                    self.make(&mut fields[&key], depth + 1);
                }
            }
            (value, _) => match &self.what {
                What::Replace(other) => *value = other.clone(),
                What::Remove => *value = Value::Null,
                What::Nest(times) => (0..*times).for_each(|_| *value = json!([value.take()])),
                What::Repeat(times) => *value = Value::Array(vec![value.take(); *times]),
            },
        }
    }
}

/// Alice's room, in which Mallory of another server is, and what was true there at first.
struct World {
    host: Host,
    peer: Peer,
    alice: User,
    room: String,
    event: String,
    /// What allows Mallory to say something.
    auth_events: Vec<String>,
    truth: Value,
    serial: Cell<u64>,
}

impl World {
    fn new() -> Self {
        let (host, peer) = (Host::new(), Peer::new(66));
        let alice = host.register("alice");
        let room = host.create_room(&alice, json!({ "preset": "public_chat", "room_version": "11" }));
        peer.join(&host, &room, &peer.user("mallory"));
        let event = host.send(&alice, &room, "hello");
        let of_mallory = format!("m.room.member/{}", encode(&peer.user("mallory")));
        let id_of = |path: &str| host.get(&alice, &room_path(&room, &format!("state/{path}?format=event"))).ok().text("event_id");
        let auth_events = ["m.room.create/", "m.room.power_levels/", &of_mallory].map(id_of).to_vec();
        let mut world = Self { host, peer, alice, room, event, auth_events, truth: Value::Null, serial: Cell::new(0) };
        world.truth = world.state();
        world
    }

    /// The state that is not Mallory's own.
    fn state(&self) -> Value {
        let state = self.host.get(&self.alice, &room_path(&self.room, "state")).ok().body;
        let others = state.as_array().unwrap().iter().filter(|event| event["sender"] == self.alice.id);
        others.cloned().collect()
    }

    /// A request of the corpus with its blanks filled in, changed before the events in it are signed or after.
    fn request(&self, sample: &Value, changes: &[Change], early: bool) -> Request {
        self.serial.set(self.serial.get() + 1);
        let mut body = self.filled(&sample["body"], if early { changes } else { &[] });
        if !early {
            changes.iter().for_each(|change| change.make(&mut body, 0));
        }
        let event = body.get("event").unwrap_or(&body);
        let id = self.peer.try_sign(event.clone(), "11").map_or_else(|| self.event.clone(), |(id, _)| id);
        let target = self.blanks(&sample["target"].as_str().unwrap().replace("{id}", &encode(&id)), encode);
        let target = if target.starts_with("/_matrix/") { target } else { format!("/_matrix/federation{target}") };
        let method = Method::parse(sample["method"].as_str().unwrap()).unwrap();
        // What cannot be signed is sent with the signature of something else.
        let signable = CanonicalJsonValue::try_from(body.clone()).is_ok();
        let mut request = self.peer.request(&self.host, method, &target, Some(if signable { &body } else { &Value::Null }));
        request.body = Body::Bytes(body.to_string().into_bytes());
        request
    }

    fn blanks(&self, text: &str, encode: impl Fn(&str) -> String) -> String {
        let filled =
            text.replace("{room}", &encode(&self.room)).replace("{peer}", &self.peer.name()).replace("{event}", &encode(&self.event));
        let filled = filled.replace("{user}", &self.peer.user("mallory")).replace("{alice}", &self.alice.id);
        filled.replace("{n}", &self.serial.get().to_string())
    }

    fn filled(&self, value: &Value, changes: &[Change]) -> Value {
        match value {
            Value::String(text) if text == "{message}" => self.event(false, changes),
            Value::String(text) if text == "{member}" => self.event(true, changes),
            Value::String(text) => self.blanks(text, str::to_owned).into(),
            Value::Array(items) => items.iter().map(|item| self.filled(item, changes)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (self.blanks(key, str::to_owned), self.filled(value, changes))).collect()
            }
            other => other.clone(),
        }
    }

    fn event(&self, is_member: bool, changes: &[Change]) -> Value {
        let user = self.peer.user("mallory");
        let mut event = message(&self.room, &user, std::slice::from_ref(&self.event), &self.auth_events, 20 + self.serial.get());
        if is_member {
            event["type"] = "m.room.member".into();
            event["state_key"] = user.into();
            event["content"] = json!({ "membership": "join" });
        }
        changes.iter().for_each(|change| change.make(&mut event, 0));
        self.peer.try_sign(event.clone(), "11").map_or(event, |(_, signed)| signed)
    }

    fn check(&self, request: Request) {
        let what = format!("{} {}", request.method.as_str(), request.target());
        self.host.store.take_work();
        let weight = if let Body::Bytes(bytes) = &request.body { bytes.len() } else { 0 };
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let answer = self.host.federation(request);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        assert!(taken <= MOST_MEMORY + MOST_MEMORY_FOR_A_BYTE * weight, "{what} of {weight} bytes took {taken} bytes of memory");
        assert!(answer.status < 500, "{what} is answered by {} {}", answer.status, answer.body);
        assert!(answer.status == 200 || answer.body["errcode"].is_string(), "{what} is refused without a code");
        let written = self.host.store.take_work().bytes_written;
        assert!(written <= MOST_BYTES, "{what} wrote {written} bytes");
        assert_eq!(self.state(), self.truth, "{what} changed what it may not");
        self.host.send(&self.alice, &self.room, "as ever");
    }
}

fn corpus() -> Vec<Value> {
    serde_json::from_str(include_str!("corpus/federation.json")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn requests_that_are_almost_right_harm_nobody(sample in 0..100_usize, changes in vec(change(), 1..3), early in any::<bool>()) {
        thread_local!(static WORLD: World = World::new());
        let (corpus, _alone) = (corpus(), ALONE.lock().unwrap_or_else(PoisonError::into_inner));
        WORLD.with(|world| world.check(world.request(&corpus[sample % corpus.len()], &changes, early)));
    }

    #[test]
    fn any_header_of_authorisation_is_read_or_refused(header in "(X-Matrix )?[a-zA-Z0-9 ,=\":.@\\\\\\u{0}-\\u{ff}]{0,200}") {
        thread_local!(static HOST: Host = Host::new());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        HOST.with(|host| {
            let mut request = Request::new(Method::Get, "/_matrix/federation/v1/publicRooms");
            request.headers.insert("authorization".into(), header);
            host.federation(request).refused(401, "M_UNAUTHORIZED");
        });
    }
}

/// Such a list weighs most when it is parsed, and must not be there twice while its signature is checked.
#[test]
fn a_list_of_many_small_objects_is_not_copied() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (world, corpus) = (World::new(), corpus());
    let sample = corpus.iter().find(|sample| sample["target"].as_str().is_some_and(|target| target.ends_with("/user/keys/query"))).unwrap();
    let repeated = [200, 200].map(|times| Change { way: Vec::new(), what: What::Repeat(times) });
    world.check(world.request(sample, &repeated, false));
}

#[test]
fn the_corpus_is_right_as_it_is() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new();
    let answers: Vec<_> = corpus().iter().map(|sample| world.host.federation(world.request(sample, &[], true))).collect();
    for (sample, answer) in corpus().iter().zip(&answers) {
        println!("{} {} {}", sample["target"], answer.status, answer.body);
    }
    let sent = &answers[0].body["pdus"];
    assert_eq!(sent.as_object().unwrap().values().next(), Some(&json!({})), "what is varied must be near to what is right");
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 8);
}
