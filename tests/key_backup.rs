//! Key backups: their versions, which of two keys is kept, and what is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use inglenook::{
    ports::Store,
    storage::{Key, Scan, Table},
};
use serde_json::{Value, json};
use support::{Answer, Host, User, encode};

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";
const ROOM: &str = "!room:example.org";
const OTHER: &str = "!other:example.org";

fn path(below: &str) -> String {
    format!("/_matrix/client/v3/room_keys/{below}")
}

fn create(host: &Host, user: &User) -> String {
    host.post(user, &path("version"), json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "one" } })).ok().text("version")
}

fn key(is_verified: bool, first_message_index: u64, forwarded_count: u64) -> Value {
    json!({
        "is_verified": is_verified, "first_message_index": first_message_index, "forwarded_count": forwarded_count,
        "session_data": { "of": format!("{is_verified} {first_message_index} {forwarded_count}") },
    })
}

fn keys_path(version: &str, room: &str, session: &str) -> String {
    let parts = [room, session];
    let below = parts.iter().filter(|part| !part.is_empty()).map(|part| format!("/{}", encode(part)));
    path(&format!("keys{}?version={version}", below.collect::<String>()))
}

fn add(host: &Host, user: &User, version: &str, room: &str, session: &str, key: Value) -> Answer {
    host.put(user, &keys_path(version, room, session), key)
}

#[test]
fn versions_are_made_read_changed_and_deleted() {
    let mut host = Host::new();
    let (alice, bob) = (host.register("alice"), host.register("bob"));
    host.get(&alice, &path("version")).refused(404, "M_NOT_FOUND");
    let (first, second) = (create(&host, &alice), create(&host, &alice));
    assert_ne!(first, second);
    host.restart();
    let shown = json!({ "version": second, "algorithm": ALGORITHM, "auth_data": { "public_key": "one" }, "etag": "0", "count": 0 });
    assert_eq!(host.get(&alice, &path("version")).ok().body, shown);
    host.get(&bob, &path(&format!("version/{first}"))).refused(404, "M_NOT_FOUND");
    let change = |body: Value| host.put(&alice, &path(&format!("version/{first}")), body);
    change(json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "two" }, "version": first })).ok();
    change(json!({ "algorithm": "other", "auth_data": {} })).refused(400, "M_INVALID_PARAM");
    change(json!({ "algorithm": ALGORITHM, "auth_data": {}, "version": second })).refused(400, "M_INVALID_PARAM");
    assert_eq!(host.get(&alice, &path(&format!("version/{first}"))).ok().body["auth_data"]["public_key"], "two");
    for _ in 0..2 {
        host.delete(&alice, &path(&format!("version/{second}")), None).ok();
    }
    host.delete(&alice, &path("version/99"), None).refused(404, "M_NOT_FOUND");
    host.get(&alice, &path(&format!("version/{second}"))).refused(404, "M_NOT_FOUND");
    assert_eq!(host.get(&alice, &path("version")).ok().body["version"], first.as_str());
    let third = create(&host, &alice);
    assert!(third != first && third != second, "a version is never given out twice");
}

