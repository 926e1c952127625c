//! Messages to devices: each device gets each message, in order, until it has shown that it has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::{
    http::Method,
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};
use support::{Answer, Fault, Host, Network, User, peer::Peer};

fn send_as(host: &Host, sender: &User, transaction: &str, messages: Value) -> Answer {
    host.put(sender, &target(transaction), json!({ "messages": messages }))
}

fn target(transaction: &str) -> String {
    format!("/_matrix/client/v3/sendToDevice/org.example.note/{transaction}")
}

fn send(host: &Host, sender: &User, to: &User, number: u64) {
    send_as(host, sender, &format!("t{number}"), json!({ &to.id: { &to.device: { "number": number } } })).ok();
}

/// The numbers of the messages that a sync tells.
fn numbers(sync: &Value) -> Vec<u64> {
    let messages = sync["to_device"]["events"].as_array().unwrap();
    messages.iter().map(|message| message["content"]["number"].as_u64().unwrap()).collect()
}

fn next(host: &Host, user: &User, before: &Value) -> Value {
    host.sync(user, before["next_batch"].as_str())
}

fn rows(host: &Host, table: Table) -> usize {
    host.block_on(host.database().scan(&Scan::prefix(Key::new(table)))).unwrap().len()
}

#[test]
fn a_message_is_told_until_the_next_sync_acknowledges_it() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let since = host.sync(&bob, None);
    send(&host, &alice, &bob, 1);
    let first = next(&host, &bob, &since);
    assert_eq!(first["to_device"]["events"], json!([{ "sender": alice.id, "type": "org.example.note", "content": { "number": 1 } }]));
    assert_eq!(numbers(&next(&host, &bob, &since)), [1], "an answer that was lost is given again");
    host.restart();
    assert_eq!(numbers(&next(&host, &bob, &since)), [1]);
    send(&host, &alice, &bob, 2);
    let second = next(&host, &bob, &first);
    assert_eq!((numbers(&second), rows(&host, Table::ToDevice)), (vec![2], 1));
    assert_eq!(numbers(&next(&host, &bob, &second)), [0; 0]);
    assert_eq!(rows(&host, Table::ToDevice), 0);
}

#[test]
fn a_waiting_sync_is_woken_for_its_own_device_alone() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let phone = host.log_in(&bob);
    let (since, since_phone) = (host.sync(&bob, None), host.sync(&phone, None));
    let mut poll = host.begin_sync(&bob, since["next_batch"].as_str(), 10_000);
    let mut poll_phone = host.begin_sync(&phone, since_phone["next_batch"].as_str(), 10_000);
    send(&host, &alice, &bob, 1);
    assert_eq!(numbers(&poll.answer().unwrap().ok().body), [1]);
    assert!(poll_phone.answer().is_none());
}

#[test]
fn an_asterisk_stands_for_all_devices() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let phone = host.log_in(&bob);
    let messages = json!({ &bob.id: { "*": { "number": 1 }, &phone.device: { "number": 2 }, "NONE": { "number": 3 } }, "@nobody:example.org": { "*": {} } });
    send_as(&host, &alice, "t", messages).ok();
    assert_eq!((numbers(&host.sync(&bob, None)), numbers(&host.sync(&phone, None))), (vec![1], vec![2]));
    assert_eq!(rows(&host, Table::ToDevice), 2, "nothing is kept for devices that there are not");
}

#[test]
fn the_same_request_sends_once_even_across_a_restart() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    send(&host, &alice, &bob, 1);
    send(&host, &alice, &bob, 1);
    host.restart();
    send(&host, &alice, &bob, 1);
    let phone = host.log_in(&alice);
    assert_eq!(numbers(&host.sync(&bob, None)), [1]);
    send(&host, &phone, &bob, 1);
    assert_eq!(numbers(&host.sync(&bob, None)), [1, 1], "another device has transactions of its own");
}

#[test]
fn many_messages_come_in_parts_and_in_order() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&bob, json!({}));
    for number in 0..250 {
        send(&host, &alice, &bob, number);
    }
    host.send(&bob, &room, "meanwhile");
    let mut sync = host.sync(&bob, None);
    assert!(sync["rooms"]["join"][&room].is_object(), "rooms do not wait for messages");
    let mut told = numbers(&sync);
    assert_eq!(told.len(), 100);
    host.restart();
    sync = next(&host, &bob, &sync);
    told.extend(numbers(&sync));
    assert_eq!((told.len(), rows(&host, Table::ToDevice)), (200, 150));
    sync = host.begin_sync(&bob, sync["next_batch"].as_str(), 10_000).answer().expect("the rest does not wait").body;
    told.extend(numbers(&sync));
    assert_eq!(told, (0..250).collect::<Vec<_>>());
    assert_eq!(numbers(&next(&host, &bob, &sync)), [0; 0]);
}

