//! What one server tells another: live, after a partition, through a relay, and beside the log.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use inglenook::http::{Method, Request};
use serde_json::{Value, json};
use support::{
    Host, Network, User, encode,
    network::{Carried, Treatment},
    room_path,
};

/// Hosts whose users are in a room of the first.
struct Scene {
    network: Network,
    users: Vec<User>,
    room: String,
}

impl Scene {
    fn new(count: u64) -> Self {
        let network = Network::of_keys(count);
        let names = ["alice", "bob", "carol"];
        let users: Vec<_> = (0..network.len()).map(|at| network[at].register(names[at])).collect();
        let room = network[0].create_room(&users[0], json!({ "preset": "public_chat", "name": "Hall" }));
        let scene = Self { network, users, room };
        for at in 1..scene.network.len() {
            let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&scene.room), encode(&scene.network[0].name()));
            scene.network[at].post(&scene.users[at], &target, json!({})).ok();
            scene.network.run();
        }
        scene
    }

    fn say(&self, at: usize, text: &str) -> String {
        let id = self.network[at].send(&self.users[at], &self.room, text);
        self.network.run();
        id
    }

    /// The texts of the messages that a user sees.
    fn seen(&self, at: usize) -> Vec<String> {
        let messages = self.network[at].get(&self.users[at], &room_path(&self.room, "messages?dir=f&limit=500")).ok().body;
        let messages = messages["chunk"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.message");
        messages.map(|event| event["content"]["body"].as_str().unwrap().to_owned()).collect()
    }

    fn delivery(&self, at: usize, event: &str) -> Value {
        let target = format!("/_inglenook/rooms/{}/delivery?event_id={}", encode(&self.room), encode(event));
        self.network[at].get(&self.users[at], &target).ok().body
    }

    fn state(&self, at: usize, event: &str, to: usize) -> String {
        let answer = self.delivery(at, event);
        let state = &answer["events"][event]["destinations"][self.network[to].name()]["state"];
        state.as_str().unwrap().to_owned()
    }

    fn choose_relays(&self, relays: &[String]) {
        self.network[0].put(&self.users[0], "/_inglenook/relays", json!({ "relays": relays })).ok();
        self.network.run();
    }

    fn post(&self, at: usize, below: &str, body: Value) {
        self.network[at].post(&self.users[at], &room_path(&self.room, below), body).ok();
        self.network.run();
    }
}

fn is_transaction(carried: &Carried) -> bool {
    carried.target.contains("/send/")
}

fn ephemeral(host: &Host, user: &User, room: &str, kind: &str) -> Value {
    let sync = host.sync(user, None);
    let events = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().find(|event| event["type"] == kind).unwrap_or_default()["content"].clone()
}

#[test]
fn messages_go_both_ways() {
    let scene = Scene::new(2);
    let event = scene.say(0, "hello");
    scene.say(1, "hi");
    assert_eq!(scene.seen(0), ["hello", "hi"]);
    assert_eq!(scene.seen(1), ["hello", "hi"]);
    assert_eq!(scene.state(0, &event, 1), "delivered");
    let event = scene.say(1, "and you");
    assert_eq!(scene.state(1, &event, 0), "delivered");
    assert_eq!(scene.delivery(0, &event)["events"][&event]["destinations"], json!({}), "it is not for this server to send it");
}

#[test]
fn after_a_partition_both_sides_have_everything() {
    let scene = Scene::new(3);
    scene.network.cut(0, 1);
    for number in 0..60 {
        scene.say(0, &format!("a{number}"));
        scene.say(1, &format!("b{number}"));
    }
    scene.network.heal(0, 1);
    scene.network.advance_in_steps(60_000, 20);
    for at in 0..3 {
        let mut seen = scene.seen(at);
        seen.sort();
        let mut all: Vec<_> = (0..60).flat_map(|number| [format!("a{number}"), format!("b{number}")]).collect();
        all.sort();
        assert_eq!(seen, all, "{at}");
    }
}

