//! Keys of servers whose names are not made of them.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, signatures};
use serde_json::json;

use super::scene::{A, B, Scene, server_keys};
use crate::{
    identity::KEY_ID,
    room_server::tests::world::{BOB, Recipe},
};

fn find(scene: &Scene, name: &str) -> bool {
    let (server, name) = (scene.server(), ruma::ServerName::parse(name).unwrap());
    scene.host().block_on(async { server.keys.key(&name, KEY_ID).await }).is_some()
}

#[test]
fn keys_are_asked_for_once_and_outlast_a_restart() {
    let mut scene = Scene::of_strangers("12");
    assert!(find(&scene, A) && find(&scene, A));
    assert_eq!(scene.asked("key/v2/server"), 1);
    scene.restart();
    assert!(find(&scene, A));
    assert_eq!(scene.asked("key/v2/server"), 0);
    scene.network.advance(8 * 24 * 60 * 60 * 1000);
    assert!(find(&scene, A), "asked for again after a week");
    assert_eq!(scene.asked("key/v2/server"), 1);
}

#[test]
fn a_server_that_does_not_answer_is_not_asked_again_at_once() {
    let scene = Scene::of_strangers("12");
    scene.silence(A);
    assert!(!find(&scene, A) && !find(&scene, A));
    assert_eq!(scene.asked("key/v2/server"), 1);
    scene.peers.silent.borrow_mut().clear();
    scene.network.advance(60_000);
    assert!(find(&scene, A));
}

#[test]
fn a_server_that_cannot_be_asked_any_more_has_no_keys_after_a_week() {
    let scene = Scene::of_strangers("12");
    assert!(find(&scene, A));
    scene.silence(A);
    scene.network.advance(8 * 24 * 60 * 60 * 1000);
    assert!(!find(&scene, A));
}

#[test]
fn keys_that_are_another_servers_or_not_signed_are_none() {
    let scene = Scene::of_strangers("12");
    scene.lie(A, "key/v2/server", server_keys(&scene.world.identity(B), u64::MAX >> 12));
    assert!(!find(&scene, A));
    let mut keys = server_keys(&scene.world.identity(B), u64::MAX >> 12);
    keys["valid_until_ts"] = json!(1);
    scene.lie(B, "key/v2/server", keys);
    assert!(!find(&scene, B));
}

#[test]
fn keys_that_would_fill_the_memory_are_none() {
    let scene = Scene::of_strangers("12");
    let identity = scene.world.identity(A);
    let mut keys: CanonicalJsonObject = serde_json::from_value(server_keys(&identity, u64::MAX >> 12)).unwrap();
    keys.remove("signatures");
    keys.insert("filling".into(), CanonicalJsonValue::String("x".repeat(64 << 10)));
    signatures::sign_json(A, &*identity, &mut keys).unwrap();
    scene.lie(A, "key/v2/server", json!(keys));
    assert!(!find(&scene, A));
}

#[test]
fn keys_without_any_signature_are_none() {
    let scene = Scene::of_strangers("12");
    let mut keys = server_keys(&scene.world.identity(A), u64::MAX >> 12);
    keys["signatures"] = json!({});
    scene.lie(A, "key/v2/server", keys);
    assert!(!find(&scene, A));
}

/// Events that relayed servers have signed wait for the keys.
#[test]
fn events_wait_for_keys_that_cannot_be_had() {
    let scene = Scene::of_strangers("12");
    let id = scene.make(Recipe::message(BOB, "signed by b.example"));
    scene.silence(B);
    assert_eq!(scene.send(A, &[&id])["pdus"][id.as_str()], json!({}));
    assert_eq!((scene.status(&id), scene.waiting()), (None, 1));
    scene.peers.silent.borrow_mut().clear();
    scene.wait_an_hour();
    scene.assert_accepted(&[&id]);
    assert_eq!(scene.waiting(), 0);
}

/// <https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period>
#[test]
fn a_key_does_not_sign_for_later_than_it_is_valid() {
    for (version, counts) in [("4", true), ("5", false), ("12", false)] {
        let scene = Scene::of_strangers(version);
        scene.lie(B, "key/v2/server", server_keys(&scene.world.identity(B), 1_700_000_000_000 - 1));
        let id = scene.make(Recipe::message(BOB, "after the end of the key"));
        scene.send(A, &[&id]);
        assert_eq!(scene.status(&id).is_some(), counts, "version {version}");
        assert_eq!(scene.waiting(), 0);
    }
}
