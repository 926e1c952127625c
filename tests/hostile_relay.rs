//! A relay, or a peer, that means harm: it can hold up what only it could bring, and nothing else.
//!
//! The nodes are whole, with real tunnels; the relay does what each test says. `docs/relay-protocol.md` has the table of attacks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

// Other tests do more with it.
#[path = "hostile_relay/relay.rs"]
#[allow(dead_code)]
mod relay;
#[path = "hostile_relay/scene.rs"]
mod scene;

use std::{cell::RefCell, rc::Rc};

use inglenook_protocol::{message::Headers, node_record::host_of};
use serde_json::{Value, json};

use self::{
    relay::{Change, Deed, Letter, stranger},
    scene::{BAD, GOOD, Scene, transactions},
    support::Signer,
};

const OTHER_TRANSACTION: &str = "/_matrix/federation/v1/send/another";

#[test]
fn what_a_relay_drops_is_never_taken_for_delivered_and_goes_out_again() {
    let scene = Scene::new(2, &[BAD]);
    scene.bad.does(Deed::Keep);
    let event = scene.say(0, "hello");
    scene.minutes(30);
    assert_eq!(scene.delivery(0, &event, 1), "at_relay");
    scene.bad.does(Deed::Pass);
    // The relay has said that it keeps mail for a day.
    scene.minutes(24 * 60 + 30);
    assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["hello".into()], "delivered".into()));
}

#[test]
fn what_one_relay_drops_another_brings() {
    let scene = Scene::new(2, &[BAD, GOOD]);
    scene.bad.does(Deed::Keep);
    let event = scene.say(0, "hello");
    scene.run();
    assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["hello".into()], "delivered".into()));
}

#[test]
fn an_answer_that_the_relay_makes_up_neither_delivers_nor_refuses() {
    let made_up = [(200, r#"{"pdus":{}}"#), (200, "{}"), (400, r#"{"errcode":"M_BAD_JSON","error":"no"}"#), (413, "{}"), (500, "{}")];
    for (status, body) in made_up {
        let scene = Scene::new(2, &[BAD]);
        scene.bad.does(Deed::MakeUp(status, body));
        let event = scene.say(0, "hello");
        scene.minutes(3);
        assert_eq!(scene.delivery(0, &event, 1), "queued", "{status} {body}");
        scene.bad.does(Deed::Pass);
        scene.minutes(15);
        assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["hello".into()], "delivered".into()), "{status} {body}");
    }
}

#[test]
fn who_is_told_a_made_up_answer_asks_the_next_relay() {
    let scene = Scene::new(2, &[BAD, GOOD]);
    scene.bad.does(Deed::MakeUp(200, r#"{"pdus":{}}"#));
    let event = scene.say(0, "hello");
    assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["hello".into()], "delivered".into()));
}

#[test]
fn an_answer_is_worth_nothing_for_another_transaction() {
    let scene = Scene::new(2, &[BAD]);
    scene.say(0, "one");
    assert!(scene.bad.given().last().unwrap().uri.contains("/send/"));
    scene.bad.does(Deed::AnswerAsBefore);
    let event = scene.say(0, "two");
    assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["one".into()], "queued".into()));
}

#[test]
fn what_a_relay_repeats_happens_once() {
    let scene = Scene::new(2, &[BAD]);
    scene.bad.does(Deed::Keep);
    scene.say(0, "hello");
    let device = json!({ "messages": { &scene.users[1].id: { "*": { "key": "value" } } } });
    scene.hosts[0].put(&scene.users[0], "/_matrix/client/v3/sendToDevice/m.test/1", device).ok();
    scene.minutes(1);
    let letters = transactions(scene.bad.given());
    let hand_all = |entry: u64| {
        for letter in &letters {
            assert_eq!(scene.hand(&scene.bad, 1, &letter.of_mailbox(entry)), 200);
        }
        scene.minutes(1);
    };
    hand_all(1);
    let state = scene.state(1);
    assert_eq!(scene.seen(1), ["hello"]);
    assert_eq!(state.2[0]["events"].as_array().unwrap().len(), 1);
    for entry in 2..20 {
        hand_all(entry);
    }
    assert_eq!(scene.state(1), state);
}

