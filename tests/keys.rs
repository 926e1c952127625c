//! Keys of devices and users: what is taken, who is given what, and who is told of changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

#[path = "keys/apart.rs"]
mod apart;
#[path = "keys/cross_signing.rs"]
mod cross_signing;

use inglenook::{
    http::{Method, Response},
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};
use support::{Answer, CrossSigner, Fault, Host, Network, PASSWORD, Signer, User, encode, network::Treatment, peer::Peer};

fn signer(user: &User, seed: u8) -> Signer {
    Signer::of_device(&user.id, &user.device, seed)
}

fn keys(host: &Host, user: &User, what: &str, body: Value) -> Answer {
    host.post(user, &format!("/_matrix/client/v3/keys/{what}"), body)
}

fn upload_device(host: &Host, user: &User, seed: u8) -> Signer {
    let signer = signer(user, seed);
    keys(host, user, "upload", json!({ "device_keys": signer.device_keys() })).ok();
    signer
}

fn query(host: &Host, viewer: &User, of: &User) -> Value {
    keys(host, viewer, "query", json!({ "device_keys": { &of.id: [] } })).ok().body
}

/// The one key that is claimed of a device.
fn claim(host: &Host, by: &User, of: &User) -> Value {
    let body = json!({ "one_time_keys": { &of.id: { &of.device: "signed_curve25519" } } });
    keys(host, by, "claim", body).ok().body["one_time_keys"][&of.id][&of.device].clone()
}

fn claimed_name(claimed: &Value) -> Option<String> {
    Some(claimed.as_object()?.keys().next().unwrap().strip_prefix("signed_curve25519:").unwrap().to_owned())
}

fn with_password(user: &User, mut body: Value) -> Value {
    body["auth"] = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": user.id }, "password": PASSWORD });
    body
}

fn cross_sign(host: &Host, user: &User, seed: u8) -> CrossSigner {
    let signer = CrossSigner::new(&user.id, seed);
    keys(host, user, "device_signing/upload", signer.upload()).ok();
    signer
}

fn together(host: &Host) -> (User, User, String) {
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let room = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &room);
    (alice, bob, room)
}

/// What a sync tells of device lists.
fn lists(sync: &Value) -> (Vec<&str>, Vec<&str>) {
    let list = |name: &str| sync["device_lists"][name].as_array().into_iter().flatten().map(|user| user.as_str().unwrap()).collect();
    (list("changed"), list("left"))
}

fn next(host: &Host, user: &User, before: &Value) -> Value {
    host.sync(user, before["next_batch"].as_str())
}

fn rows(host: &Host, tables: &[Table]) -> usize {
    let count = |table: &Table| host.block_on(host.database().scan(&Scan::prefix(Key::new(*table)))).unwrap().len();
    tables.iter().map(count).sum()
}

#[test]
fn identity_keys_are_told_with_the_devices_name() {
    let mut host = Host::new();
    let (alice, bob, _) = together(&host);
    let uploaded = upload_device(&host, &alice, 1).device_keys();
    let named = format!("/_matrix/client/v3/devices/{}", alice.device);
    host.put(&alice, &named, json!({ "display_name": "Laptop" })).ok();
    host.restart();
    let mut told = query(&host, &bob, &alice)["device_keys"][&alice.id][&alice.device].clone();
    assert_eq!(told["unsigned"]["device_display_name"], "Laptop");
    told.as_object_mut().unwrap().remove("unsigned");
    assert_eq!(told, uploaded);
    let none = keys(&host, &bob, "query", json!({ "device_keys": { &alice.id: ["OTHER"], "@nobody:example.org": [] } })).ok().body;
    assert_eq!(none["device_keys"], json!({ &alice.id: {} }), "only what is asked for, and only who exists");
}

