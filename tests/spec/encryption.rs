//! Cases of end-to-end encryption: keys, cross-signing, to-device messages and key backup.

use inglenook::http::Method::{self, Post};
use serde_json::{Value, json};

use super::case::{Case, delete, get, post, put};
use crate::support::PASSWORD;

pub(crate) fn cases() -> Vec<Case> {
    [keys(), changes(), cross_signing(), to_device(), backups(), backed_up_keys()].concat()
}

#[rustfmt::skip]
fn keys() -> Vec<Case> {
    let upload = |name: &str, body: Value| post("bob", "/keys/upload", "uploadKeys", name, body);
    let query = |caller, name: &str, body: Value| post(caller, "/keys/query", "queryKeys", name, body);
    let claim = |name: &str, body: Value| post("bob", "/keys/claim", "claimKeys", name, body);
    let of_alice = || json!({ "one_time_keys": { "{alice}": { "{alice.device}": "signed_curve25519" } } });
    let signed = json!({ "key": "key", "signatures": { "{bob}": { "ed25519:{bob.device}": "signature" } } });
    vec![
        upload("nothing", json!({})).at("/one_time_key_counts/signed_curve25519", 0),
        upload("one-time keys", json!({ "one_time_keys": { "signed_curve25519:A": signed, "curve25519:B": "key" } })).at("/one_time_key_counts/signed_curve25519", 1).at("/one_time_key_counts/curve25519", 1),
        upload("another key of the same ID", json!({ "one_time_keys": { "curve25519:B": "other" } })).after("bob", Post, "/keys/upload", json!({ "one_time_keys": { "curve25519:B": "key" } })).refused(400, "M_INVALID_PARAM"),
        upload("a fallback key", json!({ "fallback_keys": { "signed_curve25519:F": signed } })).has("/one_time_key_counts"),
        upload("another device's keys", json!({ "device_keys": { "user_id": "{bob}", "device_id": "OTHER", "algorithms": [], "keys": {}, "signatures": {} } })).refused(400, "M_INVALID_PARAM"),
        upload("keys that are not signed", json!({ "device_keys": { "user_id": "{bob}", "device_id": "{bob.device}", "algorithms": [], "keys": { "ed25519:{bob.device}": "key" }, "signatures": {} } })).refused(400, "M_INVALID_SIGNATURE"),
        query("bob", "another's keys", json!({ "device_keys": { "{alice}": [] } })).has("/device_keys/{alice}/{alice.device}/unsigned").at("/device_keys/{alice}/{alice.device}/device_id", "{alice.device}").has("/master_keys/{alice}/keys").has("/self_signing_keys/{alice}/signatures/{alice}").lacks("/user_signing_keys"),
        query("alice", "one's own keys", json!({ "device_keys": { "{alice}": ["{phone.device}"] } })).counts("/device_keys/{alice}", 0).has("/user_signing_keys/{alice}"),
        query("bob", "of another server", json!({ "device_keys": { "@x:elsewhere.example": [] }, "timeout": 10 })).has("/failures/elsewhere.example"),
        query("bob", "of who is nobody", json!({ "device_keys": { "nonsense": [] } })).refused(400, "M_BAD_JSON"),
        claim("a one-time key", of_alice()).has("/one_time_keys/{alice}/{alice.device}/signed_curve25519:A/signatures"),
        claim("the fallback key", of_alice()).after("bob", Post, "/keys/claim", of_alice()).at("/one_time_keys/{alice}/{alice.device}/signed_curve25519:F/fallback", true),
        claim("of a device without keys", json!({ "one_time_keys": { "{alice}": { "{phone.device}": "signed_curve25519" } } })).counts("/one_time_keys", 0),
        claim("of another server", json!({ "one_time_keys": { "@x:elsewhere.example": { "D": "signed_curve25519" } }, "timeout": 10 })).has("/failures/elsewhere.example"),
    ]
}