#[test]
fn through_a_relay_it_is_at_the_relay_until_the_destination_has_acknowledged() {
    let scene = Scene::new(2);
    let bob = scene.network[1].name();
    let to = bob.clone();
    scene.network.treat(move |carried| if carried.to == to { Treatment::Keep } else { Treatment::Carry });
    let events: Vec<_> = (0..5).map(|number| scene.say(0, &number.to_string())).collect();
    assert!(events.iter().all(|event| scene.state(0, event, 1) == "at_relay"));
    assert!(scene.seen(1).is_empty());
    scene.network.treat_well();
    scene.network.deliver_mail(1);
    assert_eq!(scene.seen(1), ["0", "1", "2", "3", "4"]);
    assert!(events.iter().all(|event| scene.state(0, event, 1) == "delivered"));
}

#[test]
fn an_acknowledgement_outlives_the_death_of_who_owes_it() {
    let mut scene = Scene::new(2);
    let bob = scene.network[1].name();
    let to = bob.clone();
    scene.network.treat(move |carried| if carried.to == to { Treatment::Keep } else { Treatment::Lose });
    let event = scene.say(0, "hello");
    scene.network.deliver_mail(1);
    scene.network[1].restart();
    scene.network.run();
    assert_eq!(scene.state(0, &event, 1), "at_relay");
    scene.network.treat_well();
    scene.network.advance_in_steps(60_000, 3);
    assert_eq!(scene.state(0, &event, 1), "delivered");
    let before = scene.network.carried().len();
    scene.network[1].restart();
    scene.network.advance_in_steps(60_000, 3);
    let acknowledged_again = scene.network.carried().into_iter().filter(|carried| carried.body.to_string().contains("received")).count();
    assert!(before > 0 && acknowledged_again == 0, "it is acknowledged once");
}

#[test]
fn mail_that_a_relay_has_lost_is_sent_again() {
    let scene = Scene::new(2);
    let to = scene.network[1].name();
    scene.network.treat(move |carried| if carried.to == to { Treatment::Keep } else { Treatment::Carry });
    let lost = scene.say(0, "lost");
    scene.network.lose_mail();
    scene.network.treat_well();
    scene.say(0, "live");
    scene.network.advance_in_steps(60_000, 15);
    assert_eq!(scene.state(0, &lost, 1), "delivered");
    assert_eq!(scene.seen(1).len(), 2);
}

#[test]
fn who_types_is_seen_elsewhere_and_not_for_ever() {
    let scene = Scene::new(2);
    scene.say(0, "hello");
    let put = |typing: bool| {
        let target = room_path(&scene.room, &format!("typing/{}", encode(&scene.users[0].id)));
        scene.network[0].put(&scene.users[0], &target, json!({ "typing": typing, "timeout": 100_000 })).ok();
        scene.network.run();
    };
    let typing = || ephemeral(&scene.network[1], &scene.users[1], &scene.room, "m.typing")["user_ids"].clone();
    put(true);
    assert_eq!(typing(), json!([scene.users[0].id]));
    scene.network.advance_in_steps(10_000, 9);
    assert_eq!(typing(), json!([scene.users[0].id]), "who goes on is told again");
    scene.network.advance_in_steps(10_000, 2);
    assert_ne!(typing(), json!([scene.users[0].id]));
    put(true);
    put(false);
    assert_ne!(typing(), json!([scene.users[0].id]));
}

#[test]
fn nobody_is_told_later_who_was_typing() {
    let scene = Scene::new(2);
    scene.say(0, "hello");
    scene.network.cut(0, 1);
    let target = room_path(&scene.room, &format!("typing/{}", encode(&scene.users[0].id)));
    scene.network[0].put(&scene.users[0], &target, json!({ "typing": true, "timeout": 5_000 })).ok();
    scene.network.run();
    scene.network.advance(6_000);
    scene.network.carried();
    scene.network.heal(0, 1);
    scene.network.advance_in_steps(10_000, 100);
    let carried = scene.network.carried();
    assert!(carried.iter().all(|carried| !carried.body.to_string().contains("\"typing\":true")), "{carried:?}");
}

#[test]
fn receipts_are_seen_elsewhere() {
    let scene = Scene::new(2);
    let event = scene.say(0, "hello");
    scene.post(1, &format!("receipt/m.read/{}", encode(&event)), json!({}));
    let receipts = ephemeral(&scene.network[0], &scene.users[0], &scene.room, "m.receipt");
    assert!(receipts[&event]["m.read"][&scene.users[1].id]["ts"].is_u64(), "{receipts}");
}