#[test]
fn a_device_uploads_its_own_keys_alone_and_signs_them() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let upload = |keys_of: Value| keys(&host, &alice, "upload", json!({ "device_keys": keys_of }));
    upload(signer(&bob, 1).device_keys()).refused(400, "M_INVALID_PARAM");
    upload(Signer::of_device(&alice.id, "OTHER", 1).device_keys()).refused(400, "M_INVALID_PARAM");
    let mut forged = signer(&alice, 1).device_keys();
    forged["algorithms"] = json!(["other"]);
    upload(forged).refused(400, "M_INVALID_SIGNATURE");
    let mut unsigned = signer(&alice, 1).device_keys();
    unsigned.as_object_mut().unwrap().remove("signatures");
    upload(unsigned).refused(400, "M_INVALID_SIGNATURE");
    assert_eq!(query(&host, &bob, &alice)["device_keys"][&alice.id], json!({}));
}

#[test]
fn one_time_keys_are_counted_and_the_same_upload_changes_nothing() {
    let host = Host::new();
    let alice = host.register("alice");
    let signer = signer(&alice, 1);
    let upload = |body: Value| keys(&host, &alice, "upload", body);
    assert_eq!(upload(json!({})).ok().body, json!({ "one_time_key_counts": { "signed_curve25519": 0 } }));
    for _ in 0..2 {
        let counts = upload(json!({ "one_time_keys": signer.one_time_keys(&["A", "B"]) })).ok().body;
        assert_eq!(counts, json!({ "one_time_key_counts": { "signed_curve25519": 2 } }));
    }
    let other = json!({ "signed_curve25519:A": signer.sign(json!({ "key": "another" })), "signed_curve25519:C": signer.sign(json!({ "key": "c" })) });
    upload(json!({ "one_time_keys": other })).refused(400, "M_INVALID_PARAM");
    upload(json!({ "one_time_keys": { "nonsense": "key" } })).refused(400, "M_INVALID_PARAM");
    upload(json!({ "one_time_keys": { "curve25519:D": 1 } })).refused(400, "M_BAD_JSON");
    assert_eq!(
        host.sync(&alice, None)["device_one_time_keys_count"],
        json!({ "signed_curve25519": 2 }),
        "nothing of a refused upload is kept"
    );
}

#[test]
fn one_time_and_fallback_keys_are_signed_by_their_device() {
    let host = Host::new();
    let alice = host.register("alice");
    let (own, other) = (upload_device(&host, &alice, 1), signer(&alice, 2));
    let mut altered = own.one_time_keys(&["A"]);
    altered["signed_curve25519:A"]["key"] = "altered".into();
    let plain = json!({ "signed_curve25519:A": "no signature" });
    for wrong in [other.one_time_keys(&["A"]), altered, plain] {
        keys(&host, &alice, "upload", json!({ "one_time_keys": wrong })).refused(400, "M_INVALID_SIGNATURE");
        keys(&host, &alice, "upload", json!({ "fallback_keys": wrong })).refused(400, "M_INVALID_SIGNATURE");
    }
    // The keys that come along are what counts.
    let body = json!({ "device_keys": other.device_keys(), "one_time_keys": own.one_time_keys(&["B"]) });
    keys(&host, &alice, "upload", body).refused(400, "M_INVALID_SIGNATURE");
    let body = json!({ "one_time_keys": { "curve25519:A": "no signature" } });
    assert_eq!(keys(&host, &alice, "upload", body).ok().body["one_time_key_counts"]["curve25519"], 1);
}

#[test]
fn claimed_keys_that_the_known_device_has_not_signed_are_left_out() {
    let network = support::Network::of_keys(2);
    let (alice, bob) = (network[0].register("alice"), network[1].register("bob"));
    let room = network[0].create_room(&alice, json!({ "preset": "public_chat" }));
    let target = format!("/_matrix/client/v3/join/{}?via={}", support::encode(&room), support::encode(&network[0].name()));
    network[1].post(&bob, &target, json!({})).ok();
    let signer = upload_device(&network[0], &alice, 1);
    query(&network[1], &bob, &alice);
    let right = signer.one_time_keys(&["A"]);
    for (keys, expected) in [(Signer::of_device(&alice.id, &alice.device, 2).one_time_keys(&["A"]), json!({})), (right.clone(), right)] {
        let answer = json!({ "one_time_keys": { &alice.id: { &alice.device: keys } } });
        network.treat(move |carried| match carried.target.ends_with("/keys/claim") {
            true => support::network::Treatment::Answer(inglenook::http::Response::ok(&answer)),
            false => support::network::Treatment::Carry,
        });
        assert_eq!(claim(&network[1], &bob, &alice), expected);
    }
}