#[test]
fn the_order_in_which_a_relay_brings_things_does_not_matter() {
    let scene = Scene::new(2, &[BAD]);
    scene.bad.does(Deed::Keep);
    let texts: Vec<_> = (0..20).map(|number| format!("message {number}")).collect();
    let events: Vec<_> = texts.iter().map(|text| scene.say(0, text)).collect();
    let (user, topic) = (&scene.users[0], |text: &str| json!({ "topic": text }));
    for text in ["old", "new"] {
        scene.hosts[0].put_state(user, &scene.room, "m.room.topic", "", topic(text));
        scene.run();
    }
    for letter in transactions(scene.bad.given()).iter().rev() {
        assert_eq!(scene.hand(&scene.bad, 1, letter), 200);
    }
    scene.bad.does(Deed::Pass);
    scene.minutes(30);
    assert_eq!(scene.seen(1), texts);
    assert_eq!(scene.hosts[1].state(&scene.users[1], &scene.room, "m.room.topic", "").ok().text("topic"), "new");
    assert_eq!(events.len(), 20);
}

#[test]
fn what_a_relay_alters_is_refused_and_changes_nothing() {
    let scene = Scene::new(3, &[BAD]);
    scene.bad.does(Deed::Keep);
    scene.say(0, "hello");
    let letter = transactions(scene.bad.given()).remove(0);
    let state = scene.state(1);
    let (alice, bob, carol) = (scene.name(0), scene.name(1), scene.name(2));
    let authorization = letter.headers.first("authorization").unwrap().to_owned();
    let authorized = |value: String| Letter { headers: letter.headers.clone().with("authorization", value), ..letter.clone() };
    let altered = [
        letter.with_text("hello", "adieu"),
        letter.with_text("\"pdus\":", "\"edus\":[{\"edu_type\":\"m.typing\",\"content\":{}}],\"pdus\":"),
        Letter { uri: OTHER_TRANSACTION.into(), ..letter.clone() },
        Letter { uri: format!("{}?more", letter.uri), ..letter.clone() },
        Letter { method: "POST".into(), ..letter.clone() },
        Letter { headers: Headers::default(), ..letter.clone() },
        authorized(authorization.replace(&alice, &carol)),
        authorized(authorization.replace(&bob, &carol)),
        authorized(authorization.replace("sig=\"", "sig=\"AAAA")),
    ];
    for (number, altered) in altered.iter().enumerate() {
        let status = scene.hand(&scene.bad, 1, altered);
        assert!(matches!(status, 401 | 405), "{number}: {status}");
        let status = scene.hand(&scene.bad, 1, &altered.of_mailbox(1));
        assert!(matches!(status, 401 | 405), "{number}: {status}");
        assert_eq!(scene.state(1), state, "{number}");
    }
    assert_eq!(scene.hand(&scene.bad, 1, &letter), 200, "as it was, it is taken");
    assert_eq!(scene.seen(1), ["hello"]);
}

#[test]
fn what_a_relay_replays_under_another_id_or_to_another_node_is_refused() {
    let scene = Scene::new(3, &[BAD]);
    scene.say(0, "hello");
    let letter = transactions(scene.bad.given()).remove(0);
    let bob = if letter.to == scene.name(1) { 1 } else { 2 };
    scene.minutes(1);
    let states = [scene.state(1), scene.state(2)];
    for number in 0..10 {
        let renamed = Letter { uri: format!("{OTHER_TRANSACTION}{number}"), ..letter.clone() };
        assert_eq!(scene.hand(&scene.bad, bob, &renamed), 401);
        assert_eq!(scene.hand(&scene.bad, 3 - bob, &letter.of_mailbox(number)), 401, "it is for somebody else");
        assert_eq!(scene.hand(&scene.bad, bob, &letter.of_mailbox(number)), 200, "it is known");
    }
    scene.minutes(5);
    assert_eq!([scene.state(1), scene.state(2)], states);
}

#[test]
fn a_join_on_answers_that_a_relay_has_altered_lets_nothing_false_in() {
    let alter: [fn(&str, &str) -> String; 3] = [
        |_, body| body.replace("\"Hall\"", "\"Fall\""),
        |_, body| body.replace("\"join_rule\":\"public\"", "\"join_rule\":\"invite\""),
        |uri, body| if uri.contains("send_join") { body.replace("\"signatures\"", "\"signature\"") } else { body.to_owned() },
    ];
    for alter in alter {
        let mut scene = Scene::empty();
        scene.add(&[BAD]);
        scene.add(&[BAD]);
        scene.room = scene.hosts[0].create_room(&scene.users[0], json!({ "preset": "public_chat", "name": "Hall" }));
        scene.bad.does(Deed::Change(Box::new(alter)));
        scene.join(1);
        scene.bad.does(Deed::Pass);
        scene.minutes(30);
        let state = scene.hosts[1].get(&scene.users[1], &support::room_path(&scene.room, "state"));
        let events = state.body.as_array().cloned().unwrap_or_default();
        let content = |kind: &str| events.iter().find(|event| event["type"] == kind).map(|event| event["content"].clone());
        assert!(matches!(content("m.room.name"), None | Some(Value::Object(_))));
        assert_ne!(content("m.room.name").unwrap_or_default()["name"], "Fall");
        assert_ne!(content("m.room.join_rules").unwrap_or_default()["join_rule"], "invite");
    }
}

