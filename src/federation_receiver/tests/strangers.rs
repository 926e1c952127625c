//! Servers that share no room with anybody here leave little behind, however many there are.

use ruma::OwnedServerName;
use serde_json::{Value, json};

use super::scene::{A, C, Scene, server_keys, signed};
use crate::{
    http::Response,
    identity::Identity,
    room_server::tests::world::{ALICE, identity},
    storage::{Key, Scan, Table},
    support::User,
};

fn note(sender: &str, carol: &User, id: &str) -> Value {
    let messages = json!({ carol.id.as_str(): { carol.device.as_str(): { "id": id } } });
    let content = json!({ "sender": sender, "type": "m.test", "message_id": id, "messages": messages });
    json!({ "pdus": [], "edus": [{ "edu_type": "m.direct_to_device", "content": content }], "origin_server_ts": 1 })
}

fn transaction(scene: &Scene, from: &Identity, id: &str, mut body: Value) -> u16 {
    body["origin"] = from.server_name().as_str().into();
    scene.host().federation(signed(from, &format!("/_matrix/federation/v1/send/{id}"), &body)).status
}

fn rows(scene: &Scene) -> Vec<usize> {
    let tables = [Table::ServerKeys, Table::ReceivedTransactions, Table::ToDeviceReceived, Table::ToDevice, Table::Destinations];
    let server = scene.server();
    let count = |table| scene.host().block_on(server.ports.store.scan(&Scan::prefix(Key::new(table)))).unwrap().len();
    tables.map(count).to_vec()
}

/// Carol's device takes what there is for it, and tells that it has.
fn drain(scene: &Scene, carol: &User, since: &mut Option<String>) -> usize {
    let answer = scene.host().sync(carol, since.as_deref());
    let next = answer["next_batch"].as_str().map(str::to_owned);
    *since = next;
    answer["to_device"]["events"].as_array().map_or(0, Vec::len)
}

#[test]
fn strangers_with_ordinary_names_whose_messages_are_delivered_leave_a_bounded_trace() {
    let mut scene = Scene::new("12");
    let carol = scene.host().register("carol");
    let mut since = None;
    let honest = note(ALICE, &carol, "from a neighbour");
    assert_eq!(scene.send_as(A, "same", honest.clone()).0, 200);
    assert_eq!(drain(&scene, &carol, &mut since), 1);
    let mut taken = Vec::new();
    for round in 0..2 {
        for number in 0..300 {
            let name = format!("s{number}.round{round}.example");
            let stranger = identity(u8::try_from(number % 251).unwrap(), &name);
            let keys = server_keys(&stranger, u64::MAX >> 12);
            scene.network.play(&name, move |_| Response::ok(&keys));
            for serial in 0..4 {
                let id = format!("{number}.{serial}");
                assert_eq!(transaction(&scene, &stranger, &id, note(&format!("@u:{name}"), &carol, &id)), 200);
            }
            if number % 20 == 19 {
                assert_eq!(drain(&scene, &carol, &mut since), 80, "all of it is delivered");
                drain(&scene, &carol, &mut since);
            }
        }
        scene.network.run();
        taken.push(rows(&scene));
    }
    assert_eq!(taken[0], taken[1], "the second three hundred leave no more than the first");
    assert!(taken[0][0] < 1_000 && taken[0][1] < 2_500 && taken[0][2] < 2_500, "{taken:?}");
    scene.restart();
    assert_eq!(scene.send_as(A, "same", honest.clone()).0, 200);
    scene.send_as(A, "another", honest);
    assert_eq!(drain(&scene, &carol, &mut since), 0, "what a neighbour sent before all that is known still");
}

/// A server whose user has joined is to be read when it is gone, however many strangers come by.
#[test]
fn keys_of_servers_that_were_in_a_room_are_kept_for_good() {
    let mut scene = Scene::new("12");
    let message = scene.message("hello");
    scene.send(A, &[&message]);
    for number in 0..300 {
        let name = format!("s{number}.example");
        let stranger = identity(u8::try_from(number % 251).unwrap(), &name);
        let keys = server_keys(&stranger, u64::MAX >> 12);
        scene.network.play(&name, move |_| Response::ok(&keys));
        assert_eq!(transaction(&scene, &stranger, "t", json!({ "pdus": [], "origin_server_ts": 1 })), 200);
    }
    scene.restart();
    scene.network.carried();
    let server = scene.server();
    let has_key = |name: &str| {
        let name: OwnedServerName = ruma::ServerName::parse(name).unwrap();
        scene.host().block_on(server.keys.key(&name, crate::identity::KEY_ID)).is_some()
    };
    assert!(has_key(A) && has_key("s299.example"));
    assert_eq!(scene.asked("key/v2/server"), 0, "both are known");
    assert!(has_key("s0.example"));
    assert_eq!(scene.asked("key/v2/server"), 1, "and the first stranger is asked anew");
    assert_eq!(scene.host().name(), C);
}