#[test]
fn a_receipt_may_come_before_its_event() {
    let scene = Scene::new(3);
    let reader = &scene.users[1].id;
    let read = |event: &str| scene.post(1, &format!("receipt/m.read/{}", encode(event)), json!({}));
    let receipts = || ephemeral(&scene.network[2], &scene.users[2], &scene.room, "m.receipt");
    scene.network.cut(0, 2);
    let event = scene.say(0, "hello");
    read(&event);
    scene.network.heal(0, 2);
    scene.network.advance_in_steps(10_000, 100);
    assert_eq!(scene.seen(2), ["hello"]);
    assert!(receipts()[&event]["m.read"][reader]["ts"].is_u64(), "{}", receipts());
    let next = scene.say(0, "again");
    read(&next);
    assert!(receipts()[&next]["m.read"][reader]["ts"].is_u64(), "{}", receipts());
}

#[test]
fn a_receipt_that_comes_late_does_not_take_the_place_of_a_later_one() {
    let scene = Scene::new(3);
    let reader = &scene.users[1].id;
    let receipts = || ephemeral(&scene.network[2], &scene.users[2], &scene.room, "m.receipt");
    scene.network.cut(0, 2);
    let read = |event: &str| scene.post(1, &format!("receipt/m.read/{}", encode(event)), json!({}));
    let (first, last) = (scene.say(0, "hello"), scene.say(0, "again"));
    scene.network.treat(|carried| if is_transaction(carried) { Treatment::Keep } else { Treatment::Carry });
    read(&first);
    scene.network.treat_well();
    scene.network.advance(1_000);
    read(&last);
    scene.network.deliver_mail(2);
    assert!(receipts()[&last]["m.read"][reader]["ts"].is_u64(), "{}", receipts());
}

#[test]
fn a_message_to_a_device_is_sent_and_then_kept_no_longer() {
    let scene = Scene::new(2);
    let body = json!({ "messages": { &scene.users[1].id: { &scene.users[1].device: { "secret": "s" } } } });
    scene.network.cut(0, 1);
    scene.network[0].put(&scene.users[0], "/_matrix/client/v3/sendToDevice/m.test/1", body).ok();
    scene.network.run();
    let rows = || {
        let usage = scene.network[0].get(&scene.users[0], "/_inglenook/status").ok().body;
        usage["tables"].as_array().unwrap().iter().find(|table| table["name"] == "to_device_out").unwrap()["rows"].clone()
    };
    assert_eq!(rows(), 1);
    scene.network.heal(0, 1);
    scene.network.carried();
    scene.network.advance_in_steps(1_000, 5);
    let sent = scene.network.carried().into_iter().filter(is_transaction).find(|carried| carried.body["edus"].is_array()).unwrap();
    assert_eq!(sent.body["edus"][0]["edu_type"], "m.direct_to_device");
    assert_eq!(sent.body["edus"][0]["content"]["messages"][&scene.users[1].id][&scene.users[1].device]["secret"], "s");
    assert_eq!(rows(), 0);
}

#[test]
fn a_new_device_is_told_to_servers_that_share_a_room() {
    let scene = Scene::new(2);
    scene.network.carried();
    let second = scene.network[0].log_in(&scene.users[0]);
    scene.network.run();
    let carried = scene.network.carried();
    let update = carried.iter().filter(|carried| is_transaction(carried)).find_map(|carried| {
        let edus = carried.body["edus"].as_array()?;
        edus.iter().find(|edu| edu["edu_type"] == "m.device_list_update" && edu["content"]["device_id"] == second.device.as_str()).cloned()
    });
    let update = update.unwrap_or_else(|| panic!("{carried:?}"));
    assert!(update["content"]["stream_id"].is_u64());
}