#[test]
fn each_one_time_key_is_handed_out_once_in_order_and_then_the_fallback_key() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let of_alice = upload_device(&host, &alice, 1);
    keys(&host, &alice, "upload", json!({ "one_time_keys": of_alice.one_time_keys(&["Z"]) })).ok();
    keys(&host, &alice, "upload", json!({ "one_time_keys": of_alice.one_time_keys(&["A"]), "fallback_keys": of_alice.fallback_key("F") }))
        .ok();
    assert_eq!(host.sync(&alice, None)["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    let first = claim(&host, &bob, &alice);
    assert_eq!(first, of_alice.one_time_keys(&["Z"]), "the older one first");
    host.restart();
    assert_eq!(host.sync(&alice, None)["device_one_time_keys_count"]["signed_curve25519"], 1);
    assert_eq!(claimed_name(&claim(&host, &bob, &alice)).as_deref(), Some("A"));
    let told = host.sync(&alice, None);
    assert_eq!(
        (&told["device_one_time_keys_count"]["signed_curve25519"], &told["device_unused_fallback_key_types"]),
        (&json!(0), &json!(["signed_curve25519"]))
    );
    for _ in 0..2 {
        assert_eq!(claim(&host, &bob, &alice), of_alice.fallback_key("F"));
        assert_eq!(host.sync(&alice, None)["device_unused_fallback_key_types"], json!([]));
    }
    keys(&host, &alice, "upload", json!({ "fallback_keys": of_alice.fallback_key("F") })).ok();
    assert_eq!(host.sync(&alice, None)["device_unused_fallback_key_types"], json!([]), "the used one does not become unused");
    keys(&host, &alice, "upload", json!({ "fallback_keys": of_alice.fallback_key("G") })).ok();
    assert_eq!(host.sync(&alice, None)["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    assert_eq!(claim(&host, &bob, &alice), of_alice.fallback_key("G"));
}

#[test]
fn a_claimed_key_does_not_come_back_by_a_repeated_upload() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let body = json!({ "one_time_keys": signer(&alice, 1).one_time_keys(&["A", "B"]) });
    keys(&host, &alice, "upload", body.clone()).ok();
    assert_eq!(claimed_name(&claim(&host, &bob, &alice)).as_deref(), Some("A"));
    host.restart();
    let counts = keys(&host, &alice, "upload", body).ok().body;
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 1);
    assert_eq!(claimed_name(&claim(&host, &bob, &alice)).as_deref(), Some("B"));
    assert_eq!(claim(&host, &bob, &alice), Value::Null);
}

#[test]
fn claims_at_once_get_different_keys() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let ids: Vec<_> = (0..20).map(|number| format!("{number:02}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    keys(&host, &alice, "upload", json!({ "one_time_keys": signer(&alice, 1).one_time_keys(&ids) })).ok();
    host.store.set_slow(true);
    let body = json!({ "one_time_keys": { &alice.id: { &alice.device: "signed_curve25519" } } });
    let request = || support::request(Method::Post, "/_matrix/client/v3/keys/claim", Some(&bob.token), Some(body.clone()));
    let pending = host.send_requests((0..20).map(|_| request()));
    let answers = pending.into_iter().map(|mut pending| pending.answer().unwrap().ok().body);
    let mut names: Vec<_> = answers.map(|body| claimed_name(&body["one_time_keys"][&alice.id][&alice.device]).unwrap()).collect();
    names.sort();
    assert_eq!(names, ids);
}

#[test]
fn a_key_whose_claim_was_not_stored_is_not_lost_and_not_given() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    keys(&host, &alice, "upload", json!({ "one_time_keys": signer(&alice, 1).one_time_keys(&["A"]) })).ok();
    let body = json!({ "one_time_keys": { &alice.id: { &alice.device: "signed_curve25519" } } });
    host.store.set_fault(Some(Fault::FailAt(1)));
    assert_eq!(keys(&host, &bob, "claim", body.clone()).status, 500);
    host.store.set_fault(Some(Fault::StopAfter(1)));
    let mut pending = host.begin(Method::Post, "/_matrix/client/v3/keys/claim", Some(&bob.token), Some(body));
    assert!(pending.answer().is_none());
    host.restart();
    assert_eq!(claim(&host, &bob, &alice), Value::Null, "it was handed out, if to nobody");
}

#[test]
fn keys_go_with_the_device() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let phone = host.log_in(&alice);
    let of_phone = upload_device(&host, &phone, 1);
    keys(&host, &phone, "upload", json!({ "one_time_keys": of_phone.one_time_keys(&["A"]), "fallback_keys": of_phone.fallback_key("F") }))
        .ok();
    let since = host.sync(&bob, None);
    host.post(&phone, "/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!(lists(&next(&host, &bob, &since)).0, [&alice.id]);
    assert_eq!(query(&host, &bob, &alice)["device_keys"][&alice.id], json!({}));
    assert_eq!(claim(&host, &bob, &phone), Value::Null);
    assert_eq!(rows(&host, &[Table::DeviceKeys, Table::OneTimeKeys, Table::FallbackKeys]), 0);
}

#[test]
fn another_identity_takes_the_place_of_the_old_keys() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let old = upload_device(&host, &alice, 1);
    keys(&host, &alice, "upload", json!({ "one_time_keys": old.one_time_keys(&["A"]), "fallback_keys": old.fallback_key("F") })).ok();
    let new = signer(&alice, 2);
    let body = json!({ "device_keys": new.device_keys(), "one_time_keys": new.one_time_keys(&["A"]) });
    assert_eq!(keys(&host, &alice, "upload", body).ok().body["one_time_key_counts"]["signed_curve25519"], 1);
    assert_eq!(claim(&host, &bob, &alice), new.one_time_keys(&["A"]));
    assert_eq!(claim(&host, &bob, &alice), Value::Null);
}