#[test]
fn keys_are_added_read_and_deleted_at_each_level() {
    let mut host = Host::new();
    let alice = host.register("alice");
    let version = create(&host, &alice);
    let all = json!({ "rooms": { ROOM: { "sessions": { "A": key(true, 0, 0), "B": key(true, 0, 0) } }, OTHER: { "sessions": { "C": key(true, 0, 0) } } } });
    let added = host.put(&alice, &keys_path(&version, "", ""), all.clone()).ok().body;
    assert_eq!(added["count"], 3);
    let again = host.put(&alice, &keys_path(&version, "", ""), all.clone()).ok().body;
    assert_eq!(again, added, "the same keys change nothing");
    let added = host.put(&alice, &keys_path(&version, OTHER, ""), json!({ "sessions": { "D": key(true, 0, 0) } })).ok().body;
    assert_eq!((&added["count"], added["etag"] == again["etag"]), (&json!(4), false));
    assert_eq!(add(&host, &alice, &version, OTHER, "E/ü", key(true, 0, 0)).ok().body["count"], 5);
    host.restart();
    assert_eq!(host.get(&alice, &keys_path(&version, ROOM, "")).ok().body, all["rooms"][ROOM]);
    assert_eq!(host.get(&alice, &keys_path(&version, OTHER, "E/ü")).ok().body, key(true, 0, 0));
    host.get(&alice, &keys_path(&version, ROOM, "E/ü")).refused(404, "M_NOT_FOUND");
    assert_eq!(host.get(&alice, &keys_path(&version, "!none:example.org", "")).ok().body, json!({ "sessions": {} }));
    let delete = |room: &str, session: &str| host.delete(&alice, &keys_path(&version, room, session), None).ok().body["count"].clone();
    assert_eq!((delete(ROOM, "A"), delete(OTHER, ""), delete(OTHER, "")), (json!(4), json!(1), json!(1)));
    assert_eq!(
        host.get(&alice, &keys_path(&version, "", "")).ok().body,
        json!({ "rooms": { ROOM: { "sessions": { "B": key(true, 0, 0) } } } })
    );
    assert_eq!(delete("", ""), 0);
    assert_eq!(host.get(&alice, &path("version")).ok().body["count"], 0);
}

#[test]
fn of_two_keys_for_a_session_the_better_one_is_kept() {
    let host = Host::new();
    let alice = host.register("alice");
    let version = create(&host, &alice);
    let worst_first = [key(false, 5, 1), key(false, 5, 0), key(false, 0, 9), key(true, 7, 3), key(true, 7, 1), key(true, 2, 8)];
    for (at, better) in worst_first.iter().enumerate() {
        let etag = |session: &str, key: &Value| add(&host, &alice, &version, ROOM, session, key.clone()).ok().body["etag"].clone();
        let before = etag("S", better);
        for worse in &worst_first[..=at] {
            assert_eq!(etag("S", worse), before, "{worse} is no better than {better}");
        }
        assert_eq!(host.get(&alice, &keys_path(&version, ROOM, "S")).ok().body, *better);
    }
    assert_eq!(host.get(&alice, &path("version")).ok().body["count"], 1);
}

#[test]
fn keys_are_added_to_the_last_version_alone() {
    let host = Host::new();
    let alice = host.register("alice");
    let first = create(&host, &alice);
    add(&host, &alice, &first, ROOM, "A", key(true, 0, 0)).ok();
    let second = create(&host, &alice);
    let answer = add(&host, &alice, &first, ROOM, "B", key(true, 0, 0));
    answer.refused(403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(answer.body["current_version"], second.as_str());
    add(&host, &alice, "99", ROOM, "B", key(true, 0, 0)).refused(404, "M_NOT_FOUND");
    assert_eq!(host.get(&alice, &keys_path(&first, ROOM, "A")).ok().body, key(true, 0, 0), "older ones can be read");
    host.delete(&alice, &path(&format!("version/{second}")), None).ok();
    add(&host, &alice, &first, ROOM, "B", key(true, 0, 0)).ok();
    host.put(&alice, &path("keys"), json!({ "rooms": {} })).refused(400, "M_MISSING_PARAM");
}

#[test]
fn keys_go_with_their_backup() {
    let host = Host::new();
    let alice = host.register("alice");
    let version = create(&host, &alice);
    add(&host, &alice, &version, ROOM, "A", key(true, 0, 0)).ok();
    host.delete(&alice, &path(&format!("version/{version}")), None).ok();
    host.get(&alice, &keys_path(&version, "", "")).refused(404, "M_NOT_FOUND");
    assert_eq!(host.block_on(host.database().scan(&Scan::prefix(Key::new(Table::BackupKeys)))).unwrap(), []);
}