/// Alice's server has told one of the others and is gone; the others meet again, and nobody says anything new.
#[test]
fn rooms_converge_without_another_message() {
    let scene = Scene::new(3);
    for at in 0..3 {
        scene.say(at, "hello");
    }
    scene.network.cut(1, 2);
    scene.network.cut(0, 2);
    scene.say(0, "last words");
    scene.network.cut(0, 1);
    scene.network.advance_in_steps(600_000, 6);
    assert!(!scene.seen(2).contains(&"last words".to_owned()));
    scene.network.heal(1, 2);
    scene.network[2].network_is_back();
    scene.network.advance_in_steps(60_000, 20);
    assert!(scene.seen(2).contains(&"last words".to_owned()), "{:?}", scene.seen(2));
}

#[test]
fn a_client_can_wait_for_a_delivery() {
    let scene = Scene::new(2);
    scene.network.cut(0, 1);
    let event = scene.say(0, "hello");
    let serial = scene.delivery(0, &event)["serial"].as_str().unwrap().to_owned();
    let target =
        format!("/_inglenook/rooms/{}/delivery?event_id={}&since={}&timeout=60000", encode(&scene.room), encode(&event), encode(&serial));
    let mut pending = scene.network[0].begin(Method::Get, &target, Some(&scene.users[0].token), None);
    assert!(pending.answer().is_none());
    scene.network.heal(0, 1);
    scene.network.advance_in_steps(1_000, 3);
    let answer = pending.answer().expect("something has changed").ok().body;
    assert_eq!(answer["events"][&event]["destinations"][scene.network[1].name()]["state"], "delivered");
}

#[test]
fn a_node_record_is_learnt_from_a_transaction_passed_on_and_used() {
    let mut scene = Scene::new(2);
    scene.say(0, "hello");
    let relays = ["https://relay.example".to_owned(), "https://other.example".to_owned()];
    for seq in 0..2 {
        let wanted = relays[seq..].to_vec();
        scene.choose_relays(&wanted);
        scene.network.run();
        let target = format!("/_inglenook/relay/v1/record/{}", scene.network[0].name());
        let known = scene.network[1].federation(Request::new(Method::Get, &target)).ok().body;
        assert_eq!(known["relays"], json!(wanted));
        scene.network.carried();
        scene.say(1, "hi");
        let sent = scene.network.carried().into_iter().find(is_transaction).unwrap();
        assert_eq!(sent.relays, wanted);
    }
    scene.network.carried();
    scene.network[0].restart();
    scene.network.advance_in_steps(1_000, 5);
    assert!(scene.network.carried().is_empty(), "what was told is not told again");
}

#[test]
fn the_servers_that_a_user_meets_in_a_room_are_told_of_the_devices() {
    let network = Network::of_keys(3);
    let (alice, bob, carol) = (network[0].register("alice"), network[1].register("bob"), network[2].register("carol"));
    let second = network[0].log_in(&alice);
    let meet = |host: usize, owner: &User| {
        let room = network[host].create_room(owner, json!({ "preset": "public_chat" }));
        let target = format!("/_matrix/client/v3/join/{}?via={}", encode(&room), encode(&network[host].name()));
        network.carried();
        network[0].post(&alice, &target, json!({})).ok();
        network.run();
        let carried = network.carried().into_iter().filter(|carried| is_transaction(carried) && carried.to == network[host].name());
        let edus = carried.flat_map(|carried| carried.body["edus"].as_array().cloned().unwrap_or_default());
        let updates = edus.filter(|edu| edu["edu_type"] == "m.device_list_update");
        let mut devices: Vec<_> = updates.map(|edu| edu["content"]["device_id"].as_str().unwrap().to_owned()).collect();
        devices.sort();
        devices
    };
    let mut all = vec![alice.device.clone(), second.device];
    all.sort();
    assert_eq!(meet(1, &bob), all);
    assert_eq!(meet(2, &carol), all, "a server that is new to her");
    assert_eq!(meet(1, &bob), Vec::<String>::new(), "and nothing to one that knows");
}

/// Bob's server keeps mail for Alice's at two relays, of which only the first takes what it is given.
fn half_kept(scene: &Scene, retention: u64) -> [String; 2] {
    let relays = ["https://one.example".to_owned(), "https://two.example".to_owned()];
    scene.say(0, "hello");
    scene.choose_relays(&relays);
    keep_at(scene, relays[0].clone(), retention);
    relays
}

