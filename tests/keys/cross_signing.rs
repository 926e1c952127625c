//! Keys by which users vouch for their devices and for each other.

use super::*;

#[test]
fn the_first_cross_signing_keys_need_no_password_and_others_do() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let first = cross_sign(&host, &alice, 10);
    keys(&host, &alice, "device_signing/upload", first.upload()).ok();
    let part = json!({ "self_signing_key": first.upload()["self_signing_key"] });
    keys(&host, &alice, "device_signing/upload", part).ok();
    let second = CrossSigner::new(&alice.id, 20).upload();
    let challenge = keys(&host, &alice, "device_signing/upload", second.clone());
    assert_eq!((challenge.status, &challenge.body["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    assert_eq!(query(&host, &bob, &alice)["master_keys"][&alice.id], first.upload()["master_key"]);
    keys(&host, &alice, "device_signing/upload", with_password(&alice, second.clone())).ok();
    assert_eq!(query(&host, &bob, &alice)["master_keys"][&alice.id], second["master_key"]);
}

#[test]
fn cross_signing_keys_must_be_signed_named_and_apart_from_devices() {
    let host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    let upload = |body: Value| keys(&host, &alice, "device_signing/upload", body);
    let good = CrossSigner::new(&alice.id, 10).upload();
    upload(json!({ "self_signing_key": good["self_signing_key"] })).refused(400, "M_MISSING_PARAM");
    let mut forged = good.clone();
    forged["self_signing_key"]["signatures"] = CrossSigner::new(&alice.id, 20).upload()["self_signing_key"]["signatures"].clone();
    upload(forged).refused(400, "M_INVALID_SIGNATURE");
    upload(CrossSigner::new(&bob.id, 10).upload()).refused(400, "M_INVALID_PARAM");
    upload(json!({ "master_key": good["user_signing_key"] })).refused(400, "M_INVALID_PARAM");
    let mut two = good.clone();
    two["master_key"]["keys"]["ed25519:more"] = "more".into();
    upload(two).refused(400, "M_INVALID_PARAM");
    let device = Signer::of_user(&alice.id, 10).public();
    let login = |device: &str| json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.id }, "password": PASSWORD, "device_id": device });
    host.request(Method::Post, "/_matrix/client/v3/login", None, Some(login(&device))).ok();
    upload(good).refused(403, "M_FORBIDDEN");
    cross_sign(&host, &alice, 30);
    let device = Signer::of_user(&alice.id, 31).public();
    host.request(Method::Post, "/_matrix/client/v3/login", None, Some(login(&device))).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_new_master_key_takes_along_what_the_old_one_signed() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    cross_sign(&host, &alice, 10);
    let second = CrossSigner::new(&alice.id, 20).upload();
    keys(&host, &alice, "device_signing/upload", with_password(&alice, json!({ "master_key": second["master_key"] }))).ok();
    let told = query(&host, &bob, &alice);
    assert_eq!((&told["master_keys"][&alice.id], &told["self_signing_keys"]), (&second["master_key"], &json!({})));
}

#[test]
fn only_the_user_sees_the_user_signing_key() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let keys_of_alice = cross_sign(&host, &alice, 10).upload();
    let (own, others) = (query(&host, &alice, &alice), query(&host, &bob, &alice));
    assert_eq!(own["user_signing_keys"][&alice.id], keys_of_alice["user_signing_key"]);
    assert_eq!(others["user_signing_keys"], Value::Null);
    assert_eq!(others["self_signing_keys"][&alice.id], keys_of_alice["self_signing_key"]);
}

