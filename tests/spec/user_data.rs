//! Cases of user data: profiles, account data, tags and filters.

use inglenook::http::{
    Method,
    Method::{Post, Put},
};
use serde_json::json;

use super::case::{Case, NOBODY, delete, get, post, put};

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = profiles();
    cases.extend(account_data());
    cases.extend(tags());
    cases.extend(filters());
    cases.extend(presence());
    cases
}

#[rustfmt::skip]
fn profiles() -> Vec<Case> {
    vec![
        get(NOBODY, "/profile/{alice}", "getUserProfile", "a profile").at("/displayname", "Alice").at("/avatar_url", "mxc://example.org/alice"),
        get(NOBODY, "/profile/{alice}", "getUserProfile", "with a custom field").after("alice", Put, "/profile/{alice}/org.example.colour", json!({ "org.example.colour": { "name": "green" } })).at("/org.example.colour/name", "green"),
        get(NOBODY, "/profile/@nobody:example.org", "getUserProfile", "an unknown user").refused(404, "M_NOT_FOUND"),
        get(NOBODY, "/profile/{alice}/displayname", "getProfileField", "a name").at("/displayname", "Alice"),
        get(NOBODY, "/profile/{alice}/avatar_url", "getProfileField", "an avatar").at("/avatar_url", "mxc://example.org/alice"),
        get(NOBODY, "/profile/{alice}/org.example.none", "getProfileField", "an unknown field").refused(404, "M_NOT_FOUND"),
        get(NOBODY, "/profile/@nobody:example.org/displayname", "getProfileField", "of an unknown user").refused(404, "M_NOT_FOUND"),
        put("alice", "/profile/{alice}/displayname", "setProfileField", "a name", json!({ "displayname": "Alice again" })).counts("", 0),
        put("alice", "/profile/{alice}/avatar_url", "setProfileField", "an avatar", json!({ "avatar_url": "mxc://example.org/another" })).counts("", 0),
        put("alice", "/profile/{alice}/m.tz", "setProfileField", "a time zone", json!({ "m.tz": "Europe/London" })).counts("", 0),
        put("alice", "/profile/{alice}/org.example.colour", "setProfileField", "a custom field", json!({ "org.example.colour": { "name": "green" } })).counts("", 0),
        put("alice", "/profile/{bob}/displayname", "setProfileField", "another user's name", json!({ "displayname": "Bobby" })).refused(403, "M_FORBIDDEN"),
        put("alice", "/profile/{alice}/displayname", "setProfileField", "without the field", json!({ "other": 1 })).refused(400, "M_MISSING_PARAM"),
        put("alice", "/profile/{alice}/displayname", "setProfileField", "a name that is a number", json!({ "displayname": 1 })).refused(400, "M_BAD_JSON"),
        put("alice", "/profile/{alice}/Not%20a%20key", "setProfileField", "no key", json!({ "Not a key": 1 })).refused(400, "M_INVALID_PARAM"),
        put("alice", &format!("/profile/{{alice}}/{}", "a".repeat(256)), "setProfileField", "a key that is too long", json!({ "a".repeat(256): 1 })).refused(400, "M_KEY_TOO_LARGE"),
        put("alice", "/profile/{alice}/org.example.large", "setProfileField", "a profile that is too large", json!({ "org.example.large": "a".repeat(65_536) })).refused(400, "M_PROFILE_TOO_LARGE"),
        delete("alice", "/profile/{alice}/displayname", "deleteProfileField", "a name").counts("", 0),
        delete("alice", "/profile/{bob}/displayname", "deleteProfileField", "another user's name").refused(403, "M_FORBIDDEN"),
        delete("alice", "/profile/{alice}/Not%20a%20key", "deleteProfileField", "no key").refused(400, "M_INVALID_PARAM"),
        get(NOBODY, "/profile/{alice}/displayname", "getProfileField", "after it was deleted").after("alice", Method::Delete, "/profile/{alice}/displayname", json!({})).refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{public}/state/m.room.member/{alice}", "getRoomStateWithKey", "a membership after a change of name").after("alice", Put, "/profile/{alice}/displayname", json!({ "displayname": "Alice again" })).at("/displayname", "Alice again").at("/avatar_url", "mxc://example.org/alice"),
    ]
}

#[rustfmt::skip]
fn account_data() -> Vec<Case> {
    let in_room = "/user/{alice}/rooms/{public}/account_data";
    vec![
        get("alice", "/user/{alice}/account_data/org.example.setting", "getAccountData", "a setting").at("/theme", "dark"),
        get("phone", "/user/{alice}/account_data/org.example.setting", "getAccountData", "on another device").at("/theme", "dark"),
        get("alice", "/user/{alice}/account_data/org.example.none", "getAccountData", "an unknown type").refused(404, "M_NOT_FOUND"),
        get("alice", "/user/{bob}/account_data/org.example.setting", "getAccountData", "another user's").refused(403, "M_FORBIDDEN"),
        get("alice", "/user/{alice}/account_data/m.push_rules", "getAccountData", "the push rules").has("/global/override"),
        put("alice", "/user/{alice}/account_data/org.example.setting", "setAccountData", "a setting", json!({ "theme": "light" })).counts("", 0),
        put("alice", "/user/{bob}/account_data/org.example.setting", "setAccountData", "another user's", json!({})).refused(403, "M_FORBIDDEN"),
        put("alice", "/user/{alice}/account_data/m.fully_read", "setAccountData", "a type of the server's", json!({})).refused(405, "M_BAD_JSON"),
        put("alice", "/user/{alice}/account_data/m.push_rules", "setAccountData", "the push rules", json!({})).refused(405, "M_BAD_JSON"),
        get("alice", &format!("{in_room}/org.example.colour"), "getAccountDataPerRoom", "of a room").at("/colour", "green"),
        get("alice", &format!("{in_room}/org.example.none"), "getAccountDataPerRoom", "an unknown type").refused(404, "M_NOT_FOUND"),
        get("bob", &format!("{in_room}/org.example.colour"), "getAccountDataPerRoom", "another user's").refused(403, "M_FORBIDDEN"),
        put("alice", &format!("{in_room}/org.example.colour"), "setAccountDataPerRoom", "of a room", json!({ "colour": "blue" })).counts("", 0),
        put("bob", &format!("{in_room}/org.example.colour"), "setAccountDataPerRoom", "another user's", json!({})).refused(403, "M_FORBIDDEN"),
        put("alice", &format!("{in_room}/m.fully_read"), "setAccountDataPerRoom", "a type of the server's", json!({})).refused(405, "M_BAD_JSON"),
        get("alice", &format!("{in_room}/org.example.colour"), "getAccountDataPerRoom", "after a change").after("alice", Put, &format!("{in_room}/org.example.colour"), json!({ "colour": "blue" })).at("/colour", "blue"),
    ]
}