/// Alice's and Bob's nodes behind the bad relay, which does this from before Alice's node has asked for Bob's devices.
fn with_bobs_device(deed: Deed) -> Scene {
    let mut scene = Scene::empty();
    scene.add(&[BAD]);
    scene.add(&[BAD]);
    let bob = &scene.users[1];
    let keys = Signer::of_device(&bob.id, &bob.device, 1).device_keys();
    scene.hosts[1].post(bob, "/_matrix/client/v3/keys/upload", json!({ "device_keys": keys })).ok();
    scene.hosts[1].put(bob, &profile_of(bob), json!({ "displayname": "Bob" })).ok();
    scene.minutes(1);
    scene.room = scene.hosts[0].create_room(&scene.users[0], json!({ "preset": "public_chat" }));
    scene.bad.does(deed);
    scene
}

fn profile_of(user: &support::User) -> String {
    format!("/_matrix/client/v3/profile/{}/displayname", support::encode(&user.id))
}

/// Bob's devices as Alice's client is told of them; none while his node is not believed to have answered.
fn bobs_devices(scene: &Scene) -> Option<Vec<String>> {
    let (alice, bob) = (&scene.users[0], &scene.users[1]);
    let answer = scene.hosts[0].post(alice, "/_matrix/client/v3/keys/query", json!({ "device_keys": { &bob.id: [] } })).ok().body;
    let is_failure = answer["failures"].get(scene.name(1)).is_some();
    (!is_failure).then(|| answer["device_keys"][&bob.id].as_object().into_iter().flatten().map(|(id, _)| id.clone()).collect())
}

fn insert_device(body: &str, user: &str, devices: impl Fn(&mut Value) -> Option<&mut Value>) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let keys = Signer::of_device(user, "EVIL", 66).device_keys();
    let devices = devices(&mut body).and_then(Value::as_array_mut).expect("there are devices");
    devices.push(json!({ "device_id": "EVIL", "keys": keys }));
    body.to_string()
}

#[test]
fn a_device_that_a_relay_inserts_or_drops_is_never_told() {
    let bob = with_bobs_device(Deed::Pass).users[1].id.clone();
    let insert: Change = Box::new(move |uri, body| match uri.contains("user/devices") {
        true => insert_device(body, &bob, |body| body.get_mut("devices")),
        false => body.to_owned(),
    });
    let drop: Change = Box::new(|uri, body| match uri.contains("user/devices") {
        true => {
            let mut body: Value = serde_json::from_str(body).unwrap();
            body["devices"] = json!([]);
            body.to_string()
        }
        false => body.to_owned(),
    });
    for change in [insert, drop] {
        let scene = with_bobs_device(Deed::Change(change));
        assert_eq!(scene.join(1), 200);
        assert_eq!(bobs_devices(&scene), None);
        scene.bad.does(Deed::Pass);
        scene.minutes(15);
        assert_eq!(bobs_devices(&scene), Some(vec![scene.users[1].device.clone()]));
    }
}

#[test]
fn a_profile_that_a_relay_alters_is_never_told() {
    let scene = with_bobs_device(Deed::Change(Box::new(|_, body| body.replace("Bob", "Mallory"))));
    let target = profile_of(&scene.users[1]);
    assert_eq!(scene.hosts[0].get(&scene.users[0], &target).status, 502);
    scene.bad.does(Deed::Pass);
    assert_eq!(scene.hosts[0].get(&scene.users[0], &target).ok().text("displayname"), "Bob");
}

#[test]
fn an_answer_to_an_earlier_question_is_none() {
    let scene = with_bobs_device(Deed::Pass);
    let target = profile_of(&scene.users[1]);
    assert_eq!(scene.hosts[0].get(&scene.users[0], &target).ok().text("displayname"), "Bob");
    scene.bad.does(Deed::AnswerAsBefore);
    assert_eq!(scene.hosts[0].get(&scene.users[0], &target).status, 502, "Bob may have another name by now");
}

