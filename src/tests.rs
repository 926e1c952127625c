//! What other servers tell of their users, and what they are told of ours, by the functions that stand behind the federation API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::rc::Rc;

use ruma::{OwnedUserId, RoomId, ServerName, UserId, server_name, user_id};
use serde_json::{Value, json};

use crate::{
    Server,
    keys::{
        remote::{self, Received, receive_device_list_update, receive_signing_key_update},
        told,
    },
    log::Output,
    presence,
    room_server::{Position, commit::member_key},
    storage::Batch,
    support::{CrossSigner, Host, Signer, User},
    to_device,
};

fn peer() -> &'static ServerName {
    server_name!("peer.example")
}

fn zoe() -> OwnedUserId {
    user_id!("@zoe:peer.example").to_owned()
}

fn server(host: &Host) -> Rc<Server> {
    Rc::clone(&host.server())
}

/// Alice, who shares a room with a user of another server.
fn alice_and_zoe(host: &Host) -> User {
    let alice = host.register("alice");
    let room = RoomId::parse(host.create_room(&alice, json!({ "preset": "public_chat" }))).unwrap();
    let server = server(host);
    host.block_on(async {
        let room = server.rooms.room(&room).await.unwrap().unwrap();
        let mut batch = Batch::new();
        batch.put(member_key(room.number, "join", &zoe()), room.head().extremities[0].event.0.to_be_bytes());
        server.ports.store.commit(batch).await.unwrap();
    });
    alice
}

fn step(device: &Signer, name: &str, stream_id: u64, prev_id: &[u64]) -> Value {
    let keys = device.device_keys();
    json!({ "user_id": zoe(), "device_id": keys["device_id"], "stream_id": stream_id, "prev_id": prev_id, "keys": keys, "device_display_name": name })
}

fn receive_step(host: &Host, content: Value) -> Received {
    host.block_on(receive_device_list_update(&server(host), peer(), content)).unwrap()
}

fn store_list(host: &Host, stream_id: u64, devices: &[&Signer]) {
    let devices: Vec<_> =
        devices.iter().map(|device| device.device_keys()).map(|keys| json!({ "device_id": keys["device_id"], "keys": keys })).collect();
    let told = serde_json::from_value(json!({ "user_id": zoe(), "stream_id": stream_id, "devices": devices })).unwrap();
    host.block_on(remote::store(&server(host), &zoe(), told)).unwrap();
}

fn query(host: &Host, user: &User) -> Value {
    host.post(user, "/_matrix/client/v3/keys/query", json!({ "device_keys": { zoe().as_str(): [] } })).ok().body
}

fn devices(answer: &Value) -> Vec<&str> {
    answer["device_keys"][zoe().as_str()].as_object().into_iter().flatten().map(|(id, _)| id.as_str()).collect()
}

fn next(host: &Host, user: &User, before: &Value) -> Value {
    host.sync(user, before["next_batch"].as_str())
}

#[test]
fn a_remote_device_list_follows_its_steps() {
    let mut host = Host::new();
    let alice = alice_and_zoe(&host);
    let (a, b) = (Signer::of_device("@zoe:peer.example", "A", 1), Signer::of_device("@zoe:peer.example", "B", 2));
    store_list(&host, 5, &[&a]);
    let since = host.sync(&alice, None);
    assert_eq!(receive_step(&host, step(&b, "Phone", 6, &[5])), Received::UpToDate);
    assert_eq!(receive_step(&host, step(&b, "Another", 6, &[5])), Received::UpToDate, "what came before is not taken again");
    host.restart();
    let told = query(&host, &alice);
    assert_eq!((devices(&told), &told["failures"]), (vec!["A", "B"], &Value::Null));
    assert_eq!(told["device_keys"][zoe().as_str()]["B"]["unsigned"]["device_display_name"], "Phone");
    let changed = next(&host, &alice, &since);
    assert_eq!(changed["device_lists"]["changed"], json!([zoe()]));
    let gone = json!({ "user_id": zoe(), "device_id": "A", "stream_id": 7, "prev_id": [6], "deleted": true });
    assert_eq!(receive_step(&host, gone), Received::UpToDate);
    assert_eq!(devices(&query(&host, &alice)), ["B"]);
}