#[rustfmt::skip]
fn tags() -> Vec<Case> {
    let tags = "/user/{alice}/rooms/{public}/tags";
    vec![
        get("alice", tags, "getRoomTags", "a room's tags").at("/tags/u.work/order", 0.5),
        get("alice", "/user/{alice}/rooms/{private}/tags", "getRoomTags", "a room without tags").counts("/tags", 0),
        get("bob", tags, "getRoomTags", "another user's").refused(403, "M_FORBIDDEN"),
        put("alice", &format!("{tags}/m.favourite"), "setRoomTag", "a tag", json!({ "order": 0.25 })).counts("", 0),
        put("alice", &format!("{tags}/m.favourite"), "setRoomTag", "a tag without an order", json!({})).counts("", 0),
        put("alice", &format!("{tags}/m.favourite"), "setRoomTag", "an order that is none", json!({ "order": "first" })).refused(400, "M_INVALID_PARAM"),
        put("bob", &format!("{tags}/m.favourite"), "setRoomTag", "another user's", json!({})).refused(403, "M_FORBIDDEN"),
        delete("alice", &format!("{tags}/u.work"), "deleteRoomTag", "a tag").counts("", 0),
        delete("alice", &format!("{tags}/u.none"), "deleteRoomTag", "an unknown tag").counts("", 0),
        delete("bob", &format!("{tags}/u.work"), "deleteRoomTag", "another user's").refused(403, "M_FORBIDDEN"),
        get("alice", tags, "getRoomTags", "with one more").after("alice", Put, &format!("{tags}/m.favourite"), json!({})).counts("/tags", 2).has("/tags/m.favourite"),
        get("alice", tags, "getRoomTags", "with one less").after("alice", Method::Delete, &format!("{tags}/u.work"), json!({})).counts("/tags", 0),
    ]
}

#[rustfmt::skip]
fn filters() -> Vec<Case> {
    let filter = json!({ "event_fields": ["type", "content"], "presence": { "not_types": ["m.presence"] }, "room": { "timeline": { "limit": 5 }, "include_leave": true } });
    vec![
        post("alice", "/user/{alice}/filter", "defineFilter", "a filter", filter.clone()).has("/filter_id"),
        post("alice", "/user/{alice}/filter", "defineFilter", "an empty filter", json!({})).has("/filter_id"),
        post("alice", "/user/{bob}/filter", "defineFilter", "another user's", json!({})).refused(403, "M_FORBIDDEN"),
        post("alice", "/user/{alice}/filter", "defineFilter", "wrong types", json!({ "room": { "timeline": { "limit": "many" } } })).refused(400, "M_BAD_JSON"),
        get("alice", "/user/{alice}/filter/{filter}", "getFilter", "a filter").at("/room/timeline/limit", 3).at("/room/state/lazy_load_members", true),
        get("alice", "/user/{alice}/filter/{new}", "getFilter", "a new filter").after("alice", Post, "/user/{alice}/filter", filter).keeping("new", "/filter_id").at("/room/include_leave", true).at("/event_fields/1", "content"),
        get("alice", "/user/{alice}/filter/none", "getFilter", "an unknown filter").refused(404, "M_NOT_FOUND"),
        get("bob", "/user/{alice}/filter/{filter}", "getFilter", "another user's").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn presence() -> Vec<Case> {
    let read = |caller, name: &str| get(caller, "/presence/{alice}/status", "getPresence", name);
    let set = |caller, name: &str, presence: &str| put(caller, "/presence/{alice}/status", "setPresence", name, json!({ "presence": presence, "status_msg": "Here" }));
    vec![
        read("bob", "who was never there").at("/presence", "offline"),
        read("bob", "who is there").after("alice", Put, "/presence/{alice}/status", json!({ "presence": "online", "status_msg": "Here" })).at("/presence", "online").at("/status_msg", "Here").at("/currently_active", true).has("/last_active_ago"),
        read("carol", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("alice", "/presence/@x:elsewhere.example/status", "getPresence", "of another server").refused(403, "M_FORBIDDEN"),
        set("alice", "one's own", "unavailable").counts("", 0),
        set("bob", "another's", "online").refused(403, "M_FORBIDDEN"),
        set("alice", "what is none", "asleep").refused(400, "M_BAD_JSON"),
    ]
}
