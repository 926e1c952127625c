//! What was acknowledged is there, once, and nothing is there by halves, wherever a commit fails or the power goes.
//!
//! One story is told again and again; each time another commit fails, or is the last before the power goes. The client
//! repeats what was not answered, as clients do.

use std::{collections::BTreeMap, rc::Rc};

use futures_executor::block_on;
use ruma::RoomId;
use serde_json::{Value, json};

use super::{
    consistency,
    support::{self, Answer, Fault, Host, PASSWORD, User, encode, room_path},
    world::{Peer, identity},
};
use crate::{
    Config,
    event::{DEFAULT_ROOM_VERSION, RoomVersion},
    http::Method,
    ports::Store,
    storage::{Key, KeyReader, Scan, Table},
};

/// A client on an unreliable server: it repeats what was not answered.
struct Client {
    host: Host,
    fault: Fault,
    /// How often it had to repeat a request.
    repeated: usize,
}

/// What the story leaves behind.
struct Told {
    host: Host,
    alice: User,
    /// The rooms whose creation was acknowledged.
    rooms: Vec<String>,
    /// The messages that were acknowledged, by transaction ID.
    messages: BTreeMap<String, String>,
    redacted: String,
    commits: u64,
    repeated: usize,
}

impl Client {
    /// Sends a request until it is answered by anything but a failure of the storage.
    fn ask(&mut self, method: Method, target: &str, token: Option<&str>, body: Value) -> Answer {
        for _ in 0..3 {
            let mut pending = self.host.begin(method, target, token, Some(body.clone()));
            match pending.answer_if_any() {
                Some(answer) if answer.status < 500 => return answer,
                Some(answer) => assert!(matches!(self.fault, Fault::FailAt(_)), "{}", answer.body),
                None => {
                    assert!(self.host.store.is_stopped(), "{target} is not answered");
                    self.host.restart();
                }
            }
            self.repeated += 1;
        }
        panic!("{target} fails for ever")
    }

    fn post(&mut self, user: &User, target: &str, body: Value) -> Answer {
        self.ask(Method::Post, target, Some(&user.token), body)
    }

    fn put(&mut self, user: &User, target: &str, body: Value) -> Answer {
        self.ask(Method::Put, target, Some(&user.token), body)
    }