#[test]
fn a_message_that_was_acknowledged_is_durable_and_none_comes_twice() {
    for fault in [Fault::FailAt(1), Fault::StopBefore(1), Fault::StopAfter(1)] {
        let mut host = Host::new();
        let (alice, bob) = (host.register("alice"), host.register("bob"));
        let since = host.sync(&bob, None);
        host.store.set_fault(Some(fault));
        let body = json!({ "messages": { &bob.id: { &bob.device: { "number": 1 } }, "@x:elsewhere.example": { "*": {} } } });
        let mut pending = host.begin(Method::Put, &target("t1"), Some(&alice.token), Some(body.clone()));
        let answer = pending.answer_if_any();
        assert!(answer.is_none_or(|answer| answer.status == 500), "{fault:?}");
        host.restart();
        host.put(&alice, &target("t1"), body).ok();
        assert_eq!((numbers(&next(&host, &bob, &since)), rows(&host, Table::ToDeviceOut)), (vec![1], 1), "{fault:?}");
    }
}

#[test]
fn messages_go_with_the_device() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let phone = host.log_in(&bob);
    send(&host, &alice, &phone, 1);
    host.post(&phone, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!(rows(&host, Table::ToDevice), 0);
}

#[test]
fn a_token_of_another_device_or_of_later_does_not_lose_what_is_new() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    send(&host, &alice, &bob, 1);
    let since = host.sync(&bob, None);
    send(&host, &alice, &bob, 2);
    let again = host.sync(&bob, None);
    assert_eq!(numbers(&again), [1, 2], "who begins anew is told all that is there");
    assert_eq!(numbers(&next(&host, &bob, &since)), [2]);
}

#[test]
fn messages_to_another_server_are_one_entry_for_it() {
    let host = Host::new();
    let alice = host.register("alice");
    let messages = json!({
        "@x:one.example": { "A": { "number": 1 }, "B": { "number": 2 } }, "@y:one.example": { "*": { "number": 3 } }, "@z:two.example": { "C": {} },
    });
    send_as(&host, &alice, "t", messages.clone()).ok();
    send_as(&host, &alice, "t", messages).ok();
    let log = host.get(&alice, "/_inglenook/log?from=1&limit=100").ok().body;
    let entries: Vec<_> = log["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "to_device_remote").collect();
    let destinations: Vec<_> = entries.iter().map(|entry| &entry["destination"]).collect();
    assert_eq!(destinations, ["one.example", "two.example"]);
    let kept = host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::ToDeviceOut)))).unwrap();
    let first: Value = serde_json::from_slice(&kept[0].value).unwrap();
    assert_eq!((&first["sender"], &first["type"]), (&json!(alice.id), &json!("org.example.note")));
    assert_eq!(first["messages"]["@x:one.example"], json!({ "A": { "number": 1 }, "B": { "number": 2 } }));
    assert!(first["message_id"].as_str().unwrap().len() <= 32);
}

#[test]
fn strangers_fill_an_inbox_so_far_and_friends_are_still_heard() {
    let network = Network::of_keys(1);
    let (host, bob) = (&network[0], network[0].register("bob"));
    let bring = |peer: &Peer, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let messages = json!({ &bob.id: { "*": { "number": number } } });
            let content =
                json!({ "sender": peer.user("eve"), "type": "org.example.note", "message_id": number.to_string(), "messages": messages });
            let edus = json!([{ "edu_type": "m.direct_to_device", "content": content }]);
            let body = json!({ "origin": peer.name(), "origin_server_ts": 1, "pdus": [], "edus": edus });
            peer.put(host, &format!("/v1/send/{number}"), &body).ok();
        }
    };
    let (friend, stranger) = (Peer::new(7), Peer::new(8));
    let room = host.create_room(&bob, json!({ "preset": "public_chat" }));
    friend.join(host, &room, &friend.user("eve"));
    bring(&stranger, 0..150);
    assert_eq!(rows(host, Table::ToDevice), 100);
    bring(&friend, 200..250);
    let first = host.sync(&bob, None);
    let second = next(host, &bob, &first);
    assert_eq!([numbers(&first), numbers(&second)].concat(), (0..100).chain(200..250).collect::<Vec<_>>());
    next(host, &bob, &second);
    bring(&stranger, 300..301);
    assert_eq!(numbers(&next(host, &bob, &second)), [300], "there is room again");
}

#[test]
fn what_is_no_message_is_refused() {
    let host = Host::new();
    let alice = host.register("alice");
    for messages in [json!("text"), json!({ "nonsense": {} }), json!({ &alice.id: { "A": "text" } }), json!({ &alice.id: [] })] {
        send_as(&host, &alice, "t", messages).refused(400, "M_BAD_JSON");
    }
}