/// Transactions of Bob's server that may go to a relay are kept by it; others are lost.
fn keep_at(scene: &Scene, relay: String, retention: u64) {
    let from = scene.network[1].name();
    scene.network.treat(move |carried| match is_transaction(carried) && carried.from == from {
        true if carried.relays.contains(&relay) => Treatment::KeepAt(vec![relay.clone()], retention),
        true => Treatment::Lose,
        false => Treatment::Carry,
    });
}

/// The transactions of Bob's server since the last call: by which relays, and their IDs.
fn attempts(scene: &Scene) -> Vec<(Vec<String>, String)> {
    let carried = scene.network.carried().into_iter().filter(|carried| is_transaction(carried) && carried.from == scene.network[1].name());
    carried.map(|carried| (carried.relays, carried.target)).collect()
}

const MONTH: u64 = 30 * 24 * 3_600_000;

#[test]
fn a_relay_that_has_not_taken_what_another_has_is_tried_until_it_does() {
    let mut scene = Scene::new(2);
    let relays = half_kept(&scene, MONTH);
    scene.network.carried();
    let event = scene.say(1, "one");
    scene.network.advance_in_steps(1_000, 60);
    assert_eq!(scene.state(1, &event, 0), "at_relay");
    let tried = attempts(&scene);
    let (first, rest) = tried.split_first().unwrap();
    assert_eq!(first.0, relays);
    assert!(rest.len() > 2 && rest.iter().all(|(by, _)| *by == relays[1..]), "{tried:?}");
    let of_event = rest.iter().filter(|(_, id)| *id == first.1).count();
    assert_eq!(of_event, rest.len(), "under the same ID, so that the copies are known as such");
    scene.network[1].restart();
    keep_at(&scene, relays[1].clone(), MONTH);
    scene.network.advance_in_steps(60_000, 40);
    assert!(attempts(&scene).iter().any(|(by, id)| *by == relays[1..] && *id == first.1), "also after a restart");
    scene.network.advance_in_steps(60_000, 60);
    assert_eq!(attempts(&scene), [], "both have it");
    assert_eq!(scene.state(1, &event, 0), "at_relay");
}

#[test]
fn what_is_acknowledged_is_offered_to_no_other_relay() {
    let scene = Scene::new(2);
    half_kept(&scene, MONTH);
    let event = scene.say(1, "one");
    scene.network.advance_in_steps(1_000, 10);
    scene.network.deliver_mail(0);
    scene.network.advance_in_steps(1_000, 10);
    assert_eq!((scene.state(1, &event, 0).as_str(), scene.seen(0)), ("delivered", vec!["hello".into(), "one".into()]));
    scene.network.carried();
    scene.network.advance_in_steps(60_000, 60);
    assert_eq!(attempts(&scene), []);
}

#[test]
fn mail_is_sent_again_when_the_relays_own_retention_has_passed() {
    let scene = Scene::new(2);
    half_kept(&scene, 48 * 3_600_000);
    let event = scene.say(1, "one");
    keep_at(&scene, "https://nobody.example".into(), 0);
    scene.network.lose_mail();
    scene.network.advance_in_steps(600_000, 46 * 6);
    assert_eq!(scene.state(1, &event, 0), "at_relay");
    scene.network.advance_in_steps(600_000, 4 * 6);
    assert_eq!(scene.state(1, &event, 0), "queued");
    scene.network.treat_well();
    scene.network.advance_in_steps(600_000, 6);
    assert_eq!(scene.state(1, &event, 0), "delivered");
}

#[test]
fn what_acknowledges_is_not_acknowledged() {
    let scene = Scene::new(2);
    scene.say(0, "hello");
    scene.network.treat(|carried| if is_transaction(carried) { Treatment::Keep } else { Treatment::Carry });
    let event = scene.say(1, "one");
    let exchange = || {
        for host in [0, 1] {
            scene.network.deliver_mail(host);
            scene.network.advance(1_000);
        }
    };
    (0..3).for_each(|_| exchange());
    assert_eq!(scene.state(1, &event, 0), "delivered");
    scene.network.carried();
    (0..3).for_each(|_| exchange());
    assert_eq!(attempts(&scene), [], "both have said all that there is to say");
}