    /// Makes an account, or logs in where it turns out that the account was made.
    fn register(&mut self, name: &str) -> User {
        let mut body = json!({ "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
        let mut answer = self.ask(Method::Post, "/_matrix/client/v3/register", None, body.clone());
        if answer.status == 401 {
            body["auth"]["session"] = answer.body["session"].clone();
            answer = self.ask(Method::Post, "/_matrix/client/v3/register", None, body);
        }
        if answer.status != 200 {
            answer.refused(400, "M_USER_IN_USE");
            let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": PASSWORD });
            answer = self.ask(Method::Post, "/_matrix/client/v3/login", None, body);
        }
        let answer = answer.ok();
        User { id: answer.text("user_id"), token: answer.text("access_token"), device: answer.text("device_id") }
    }

    fn send(&mut self, user: &User, room: &str, transaction: &str) -> String {
        let target = room_path(room, &format!("send/m.room.message/{transaction}"));
        self.put(user, &target, json!({ "msgtype": "m.text", "body": transaction })).ok().text("event_id")
    }
}

fn tell(fault: Fault) -> Told {
    let config = Config { server_name: Some("example.org".into()), ..Config::default() };
    let host = Host::with(config);
    host.store.set_fault(Some(fault));
    let store = host.store.clone();
    let mut client = Client { host, fault, repeated: 0 };
    let (alice, bob) = (client.register("alice"), client.register("bob"));
    let creation = json!({ "preset": "public_chat", "name": "Room", "topic": "Story", "invite": [bob.id], "room_alias_name": "story" });
    let created = client.post(&alice, "/_matrix/client/v3/createRoom", creation);
    let room = match created.status {
        200 => created.text("room_id"),
        // The first request had created the room, and the answer was lost.
        _ => {
            created.refused(400, "M_ROOM_IN_USE");
            let alias = encode("#story:example.org");
            client.ask(Method::Get, &format!("/_matrix/client/v3/directory/room/{alias}"), None, json!({})).ok().text("room_id")
        }
    };
    client.post(&bob, &room_path(&room, "join"), json!({})).ok();
    let mut messages = BTreeMap::new();
    for serial in 0..3 {
        for user in [&alice, &bob] {
            let transaction = format!("{}{serial}", &user.id[1..2]);
            messages.insert(transaction.clone(), client.send(user, &room, &transaction));
        }
    }
    client.put(&alice, &room_path(&room, "state/m.room.topic"), json!({ "topic": "Another story" })).ok();
    let redacted = messages["b1"].clone();
    client.put(&alice, &room_path(&room, &format!("redact/{}/r", encode(&redacted))), json!({})).ok();
    client.post(&bob, &room_path(&room, "leave"), json!({})).ok();
    let other =
        client.post(&bob, "/_matrix/client/v3/createRoom", json!({ "preset": "private_chat", "name": "Other" })).ok().text("room_id");
    let commits = store.commits();
    Told { host: client.host, alice, rooms: vec![room, other], messages, redacted, commits, repeated: client.repeated }
}

/// The rooms of the database.
fn rooms(host: &Host) -> Vec<String> {
    let rows = block_on(host.database().scan(&Scan::prefix(Key::new(Table::Rooms)))).unwrap();
    rows.into_iter().map(|row| KeyReader::new(&row.key).text().unwrap()).collect()
}

/// A second server on the same database, which knows nothing but what is stored.
fn reader(host: &Host, room: &str) -> Peer {
    let version = RoomVersion::parse(DEFAULT_ROOM_VERSION.as_str()).unwrap();
    let store: Rc<dyn Store> = Rc::new(host.database());
    Peer::over(store, &version, RoomId::parse(room).unwrap(), identity(1, "example.org"))
}

fn check(told: &mut Told) {
    told.host.restart();
    let stored = rooms(&told.host);
    assert!(told.rooms.iter().all(|room| stored.contains(room)), "rooms that were acknowledged are there");
    for room in &stored {
        let reader = reader(&told.host, room);
        consistency::check(&reader);
        let state = reader.current();
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.name"] {
            assert!(state.contains_key(&(kind.into(), String::new())), "{room} has no {kind}");
        }
    }
    let messages = told.host.get(&told.alice, &room_path(&told.rooms[0], "messages?dir=b&limit=100")).ok().body;
    let messages = messages["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message");
    let mut found: Vec<_> = messages.map(told_message).collect();
    let mut expected: Vec<_> = told
        .messages
        .iter()
        .map(|(transaction, id)| (if *id == told.redacted { String::new() } else { transaction.clone() }, id.clone()))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "each message that was acknowledged is there, once");
    for (transaction, id) in told.messages.iter().filter(|(transaction, _)| !transaction.starts_with('b')) {
        let body = json!({ "msgtype": "m.text", "body": "repeated" });
        let again = told.host.send_as(&told.alice, &told.rooms[0], "m.room.message", transaction, body).ok().text("event_id");
        assert_eq!(again, *id, "a transaction ID gets the first answer");
    }
    let members = told.host.get(&told.alice, &room_path(&told.rooms[0], "joined_members")).ok().body;
    assert_eq!(members["joined"].as_object().unwrap().keys().collect::<Vec<_>>(), [&told.alice.id]);
}

fn told_message(event: &Value) -> (String, String) {
    (event["content"]["body"].as_str().unwrap_or_default().to_owned(), event["event_id"].as_str().unwrap().to_owned())
}

/// Tells the story with this fault at each commit.
fn tell_with_each(fault: fn(u64) -> Fault) {
    let commits = tell(fault(u64::MAX)).commits;
    assert!(commits >= 14, "at least one for each request: {commits}");
    for number in 1..=commits {
        let mut told = tell(fault(number));
        assert!(told.repeated > 0, "commit {number} of {commits} went unnoticed");
        check(&mut told);
    }
}

#[test]
fn without_any_fault_the_story_is_true() {
    let mut told = tell(Fault::FailAt(u64::MAX));
    assert_eq!(told.repeated, 0);
    check(&mut told);
}