#[test]
fn a_gap_makes_the_list_stale_until_it_is_asked_for_anew() {
    let mut host = Host::new();
    let alice = alice_and_zoe(&host);
    let (a, b) = (Signer::of_device("@zoe:peer.example", "A", 1), Signer::of_device("@zoe:peer.example", "B", 2));
    store_list(&host, 5, &[&a]);
    assert_eq!(receive_step(&host, step(&b, "", 9, &[8])), Received::Stale);
    assert_eq!(receive_step(&host, step(&b, "", 10, &[9])), Received::Stale);
    host.restart();
    let told = query(&host, &alice);
    assert_eq!((devices(&told), told["failures"]["peer.example"].is_object()), (vec!["A"], true), "what is known, and that it may be old");
    store_list(&host, 9, &[&a, &b]);
    assert!(query(&host, &alice)["failures"].is_object(), "an answer from before the last step is stale as well");
    store_list(&host, 10, &[&a, &b]);
    let told = query(&host, &alice);
    assert_eq!((devices(&told), &told["failures"]), (vec!["A", "B"], &Value::Null));
}

#[test]
fn a_server_speaks_for_its_own_users_who_are_seen_here() {
    let host = Host::new();
    let alice = alice_and_zoe(&host);
    let forged = json!({ "user_id": alice.id, "device_id": "A", "stream_id": 1 });
    assert_eq!(receive_step(&host, forged), Received::Ignored);
    let stranger = json!({ "user_id": "@stranger:peer.example", "device_id": "A", "stream_id": 1 });
    assert_eq!(receive_step(&host, stranger), Received::Ignored);
    assert_eq!(receive_step(&host, json!("nonsense")), Received::Ignored);
    let a = Signer::of_device("@zoe:peer.example", "A", 1);
    assert_eq!(receive_step(&host, step(&a, "", 1, &[])), Received::Stale, "who is seen and was never asked for is to be asked for");
    store_list(&host, 1, &[]);
    let mut step = step(&a, "", 2, &[1]);
    step["keys"]["keys"]["ed25519:A"] = Signer::of_user("@zoe:peer.example", 9).public().into();
    receive_step(&host, step);
    assert_eq!(devices(&query(&host, &alice)), [""; 0], "keys that are not signed are not passed on");
}

#[test]
fn remote_cross_signing_keys_are_taken_and_can_be_signed() {
    let host = Host::new();
    let alice = alice_and_zoe(&host);
    store_list(&host, 5, &[]);
    let since = host.sync(&alice, None);
    let (of_zoe, of_alice) = (CrossSigner::new("@zoe:peer.example", 10), CrossSigner::new(&alice.id, 20));
    let content = json!({ "user_id": zoe(), "master_key": of_zoe.master_key(), "self_signing_key": of_zoe.upload()["self_signing_key"] });
    for _ in 0..2 {
        let received = host.block_on(receive_signing_key_update(&server(&host), peer(), content.clone())).unwrap();
        assert_eq!(received, Received::UpToDate);
    }
    assert_eq!(next(&host, &alice, &since)["device_lists"]["changed"], json!([zoe()]));
    host.post(&alice, "/_matrix/client/v3/keys/device_signing/upload", of_alice.upload()).ok();
    let signed = of_alice.user_signing.sign(of_zoe.master_key());
    let body = json!({ zoe().as_str(): { of_zoe.master.public(): signed } });
    assert_eq!(host.post(&alice, "/_matrix/client/v3/keys/signatures/upload", body).ok().body, json!({ "failures": {} }));
    assert_eq!(query(&host, &alice)["master_keys"][zoe().as_str()], signed);
}

/// The steps of a user's device list in the log, as they would be sent.
fn steps(host: &Host, user: &UserId) -> Vec<Value> {
    let server = server(host);
    host.block_on(async {
        let mut steps = Vec::new();
        for (position, output) in server.log.read(Position(0), 1_000).await.unwrap() {
            if let Output::Devices { user: of, device, prev } = output
                && of == user
            {
                steps.push(told::device_list_update(&server, user, &device, position, prev).await.unwrap());
            }
        }
        steps
    })
}