#[test]
fn servers_that_cannot_be_asked_are_named() {
    let host = Host::new();
    let alice = host.register("alice");
    let (user, other) = ("@bob:elsewhere.example", "@carol:elsewhere.example");
    let told = keys(&host, &alice, "query", json!({ "device_keys": { user: [], other: [], &alice.id: [] } })).ok().body;
    assert_eq!(told["failures"]["elsewhere.example"]["errcode"], "M_UNREACHABLE");
    assert_eq!(told["device_keys"], json!({ &alice.id: {} }));
    let told = keys(&host, &alice, "claim", json!({ "one_time_keys": { user: { "D": "signed_curve25519" } } })).ok().body;
    assert_eq!((&told["failures"]["elsewhere.example"]["errcode"], &told["one_time_keys"]), (&json!("M_UNREACHABLE"), &json!({})));
}

#[test]
fn who_shares_a_room_is_told_of_changed_keys_once() {
    let mut host = Host::new();
    let (alice, bob, _) = together(&host);
    let carol = host.register("carol");
    let (since_bob, since_carol) = (host.sync(&bob, None), host.sync(&carol, None));
    assert_eq!(since_bob["device_lists"], Value::Null, "a first sync has nothing to compare with");
    let mut poll = host.begin_sync(&bob, since_bob["next_batch"].as_str(), 10_000);
    let phone = host.log_in(&alice);
    assert!(poll.answer().is_none(), "a device without keys is nothing to encrypt for");
    upload_device(&host, &phone, 1);
    let told = poll.answer().unwrap().ok().body;
    assert_eq!(lists(&told), (vec![alice.id.as_str()], vec![]));
    host.restart();
    assert_eq!(lists(&next(&host, &bob, &since_bob)).0, [&alice.id]);
    assert_eq!(lists(&next(&host, &bob, &told)).0, [""; 0]);
    assert_eq!(lists(&next(&host, &carol, &since_carol)).0, [""; 0]);
    cross_sign(&host, &alice, 10);
    assert_eq!(lists(&next(&host, &bob, &told)).0, [&alice.id]);
    assert_eq!(rows(&host, &[Table::DeviceListLog]), 1, "one row for each user");
}