#[test]
fn a_commit_that_fails_leaves_nothing_behind() {
    tell_with_each(Fault::FailAt);
}

#[test]
fn when_the_power_goes_before_a_commit_nothing_of_it_is_there() {
    tell_with_each(Fault::StopBefore);
}

#[test]
fn when_the_power_goes_after_a_commit_all_of_it_is_there() {
    tell_with_each(Fault::StopAfter);
}

#[test]
fn what_is_acknowledged_was_committed_strictly() {
    let told = tell(Fault::FailAt(u64::MAX));
    let before = told.host.store.relaxed_commits();
    let id = told.host.send(&told.alice, &told.rooms[0], "strictly");
    told.host.put_state(&told.alice, &told.rooms[0], "m.room.topic", "", json!({ "topic": "strictly" }));
    told.host.create_room(&told.alice, json!({}));
    assert_eq!(told.host.store.relaxed_commits(), before, "{id}");
}

/// Requests that overlap share commits; one that fails takes all of them with it, and no other.
#[test]
fn requests_at_once_are_durable_each_by_itself() {
    for fault in [Fault::FailAt(2), Fault::StopBefore(2), Fault::StopAfter(2)] {
        let mut told = tell(Fault::FailAt(u64::MAX));
        told.host.store.set_fault(Some(fault));
        told.host.store.set_slow(true);
        let target = |serial: usize| room_path(&told.rooms[0], &format!("send/m.room.message/c{serial}"));
        let body = |serial: usize| json!({ "msgtype": "m.text", "body": format!("c{serial}") });
        let mut pending: Vec<_> = (0..8)
            .map(|serial| support::request(Method::Put, &target(serial), Some(&told.alice.token), Some(body(serial))))
            .collect::<Vec<_>>();
        let mut pending = told.host.send_requests(pending.drain(..));
        let answers: Vec<_> = pending.iter_mut().map(support::Pending::answer_if_any).collect();
        told.host.restart();
        for (serial, answer) in answers.into_iter().enumerate() {
            let transaction = format!("c{serial}");
            let again = told.host.send_as(&told.alice, &told.rooms[0], "m.room.message", &transaction, body(serial)).ok().text("event_id");
            if let Some(answer) = answer.filter(|answer| answer.status == 200) {
                assert_eq!(answer.text("event_id"), again, "{fault:?}");
            }
            told.messages.insert(transaction, again);
        }
        check(&mut told);
    }
}

/// An upgrade writes to two rooms; a client that repeats it may make a third, but none is left half made.
#[test]
fn an_upgrade_is_whole_or_not_at_all() {
    for fault in [Fault::FailAt(1), Fault::StopBefore(1), Fault::StopAfter(1)] {
        let mut told = tell(Fault::FailAt(u64::MAX));
        let before = rooms(&told.host);
        told.host.store.set_fault(Some(fault));
        let target = room_path(&told.rooms[0], "upgrade");
        let body = json!({ "new_version": "11" });
        let answer = told.host.begin(Method::Post, &target, Some(&told.alice.token), Some(body)).answer_if_any();
        assert!(answer.is_none_or(|answer| answer.status == 500));
        told.host.restart();
        let replaced = told.host.state(&told.alice, &told.rooms[0], "m.room.tombstone", "");
        let new: Vec<_> = rooms(&told.host).into_iter().filter(|room| !before.contains(room)).collect();
        assert_eq!(replaced.status == 200, matches!(fault, Fault::StopAfter(_)), "{fault:?}");
        match new.as_slice() {
            [] => assert_eq!(replaced.status, 404, "{fault:?}"),
            [new] => {
                assert_eq!(replaced.text("replacement_room"), *new);
                let create = told.host.state(&told.alice, new, "m.room.create", "").ok().body;
                assert_eq!(create["predecessor"]["room_id"], *told.rooms[0]);
                consistency::check(&reader(&told.host, new));
            }
            more => panic!("one request makes one room: {more:?}"),
        }
        consistency::check(&reader(&told.host, &told.rooms[0]));
    }
}