#[test]
fn steps_of_a_local_list_name_the_one_before_and_end_where_the_list_is() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let user = UserId::parse(&alice.id).unwrap();
    let device = Signer::of_device(&alice.id, &alice.device, 1);
    host.post(&alice, "/_matrix/client/v3/keys/upload", json!({ "device_keys": device.device_keys() })).ok();
    let phone = host.log_in(&alice);
    host.restart();
    host.post(&phone, "/_matrix/client/v3/logout", json!({})).ok();
    host.put(&alice, &format!("/_matrix/client/v3/devices/{}", alice.device), json!({ "display_name": "Laptop" })).ok();
    let cross = CrossSigner::new(&alice.id, 10);
    host.post(&alice, "/_matrix/client/v3/keys/device_signing/upload", cross.upload()).ok();
    let steps = steps(&host, &user);
    assert_eq!(steps.len(), 5, "came, uploaded, another came and went, a name");
    assert_eq!(steps[0]["prev_id"], json!([]));
    for pair in steps.windows(2) {
        assert_eq!(pair[1]["prev_id"], json!([pair[0]["stream_id"]]));
    }
    assert_eq!((&steps[3]["device_id"], &steps[3]["deleted"], &steps[3]["keys"]), (&json!(phone.device), &json!(true), &Value::Null));
    assert_eq!((&steps[4]["device_display_name"], &steps[4]["keys"]), (&json!("Laptop"), &device.device_keys()));
    let list = host.block_on(told::devices(&server(&host), &user)).unwrap();
    assert_eq!(list["stream_id"], steps[4]["stream_id"]);
    assert_eq!(list["devices"], json!([{ "device_id": alice.device, "device_display_name": "Laptop", "keys": device.device_keys() }]));
    let update = host.block_on(told::signing_key_update(&server(&host), &user)).unwrap();
    assert_eq!(
        (&update["master_key"], &list["master_key"], &update["user_signing_key"]),
        (&cross.master_key(), &cross.master_key(), &Value::Null)
    );
    assert!(host.block_on(told::devices(&server(&host), user_id!("@nobody:example.org"))).is_err());
}

fn note(to: &User, id: &str, number: u64) -> Value {
    json!({ "sender": zoe(), "type": "org.example.note", "message_id": id, "messages": { &to.id: { "*": { "number": number } } } })
}

fn receive_note(host: &Host, content: Value) {
    host.block_on(to_device::receive(&server(host), peer(), content)).unwrap();
}

fn inbox(host: &Host, user: &User) -> Vec<u64> {
    let sync = host.sync(user, None);
    sync["to_device"]["events"].as_array().unwrap().iter().map(|event| event["content"]["number"].as_u64().unwrap()).collect()
}

#[test]
fn a_message_from_another_server_is_taken_once() {
    let mut host = Host::new();
    let alice = host.register("alice");
    receive_note(&host, note(&alice, "m1", 1));
    receive_note(&host, note(&alice, "m1", 1));
    host.restart();
    receive_note(&host, note(&alice, "m1", 1));
    receive_note(&host, note(&alice, "m2", 2));
    assert_eq!(inbox(&host, &alice), [1, 2]);
    let mut forged = note(&alice, "m3", 3);
    forged["sender"] = alice.id.as_str().into();
    receive_note(&host, forged);
    receive_note(&host, json!({ "sender": zoe() }));
    assert_eq!(inbox(&host, &alice), [1, 2]);
}

#[test]
fn ids_of_messages_are_forgotten_in_the_end() {
    let host = Host::new();
    let alice = host.register("alice");
    let rows = || {
        let scan = crate::storage::Scan::prefix(crate::storage::Key::new(crate::storage::Table::ToDeviceReceived));
        host.block_on(server(&host).ports.store.scan(&scan)).unwrap().len()
    };
    for number in 0..10 {
        receive_note(&host, note(&alice, &format!("old {number}"), number));
    }
    host.advance(91 * 24 * 60 * 60 * 1000);
    for number in 0..10 {
        receive_note(&host, note(&alice, &format!("new {number}"), number));
    }
    assert_eq!(rows(), 20, "two rows for each that is remembered");
}