#[rustfmt::skip]
fn changes() -> Vec<Case> {
    let since = |name: &str| get("bob", "/keys/changes?from={since}&to={since}", "getKeysChanges", name).after("bob", Method::Get, "/sync", json!({})).keeping("since", "/next_batch");
    let sync = |caller, name: &str| get(caller, "/sync?since={since}", "sync", name).after(caller, Method::Get, "/sync", json!({})).keeping("since", "/next_batch");
    vec![
        since("nothing new").counts("/changed", 0).counts("/left", 0),
        since("a new name").after("alice", Method::Put, "/devices/{alice.device}", json!({ "display_name": "Laptop" })).at("/changed/0", "{alice}"),
        since("who left").after("alice", Post, "/rooms/{public}/kick", json!({ "user_id": "{bob}" })).after("alice", Post, "/rooms/{private}/kick", json!({ "user_id": "{bob}" })).at("/left/0", "{alice}"),
        sync("bob", "another's keys have changed").after("alice", Post, "/logout", json!({})).at("/device_lists/changed/0", "{alice}").counts("/device_lists/left", 0),
        sync("alice", "a key was claimed").after("bob", Post, "/keys/claim", json!({ "one_time_keys": { "{alice}": { "{alice.device}": "signed_curve25519" } } })).at("/device_one_time_keys_count/signed_curve25519", 0).at("/device_unused_fallback_key_types/0", "signed_curve25519"),
    ]
}

#[rustfmt::skip]
fn cross_signing() -> Vec<Case> {
    let upload = |caller, name: &str, body: Value| post(caller, "/keys/device_signing/upload", "uploadCrossSigningKeys", name, body);
    let sign = |name: &str, body: Value| post("bob", "/keys/signatures/upload", "uploadCrossSigningSignatures", name, body);
    let key = |user: &str, usage: &str| json!({ "user_id": user, "usage": [usage], "keys": { "ed25519:key": "key" } });
    let auth = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "{alice}" }, "password": PASSWORD });
    let unknown = json!({ "user_id": "{alice}", "usage": ["master"], "keys": { "ed25519:other": "other" } });
    vec![
        upload("bob", "the first master key", json!({ "master_key": key("{bob}", "master") })).counts("", 0),
        upload("alice", "another master key with the password", json!({ "master_key": key("{alice}", "master"), "auth": auth })).counts("", 0),
        upload("bob", "without a master key", json!({ "self_signing_key": key("{bob}", "self_signing") })).refused(400, "M_MISSING_PARAM"),
        upload("bob", "not signed by the master key", json!({ "master_key": key("{bob}", "master"), "self_signing_key": key("{bob}", "self_signing") })).refused(400, "M_INVALID_SIGNATURE"),
        upload("bob", "another's master key", json!({ "master_key": key("{alice}", "master") })).refused(400, "M_INVALID_PARAM"),
        upload("bob", "the ID of a device", json!({ "master_key": { "user_id": "{bob}", "usage": ["master"], "keys": { "ed25519:{bob.device}": "{bob.device}" } } })).refused(403, "M_FORBIDDEN"),
        sign("nothing", json!({})).counts("/failures", 0),
        sign("an unknown key", json!({ "{alice}": { "other": unknown } })).at("/failures/{alice}/other/errcode", "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn to_device() -> Vec<Case> {
    let send = |name: &str, messages: Value| put("alice", "/sendToDevice/org.example.note/t", "sendToDevice", name, json!({ "messages": messages }));
    let to_bob = || json!({ "messages": { "{bob}": { "{bob.device}": { "text": "Hello" } } } });
    vec![
        send("one device", json!({ "{bob}": { "{bob.device}": { "text": "Hello" } } })).counts("", 0),
        send("all devices", json!({ "{alice}": { "*": {} }, "@x:elsewhere.example": { "*": {} } })).counts("", 0),
        send("what is no content", json!({ "{bob}": { "*": "Hello" } })).refused(400, "M_BAD_JSON"),
        get("bob", "/sync", "sync", "a message to the device").after("alice", Method::Put, "/sendToDevice/org.example.note/t", to_bob()).at("/to_device/events/0/content/text", "Hello").at("/to_device/events/0/sender", "{alice}"),
        get("carol", "/sync", "sync", "a message to another's device").after("alice", Method::Put, "/sendToDevice/org.example.note/t", to_bob()).counts("/to_device/events", 0),
    ]
}

fn backup() -> Value {
    json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "key" } })
}

fn with_backup(case: Case) -> Case {
    case.after("alice", Post, "/room_keys/version", backup()).keeping("backup", "/version")
}