#[test]
fn what_a_node_has_left_with_a_relay_is_answered_as_it_was_left_or_not_at_all() {
    let unchanged = || Deed::Deposit(Box::new(|_, body| body.to_owned()));
    let scene = with_bobs_device(Deed::Pass);
    let (bob, target) = (scene.users[1].id.clone(), profile_of(&scene.users[1]));
    let profile = || scene.hosts[0].get(&scene.users[0], &target);
    assert_eq!(scene.join(1), 200);
    scene.bad.does(Deed::Deposit(Box::new(move |uri, body| match uri.contains("user/devices") {
        true => {
            insert_device(body, &bob, |body| body["deposits"].as_object_mut()?.values_mut().next()?.pointer_mut("/content/devices/devices"))
        }
        false => body.replace("Bob", "Mallory"),
    })));
    assert_eq!((bobs_devices(&scene), profile().status), (None, 502));
    scene.bad.does(unchanged());
    scene.minutes(15);
    assert_eq!(bobs_devices(&scene), Some(vec![scene.users[1].device.clone()]));
    assert_eq!(profile().ok().text("displayname"), "Bob");

    let before = scene.bad.deposits.borrow().clone();
    scene.bad.does(Deed::Pass);
    scene.hosts[1].put(&scene.users[1], &target, json!({ "displayname": "Robert" })).ok();
    scene.minutes(1);
    scene.bad.does(unchanged());
    assert_eq!(profile().ok().text("displayname"), "Robert");
    *scene.bad.deposits.borrow_mut() = before;
    assert_eq!(profile().status, 502, "what was left before is worth nothing any more");
}

#[test]
fn another_relays_challenge_is_answered_with_what_is_worth_nothing_there() {
    use futures_util::{SinkExt, StreamExt};
    use inglenook::relays::{Message, RelayTransport, Socket, Sockets};
    use inglenook::{Config, ports::Clock};
    use support::{Executor, Host, ManualClock, socket};

    /// Hands out one end of a socket, and keeps the other for the test.
    struct Forwarder(Rc<RefCell<Option<socket::End>>>);
    impl Sockets for Forwarder {
        fn dial<'a>(&'a self, _: &'a str) -> futures_util::future::LocalBoxFuture<'a, std::io::Result<Box<dyn Socket>>> {
            let (node, relay) = socket::socket();
            *self.0.borrow_mut() = Some(relay);
            Box::pin(async move { Ok(Box::new(node) as Box<dyn Socket>) })
        }
        fn post<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: Vec<u8>,
        ) -> futures_util::future::LocalBoxFuture<'a, std::io::Result<inglenook::http::Pieces>> {
            Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
        }
    }
    let (executor, clock, dialled) = (Executor::new(), Rc::new(ManualClock::new()), Rc::new(RefCell::new(None)));
    let transport = RelayTransport::new(Box::new(Forwarder(Rc::clone(&dialled))));
    let config = Config { relays: vec![BAD.into()], ..Config::default() };
    let host = Host::over(executor, Rc::clone(&clock), Rc::clone(&transport) as _, config, 1);
    let server = Rc::clone(&host.server());
    host.drive(transport.run(server));
    host.run();

    let good = relay::Relay::new(GOOD, &clock, 102);
    let challenge = good.challenge();
    let mut end = dialled.take().expect("the node has dialled");
    host.block_on(end.send(Message::Text(json!(challenge).to_string()))).unwrap();
    let Some(Ok(Message::Text(proof))) = host.block_on(end.next()) else { panic!("the node answers") };
    let proof = serde_json::from_str(&proof).unwrap();
    let refusal = challenge.check(&proof, clock.now(), |host| good.is_own(host)).unwrap_err();
    assert_eq!(refusal.errcode, "M_UNAUTHORIZED");
    assert!(refusal.error.contains("bad.example"), "{refusal}");
    assert!(challenge.check(&proof, clock.now(), |host| host_of(BAD).as_deref() == Some(host)).is_ok(), "the host is all that is wrong");
}