#[test]
fn what_goes_out_is_kept_as_it_is_sent_until_it_was_delivered() {
    let host = Host::new();
    let alice = host.register("alice");
    let body = json!({ "messages": { zoe().as_str(): { "A": { "number": 1 } } } });
    host.put(&alice, "/_matrix/client/v3/sendToDevice/org.example.note/t", body).ok();
    let server = server(&host);
    host.block_on(async {
        let entries = server.log.read(Position(0), 100).await.unwrap();
        let is_out = |output: &Output| matches!(output, Output::ToDeviceRemote { destination } if destination == peer());
        let (position, _) = entries.into_iter().find(|(_, output)| is_out(output)).unwrap();
        let content = to_device::outgoing(&*server.ports.store, peer(), position).await.unwrap().unwrap();
        assert_eq!(content["messages"], json!({ zoe().as_str(): { "A": { "number": 1 } } }));
        let mut batch = Batch::new();
        to_device::forget_outgoing(&*server.ports.store, peer(), position, &mut batch).await.unwrap();
        server.ports.store.commit(batch).await.unwrap();
        assert_eq!(to_device::outgoing(&*server.ports.store, peer(), position).await.unwrap(), None);
    });
}

#[test]
fn presence_of_another_servers_user_is_told_and_grows_old() {
    let mut host = Host::new();
    let alice = alice_and_zoe(&host);
    let since = host.sync(&alice, None);
    let update = |user: &str| json!({ "user_id": user, "presence": "online", "last_active_ago": 5_000, "status_msg": "Here" });
    let push = json!({ "push": [update("@zoe:peer.example"), update("@stranger:peer.example"), update(&alice.id), "nonsense"] });
    host.block_on(presence::receive(&server(&host), peer(), push)).unwrap();
    host.restart();
    host.advance(1_000);
    let told = next(&host, &alice, &since);
    let content = json!({ "presence": "online", "currently_active": true, "last_active_ago": 6_000, "status_msg": "Here" });
    assert_eq!(told["presence"]["events"], json!([{ "type": "m.presence", "sender": zoe(), "content": content }]));
    let read = || host.get(&alice, "/_matrix/client/v3/presence/@zoe:peer.example/status").ok().body["presence"].clone();
    assert_eq!(read(), "online");
    host.advance(30 * 60_000);
    assert_eq!(read(), "offline");
}

#[test]
fn another_server_is_told_of_a_local_users_presence() {
    let host = Host::new();
    let alice = host.register("alice");
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.id);
    host.put(&alice, &status, json!({ "presence": "unavailable", "status_msg": "Away" })).ok();
    let position = server(&host).log.end();
    let told_at = |position| host.block_on(presence::told_at(&server(&host), &UserId::parse(&alice.id).unwrap(), position)).unwrap();
    host.advance(1_000);
    let expected = json!({ "user_id": alice.id, "presence": "unavailable", "status_msg": "Away", "last_active_ago": 1_000 });
    assert_eq!(told_at(position), Some(expected));
    host.advance(presence::EDU_LIFETIME);
    assert_eq!(told_at(position), None, "what is old is not told");
    host.put(&alice, &status, json!({ "presence": "offline" })).ok();
    assert_eq!(told_at(position), None, "nor what has changed since");
    assert!(told_at(server(&host).log.end()).is_some());
}

/// While one of them is in the room, everybody there is shared with all the same.
#[test]
fn members_are_looked_at_when_the_last_local_user_leaves_and_not_before() {
    const MEMBERS: usize = 500;
    let host = Host::new();
    let [alice, bob] = ["alice", "bob"].map(|name| host.register(name));
    let id = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &id);
    let server = server(&host);
    let zoes = (0..MEMBERS).map(|number| UserId::parse(format!("@zoe{number}:peer.example")).unwrap()).chain([zoe()]);
    host.block_on(async {
        let room = server.rooms.room(&RoomId::parse(&id).unwrap()).await.unwrap().unwrap();
        let mut batch = Batch::new();
        zoes.for_each(|zoe| batch.put(member_key(room.number, "join", &zoe), room.head().extremities[0].event.0.to_be_bytes()));
        server.ports.store.commit(batch).await.unwrap();
    });
    store_list(&host, 1, &[&Signer::of_device("@zoe:peer.example", "A", 1)]);
    let rows_read_as_leaves = |user: &User| {
        host.store.take_work();
        host.leave(user, &id);
        host.run();
        host.store.take_work().rows_read
    };
    let is_followed = || !host.block_on(remote::cached(&*server.ports.store, &zoe())).unwrap().unwrap().is_stale;
    assert!(rows_read_as_leaves(&bob) < MEMBERS && is_followed());
    assert!(rows_read_as_leaves(&alice) > MEMBERS && !is_followed());
}