#[rustfmt::skip]
fn backups() -> Vec<Case> {
    let one = |name: &str| with_backup(get("alice", "/room_keys/version/{backup}", "getRoomKeysVersion", name));
    let change = |name: &str, body: Value| with_backup(put("alice", "/room_keys/version/{backup}", "putRoomKeysVersion", name, body));
    let delete = |name: &str| with_backup(delete("alice", "/room_keys/version/{backup}", "deleteRoomKeysVersion", name));
    vec![
        post("alice", "/room_keys/version", "postRoomKeysVersion", "the first", backup()).has("/version"),
        get("alice", "/room_keys/version", "getRoomKeysVersionCurrent", "where there is none").refused(404, "M_NOT_FOUND"),
        with_backup(get("alice", "/room_keys/version", "getRoomKeysVersionCurrent", "the last")).at("/version", "{backup}").at("/count", 0),
        one("one's own").at("/auth_data/public_key", "key"),
        get("alice", "/room_keys/version/none", "getRoomKeysVersion", "an unknown one").refused(404, "M_NOT_FOUND"),
        change("other data", backup()).counts("", 0),
        change("another algorithm", json!({ "algorithm": "other", "auth_data": {} })).refused(400, "M_INVALID_PARAM"),
        put("alice", "/room_keys/version/none", "putRoomKeysVersion", "an unknown one", backup()).refused(404, "M_NOT_FOUND"),
        delete("one's own").counts("", 0),
        super::case::delete("alice", "/room_keys/version/none", "deleteRoomKeysVersion", "an unknown one").refused(404, "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn backed_up_keys() -> Vec<Case> {
    let key = || json!({ "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": { "ciphertext": "text" } });
    let sessions = || json!({ "sessions": { "S": key() } });
    let rooms = || json!({ "rooms": { "{public}": sessions() } });
    let with_keys = |case: Case| with_backup(case).after("alice", Method::Put, "/room_keys/keys?version={backup}", rooms());
    let mut cases = vec![
        with_backup(put("alice", "/room_keys/keys?version={backup}", "putRoomKeys", "keys of rooms", rooms())).at("/count", 1).has("/etag"),
        with_backup(put("alice", "/room_keys/keys/{public}?version={backup}", "putRoomKeysByRoomId", "keys of a room", sessions())).at("/count", 1),
        with_backup(put("alice", "/room_keys/keys/{public}/S?version={backup}", "putRoomKeyBySessionId", "a key", key())).at("/count", 1),
        with_backup(put("alice", "/room_keys/keys?version={backup}", "putRoomKeys", "an older backup", rooms())).after("alice", Post, "/room_keys/version", backup()).refused(403, "M_WRONG_ROOM_KEYS_VERSION").has("/current_version"),
        with_backup(put("alice", "/room_keys/keys/{public}?version={backup}", "putRoomKeysByRoomId", "an older backup", sessions())).after("alice", Post, "/room_keys/version", backup()).refused(403, "M_WRONG_ROOM_KEYS_VERSION").has("/current_version"),
        with_backup(put("alice", "/room_keys/keys/{public}/S?version={backup}", "putRoomKeyBySessionId", "an older backup", key())).after("alice", Post, "/room_keys/version", backup()).refused(403, "M_WRONG_ROOM_KEYS_VERSION").has("/current_version"),
        with_keys(get("alice", "/room_keys/keys?version={backup}", "getRoomKeys", "all keys")).at("/rooms/{public}/sessions/S/first_message_index", 1),
        with_keys(get("alice", "/room_keys/keys/{public}?version={backup}", "getRoomKeysByRoomId", "keys of a room")).counts("/sessions", 1),
        with_keys(get("alice", "/room_keys/keys/{public}/S?version={backup}", "getRoomKeyBySessionId", "a key")).at("/is_verified", true),
        with_keys(get("alice", "/room_keys/keys/{public}/T?version={backup}", "getRoomKeyBySessionId", "an unknown key")).refused(404, "M_NOT_FOUND"),
        with_keys(delete("alice", "/room_keys/keys?version={backup}", "deleteRoomKeys", "all keys")).at("/count", 0),
        with_keys(delete("alice", "/room_keys/keys/{public}?version={backup}", "deleteRoomKeysByRoomId", "keys of a room")).at("/count", 0),
        with_keys(delete("alice", "/room_keys/keys/{public}/S?version={backup}", "deleteRoomKeyBySessionId", "a key")).at("/count", 0),
    ];
    for (below, operation) in [("", ""), ("/{public}", "ByRoomId"), ("/{public}/S", "BySessionId")] {
        let target = format!("/room_keys/keys{below}?version=99");
        let name = |verb: &str| format!("{verb}RoomKey{}{operation}", if operation == "BySessionId" { "" } else { "s" });
        let body = if below.is_empty() { rooms() } else if operation == "ByRoomId" { sessions() } else { key() };
        cases.push(put("alice", &target, &name("put"), "an unknown backup", body).refused(404, "M_NOT_FOUND"));
        cases.push(get("alice", &target, &name("get"), "an unknown backup").refused(404, "M_NOT_FOUND"));
        cases.push(delete("alice", &target, &name("delete"), "an unknown backup").refused(404, "M_NOT_FOUND"));
    }
    cases
}
