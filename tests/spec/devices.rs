//! Cases of device management.

use inglenook::http::{Method, Method::Put};
use serde_json::{Value, json};

use super::case::{Case, Content, delete, get, post, put};
use crate::support::PASSWORD;

fn authenticated(mut body: Value) -> Value {
    body["auth"] = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "{alice}" }, "password": PASSWORD });
    body
}

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let with_password = || Content::Json(authenticated(json!({})));
    let both = json!(["{phone.device}", "{alice.device}"]);
    vec![
        get("alice", "/devices", "getDevices", "the caller's devices").counts("/devices", 2).includes("/devices", json!({ "device_id": "{phone.device}" })),
        get("carol", "/devices", "getDevices", "another's devices").counts("/devices", 1),
        get("alice", "/devices/{phone.device}", "getDevice", "one device").at("/device_id", "{phone.device}").has("/last_seen_ts"),
        get("alice", "/devices/{phone.device}", "getDevice", "a renamed device").after("alice", Put, "/devices/{phone.device}", json!({ "display_name": "Phone" })).at("/display_name", "Phone"),
        get("alice", "/devices/none", "getDevice", "an unknown device").refused(404, "M_NOT_FOUND"),
        get("bob", "/devices/{alice.device}", "getDevice", "another user's device").refused(404, "M_NOT_FOUND"),
        put("alice", "/devices/{phone.device}", "updateDevice", "a new name", json!({ "display_name": "Phone" })).counts("", 0),
        put("alice", "/devices/{phone.device}", "updateDevice", "nothing new", json!({})).counts("", 0),
        put("alice", "/devices/none", "updateDevice", "an unknown device", json!({ "display_name": "Phone" })).refused(404, "M_NOT_FOUND"),
        put("alice", "/devices/{phone.device}", "updateDevice", "wrong types", json!({ "display_name": 1 })).refused(400, "M_BAD_JSON"),
        delete("alice", "/devices/{phone.device}", "deleteDevice", "stages are asked for").gives(401).at("/flows/0/stages/0", "m.login.password").has("/session"),
        delete("alice", "/devices/{phone.device}", "deleteDevice", "with the password").sending(with_password()).counts("", 0),
        get("alice", "/devices", "getDevices", "after one was deleted").after("alice", Method::Delete, "/devices/{phone.device}", authenticated(json!({}))).counts("/devices", 1),
        get("phone", "/account/whoami", "getTokenOwner", "of a deleted device").after("alice", Method::Delete, "/devices/{phone.device}", authenticated(json!({}))).refused(401, "M_UNKNOWN_TOKEN"),
        post("alice", "/delete_devices", "deleteDevices", "stages are asked for", json!({ "devices": both })).gives(401).at("/flows/0/stages/0", "m.login.password"),
        post("alice", "/delete_devices", "deleteDevices", "with the password", authenticated(json!({ "devices": both }))).counts("", 0),
        post("alice", "/delete_devices", "deleteDevices", "no list of devices", authenticated(json!({}))).refused(400, "M_BAD_JSON"),
    ]
}