#[test]
fn a_relay_reads_nothing_that_was_not_asked_through_it() {
    let scene = Scene::new(2, &[BAD]);
    let event = scene.say(0, "hello");
    let state = scene.state(0);
    let (room, event) = (support::encode(&scene.room), support::encode(&event));
    let reader = stranger(77);
    let ask = |method: &str, uri: &str| {
        let plain = Letter { method: method.into(), to: scene.name(0), uri: uri.into(), headers: Headers::default(), body: Vec::new() };
        let signed = Letter::signed(&reader, &scene.name(0), method, uri, None);
        (scene.hand(&scene.bad, 0, &plain), scene.hand(&scene.bad, 0, &signed))
    };
    for uri in [
        format!("/_matrix/client/v3/rooms/{room}/messages?dir=b"),
        "/_matrix/client/v3/sync".into(),
        "/_matrix/client/v3/account/whoami".into(),
        "/_inglenook/relays".into(),
        "/_inglenook/storage".into(),
        "/_inglenook/relay/v1/deposit/keys".into(),
    ] {
        assert_eq!(ask("GET", &uri), (404, 404), "{uri}");
    }
    for uri in [
        format!("/_matrix/federation/v1/event/{event}"),
        format!("/_matrix/federation/v1/state/{room}?event_id={event}"),
        format!("/_matrix/federation/v1/backfill/{room}?v={event}&limit=9"),
        format!("/_matrix/federation/v1/event_auth/{room}/{event}"),
    ] {
        let (plain, signed) = ask("GET", &uri);
        assert_eq!((plain, matches!(signed, 403 | 404)), (401, true), "{uri}: {signed}");
    }
    assert_eq!(scene.state(0), state);
}

#[test]
fn a_relay_that_never_answers_holds_up_nobody_who_has_another() {
    let scene = Scene::new(2, &[BAD, GOOD]);
    scene.bad.does(Deed::Hang);
    let event = scene.say(0, "hello");
    scene.minutes(5);
    assert_eq!((scene.seen(1), scene.delivery(0, &event, 1)), (vec!["hello".into()], "delivered".into()));
    let event = scene.say(0, "again");
    assert_eq!(scene.delivery(0, &event, 1), "delivered", "who has not answered is asked last");
}

#[test]
fn a_relay_that_sends_no_frames_is_dialled_again_and_harms_no_other_tunnel() {
    let mut scene = Scene::new(2, &[GOOD]);
    *scene.bad.garbage.borrow_mut() = Some(vec![0xff; 4096]);
    scene.add(&[BAD, GOOD]);
    scene.minutes(3);
    assert!(*scene.bad.dialled.borrow() >= 3, "it is tried again");
    assert!(!scene.bad.has(&scene.name(2)) && scene.good.has(&scene.name(2)));
    assert_eq!(scene.join(2), 200);
    *scene.bad.garbage.borrow_mut() = None;
    scene.minutes(2);
    assert!(scene.bad.has(&scene.name(2)));
}

#[test]
fn an_answer_without_an_end_is_read_no_further_than_answers_go() {
    let scene = Scene::new(2, &[BAD]);
    let poured = Rc::new(RefCell::new(0));
    scene.bad.does(Deed::Pour(Rc::clone(&poured)));
    scene.say(0, "hello");
    let megabytes = *poured.borrow();
    // It is asked twice: as the destination's relay, and as this node's own.
    assert!((1..=140).contains(&megabytes), "{megabytes}");
}

#[test]
fn requests_of_keys_that_nobody_knows_leave_nothing_behind() {
    let scene = Scene::new(2, &[BAD]);
    let rows = scene.rows(1);
    for number in 0..200 {
        let key = stranger(1_000 + number);
        let name = key.server_name();
        let uri = format!("/_matrix/federation/v1/send/{number}");
        let edus = [
            json!({ "edu_type": "im.inglenook.received", "content": { "transactions": ["a", "b"] } }),
            json!({ "edu_type": "m.presence", "content": { "push": [{ "user_id": format!("@u:{name}"), "presence": "online", "last_active_ago": 1 }] } }),
            json!({ "edu_type": "m.typing", "content": { "room_id": scene.room, "user_id": format!("@u:{name}"), "typing": true } }),
            json!({ "edu_type": "m.device_list_update", "content": { "user_id": format!("@u:{name}"), "device_id": "A", "stream_id": 1 } }),
        ];
        for edu in edus {
            let body = json!({ "origin": name, "origin_server_ts": 1, "pdus": [], "edus": [edu] });
            let letter = Letter::signed(&key, &scene.name(1), "PUT", &uri, Some(&body));
            assert_eq!(scene.hand(&scene.bad, 1, &letter.of_mailbox(number)), 200);
        }
    }
    scene.minutes(2);
    assert_eq!(scene.rows(1), rows);
}