#[test]
fn signatures_of_ones_own_are_seen_by_all_and_stay_when_the_device_repeats_itself() {
    let mut host = Host::new();
    let (alice, bob, _) = together(&host);
    let device = upload_device(&host, &alice, 1);
    let cross = cross_sign(&host, &alice, 10);
    let since = host.sync(&bob, None);
    let signed_device = cross.self_signing.sign(device.device_keys());
    let signed_master = device.sign(cross.master_key());
    let body = json!({ &alice.id: { &alice.device: signed_device, cross.master.public(): signed_master } });
    assert_eq!(keys(&host, &alice, "signatures/upload", body).ok().body, json!({ "failures": {} }));
    host.restart();
    keys(&host, &alice, "upload", json!({ "device_keys": device.device_keys() })).ok();
    keys(&host, &alice, "device_signing/upload", cross.upload()).ok();
    let told = query(&host, &bob, &alice);
    assert_eq!(told["device_keys"][&alice.id][&alice.device]["signatures"], signed_device["signatures"]);
    assert_eq!(told["master_keys"][&alice.id], signed_master);
    let changed = next(&host, &bob, &since);
    assert_eq!(lists(&changed).0, [&alice.id]);
    assert_eq!(lists(&next(&host, &bob, &changed)), (vec![], vec![]), "repeating them changes nothing");
}

#[test]
fn a_signature_of_another_users_key_is_seen_by_its_signer_alone() {
    let mut host = Host::new();
    let (alice, bob, _) = together(&host);
    let (of_alice, of_bob) = (cross_sign(&host, &alice, 10), cross_sign(&host, &bob, 20));
    let phone = host.log_in(&alice);
    let (since_phone, since_bob) = (host.sync(&phone, None), host.sync(&bob, None));
    let signed = of_alice.user_signing.sign(of_bob.master_key());
    let body = json!({ &bob.id: { of_bob.master.public(): signed } });
    for _ in 0..2 {
        assert_eq!(keys(&host, &alice, "signatures/upload", body.clone()).ok().body, json!({ "failures": {} }));
    }
    host.restart();
    assert_eq!(query(&host, &alice, &bob)["master_keys"][&bob.id], signed);
    assert_eq!(query(&host, &bob, &bob)["master_keys"][&bob.id], of_bob.master_key());
    assert_eq!(lists(&next(&host, &phone, &since_phone)).0, [&bob.id], "the signer's other devices are told");
    assert_eq!(lists(&next(&host, &bob, &since_bob)), (vec![], vec![]));
    let other = CrossSigner::new(&alice.id, 30).upload();
    keys(&host, &alice, "device_signing/upload", with_password(&alice, other)).ok();
    assert_eq!(query(&host, &alice, &bob)["master_keys"][&bob.id], of_bob.master_key(), "it went with the key that made it");
}

#[test]
fn signatures_that_are_wrong_fail_alone() {
    let host = Host::new();
    let (alice, bob, _) = together(&host);
    let (device, of_bob) = (upload_device(&host, &alice, 1), cross_sign(&host, &bob, 20));
    let cross = cross_sign(&host, &alice, 10);
    let mut altered = cross.self_signing.sign(device.device_keys());
    altered["algorithms"] = json!([]);
    let upload = |body: Value| keys(&host, &alice, "signatures/upload", body).ok().body["failures"].clone();
    let code = |failures: &Value, user: &User, key: &str| failures[&user.id][key]["errcode"].clone();
    assert_eq!(code(&upload(json!({ &alice.id: { &alice.device: altered } })), &alice, &alice.device), "M_INVALID_PARAM");
    let by_wrong_key = cross.user_signing.sign(device.device_keys());
    assert_eq!(code(&upload(json!({ &alice.id: { &alice.device: by_wrong_key } })), &alice, &alice.device), "M_INVALID_SIGNATURE");
    let master = of_bob.master.public();
    let by_self_signing = cross.self_signing.sign(of_bob.master_key());
    assert_eq!(code(&upload(json!({ &bob.id: { &master: by_self_signing } })), &bob, &master), "M_INVALID_SIGNATURE");
    let good = cross.self_signing.sign(device.device_keys());
    let failures = upload(json!({ &alice.id: { &alice.device: good, "NONE": device.device_keys() } }));
    assert_eq!((failures[&alice.id].as_object().unwrap().len(), code(&failures, &alice, "NONE")), (1, json!("M_NOT_FOUND")));
    assert_eq!(query(&host, &bob, &alice)["device_keys"][&alice.id][&alice.device]["signatures"], good["signatures"]);
}