#[test]
fn joining_and_leaving_change_whose_devices_are_followed() {
    let mut host = Host::new();
    let (alice, bob, room) = together(&host);
    let other = host.create_room(&alice, json!({ "preset": "public_chat" }));
    let (since_alice, since_bob) = (host.sync(&alice, None), host.sync(&bob, None));
    host.leave(&bob, &room);
    host.restart();
    let (left_alice, left_bob) = (next(&host, &alice, &since_alice), next(&host, &bob, &since_bob));
    assert_eq!(lists(&left_alice), (vec![], vec![bob.id.as_str()]));
    assert_eq!(lists(&left_bob), (vec![], vec![alice.id.as_str()]));
    upload_device(&host, &alice, 1);
    assert_eq!(lists(&next(&host, &bob, &left_bob)), (vec![], vec![]), "of strangers nothing is told");
    host.join(&bob, &other);
    assert_eq!(lists(&next(&host, &alice, &left_alice)).0, [&alice.id, &bob.id]);
    assert_eq!(lists(&next(&host, &bob, &left_bob)), (vec![alice.id.as_str()], vec![]));
    assert_eq!(lists(&next(&host, &bob, &since_bob)), (vec![alice.id.as_str()], vec![]), "who left and came is followed still");
}

#[test]
fn who_shares_another_room_is_not_left() {
    let host = Host::new();
    let (alice, bob, room) = together(&host);
    let other = host.create_room(&alice, json!({ "preset": "public_chat" }));
    host.join(&bob, &other);
    let since = host.sync(&alice, None);
    host.leave(&bob, &room);
    assert_eq!(lists(&next(&host, &alice, &since)), (vec![], vec![]));
}

#[test]
fn changes_can_be_asked_for_between_two_tokens() {
    let mut host = Host::new();
    let (alice, bob, room) = together(&host);
    let carol = host.register("carol");
    let from = host.sync(&bob, None)["next_batch"].as_str().unwrap().to_owned();
    upload_device(&host, &alice, 1);
    upload_device(&host, &carol, 2);
    host.join(&carol, &room);
    host.leave(&alice, &room);
    let to = host.sync(&bob, Some(&from))["next_batch"].as_str().unwrap().to_owned();
    host.restart();
    let target = format!("/_matrix/client/v3/keys/changes?from={}&to={}", encode(&from), encode(&to));
    assert_eq!(host.get(&bob, &target).ok().body, json!({ "changed": [carol.id], "left": [alice.id] }));
    host.get(&bob, &format!("/_matrix/client/v3/keys/changes?from={}", encode(&from))).refused(400, "M_MISSING_PARAM");
    host.get(&bob, "/_matrix/client/v3/keys/changes?from=a&to=b").refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_deactivated_user_has_no_keys() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    upload_device(&host, &alice, 1);
    cross_sign(&host, &alice, 10);
    host.post(&alice, "/_matrix/client/v3/account/deactivate", with_password(&alice, json!({}))).ok();
    let told = query(&host, &bob, &alice);
    assert_eq!((&told["device_keys"], &told["master_keys"]), (&json!({}), &json!({})));
    assert_eq!(rows(&host, &[Table::DeviceKeys, Table::CrossSigningKeys]), 0);
}
