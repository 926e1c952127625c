//! Cases of making, upgrading and finding rooms.

use inglenook::http::{
    Method,
    Method::{Get, Post, Put},
};
use serde_json::{Value, json};

use super::case::{Case, NOBODY, delete, get, post, put};

pub(crate) fn cases() -> Vec<Case> {
    [creation(), made_rooms(), upgrades(), aliases(), directory(), spaces(), summaries()].concat()
}

#[rustfmt::skip]
fn creation() -> Vec<Case> {
    let create = |name: &str, body: Value| post("alice", "/createRoom", "createRoom", name, body);
    let state = |content: Value| json!({ "initial_state": [content] });
    let mut cases = vec![
        create("with nothing given", json!({})).has("/room_id"),
        create("with everything given", json!({
            "preset": "trusted_private_chat", "visibility": "private", "name": "A room", "topic": "Things", "room_alias_name": "new", "invite": ["{bob}", "{carol}"], "is_direct": true,
            "creation_content": { "m.federate": false, "type": "m.space" }, "power_level_content_override": { "events_default": 10 }, "room_version": "11",
            "initial_state": [{ "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": "can_join" } }, { "type": "org.example", "content": {} }],
        })).has("/room_id"),
        create("with a second creator", json!({ "room_version": "12", "creation_content": { "additional_creators": ["{bob}"] } })).has("/room_id"),
        create("with an unknown version", json!({ "room_version": "0" })).refused(400, "M_UNSUPPORTED_ROOM_VERSION"),
        create("with an alias in use", json!({ "room_alias_name": "public" })).refused(400, "M_ROOM_IN_USE"),
        create("with an alias that is none", json!({ "room_alias_name": "a:b" })).refused(400, "M_INVALID_PARAM"),
        create("with an invited user that is none", json!({ "invite": ["bob"] })).refused(400, "M_BAD_JSON"),
        create("with a preset that is none", json!({ "preset": "secret_chat" })).refused(400, "M_BAD_JSON"),
        create("with wrong types", json!({ "invite": "{bob}" })).refused(400, "M_BAD_JSON"),
        create("with initial state without content", state(json!({ "type": "m.room.name" }))).refused(400, "M_BAD_JSON"),
        create("with power levels that shut the creator out", json!({ "room_version": "11", "power_level_content_override": { "users": {}, "users_default": 0 } })).refused(400, "M_INVALID_ROOM_STATE"),
        create("with creators among the power levels", json!({ "power_level_content_override": { "users": { "{alice}": 100 } } })).refused(400, "M_INVALID_ROOM_STATE"),
        create("with a name that is too large", json!({ "name": "a".repeat(70_000) })).refused(413, "M_TOO_LARGE"),
    ];
    cases.extend((1..=12).map(|version| create(&format!("of version {version}"), json!({ "room_version": version.to_string(), "name": "A room", "invite": ["{bob}"] })).has("/room_id")));
    cases
}

/// What is in rooms that were just made.
#[rustfmt::skip]
fn made_rooms() -> Vec<Case> {
    let made = |name: &str, options: Value, kind: &str| {
        get("alice", &format!("/rooms/{{new}}/state/{kind}"), "getRoomStateWithKey", name).after("alice", Post, "/createRoom", options).keeping("new", "/room_id")
    };
    vec![
        made("of a new room's creation", json!({ "creation_content": { "type": "m.space" } }), "m.room.create").at("/room_version", "12").at("/type", "m.space").lacks("/creator"),
        made("of an old version's creation", json!({ "room_version": "10" }), "m.room.create").at("/room_version", "10").at("/creator", "{alice}"),
        made("of a private room's rules", json!({}), "m.room.join_rules").at("/join_rule", "invite"),
        made("of a public room's rules", json!({ "preset": "public_chat" }), "m.room.join_rules").at("/join_rule", "public"),
        made("of a visible room's rules", json!({ "visibility": "public" }), "m.room.join_rules").at("/join_rule", "public"),
        made("of a new room's name", json!({ "name": "A room" }), "m.room.name").at("/name", "A room"),
        made("of a new room's topic", json!({ "topic": "Things" }), "m.room.topic").at("/topic", "Things"),
        made("of a new room's alias", json!({ "room_alias_name": "new" }), "m.room.canonical_alias").at("/alias", "#new:example.org"),
        made("of an invitation", json!({ "invite": ["{bob}"], "is_direct": true }), "m.room.member/{bob}").at("/membership", "invite").at("/is_direct", true),
        made("of a creator's membership", json!({}), "m.room.member/{alice}").at("/membership", "join").at("/displayname", "Alice"),
        made("of power levels", json!({ "power_level_content_override": { "events_default": 10 } }), "m.room.power_levels").at("/events_default", 10).lacks("/users/{alice}"),
        made("of an old version's power levels", json!({ "room_version": "11" }), "m.room.power_levels").at("/users/{alice}", 100),
        made("of a trusted room's power levels", json!({ "room_version": "11", "preset": "trusted_private_chat", "invite": ["{bob}"] }), "m.room.power_levels").at("/users/{bob}", 100),
        made("of initial state", json!({ "initial_state": [{ "type": "org.example", "state_key": "key", "content": { "a": 1 } }] }), "org.example/key").at("/a", 1),
    ]
}

#[rustfmt::skip]
fn upgrades() -> Vec<Case> {
    let upgrade = |caller, room: &str, name: &str, body| post(caller, &format!("/rooms/{{{room}}}/upgrade"), "upgradeRoom", name, body);
    vec![
        upgrade("alice", "public", "to a version", json!({ "new_version": "12" })).has("/replacement_room"),
        upgrade("alice", "public", "to an older version", json!({ "new_version": "10" })).has("/replacement_room"),
        upgrade("alice", "public", "with a second creator", json!({ "new_version": "12", "additional_creators": ["{bob}"] })).has("/replacement_room"),
        upgrade("alice", "public", "to an unknown version", json!({ "new_version": "0" })).refused(400, "M_UNSUPPORTED_ROOM_VERSION"),
        upgrade("alice", "public", "without a version", json!({})).refused(400, "M_BAD_JSON"),
        upgrade("bob", "public", "without the power", json!({ "new_version": "12" })).refused(403, "M_FORBIDDEN"),
        upgrade("carol", "private", "by a stranger", json!({ "new_version": "12" })).refused(403, "M_FORBIDDEN"),
        get("alice", "/rooms/{public}/state/m.room.tombstone", "getRoomStateWithKey", "of an upgraded room").after("alice", Post, "/rooms/{public}/upgrade", json!({ "new_version": "12" })).keeping("new", "/replacement_room").at("/replacement_room", "{new}"),
        get("alice", "/rooms/{new}/state/m.room.name", "getRoomStateWithKey", "of a replacement").after("alice", Post, "/rooms/{public}/upgrade", json!({ "new_version": "12" })).keeping("new", "/replacement_room").at("/name", "The public room"),
        get(NOBODY, "/directory/room/%23public%3Aexample.org", "getRoomIdByAlias", "of an upgraded room").after("alice", Post, "/rooms/{public}/upgrade", json!({ "new_version": "12" })).keeping("new", "/replacement_room").at("/room_id", "{new}"),
    ]
}

#[rustfmt::skip]
fn aliases() -> Vec<Case> {
    let (public, new) = ("/directory/room/%23public%3Aexample.org", "/directory/room/%23new%3Aexample.org");
    vec![
        get(NOBODY, public, "getRoomIdByAlias", "an alias").at("/room_id", "{public}").at("/servers/0", "example.org"),
        get(NOBODY, "/directory/room/%23none%3Aexample.org", "getRoomIdByAlias", "an unknown alias").refused(404, "M_NOT_FOUND"),
        put("alice", new, "setRoomAlias", "an alias", json!({ "room_id": "{public}" })).counts("", 0),
        put("bob", new, "setRoomAlias", "by a member", json!({ "room_id": "{public}" })).counts("", 0),
        put("alice", public, "setRoomAlias", "an alias in use", json!({ "room_id": "{private}" })).refused(409, "M_UNKNOWN"),
        put("alice", "/directory/room/%23new%3Aelsewhere.org", "setRoomAlias", "of another server", json!({ "room_id": "{public}" })).refused(400, "M_INVALID_PARAM"),
        put("alice", new, "setRoomAlias", "without a room", json!({})).refused(400, "M_BAD_JSON"),
        put("alice", new, "setRoomAlias", "for what is no room", json!({ "room_id": "nonsense" })).refused(400, "M_BAD_JSON"),
        delete("alice", public, "deleteRoomAlias", "by who made it").counts("", 0),
        delete("bob", public, "deleteRoomAlias", "by another").refused(403, "M_FORBIDDEN"),
        delete("alice", "/directory/room/%23none%3Aexample.org", "deleteRoomAlias", "an unknown alias").refused(404, "M_NOT_FOUND"),
        get(NOBODY, public, "getRoomIdByAlias", "after it was deleted").after("alice", Method::Delete, public, json!({})).refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{public}/aliases", "getLocalAliases", "of a room").at("/aliases/0", "#public:example.org").counts("/aliases", 1),
        get("bob", "/rooms/{private}/aliases", "getLocalAliases", "none").counts("/aliases", 0),
        get("carol", "/rooms/{private}/aliases", "getLocalAliases", "by a stranger").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn directory() -> Vec<Case> {
    let second = |case: Case| case.after("alice", Post, "/createRoom", json!({ "visibility": "public", "name": "Another", "creation_content": { "type": "m.space" } })).keeping("another", "/room_id");
    let public = json!({ "room_id": "{public}", "num_joined_members": 2, "world_readable": false, "guest_can_join": false, "name": "The public room", "topic": "Everything", "canonical_alias": "#public:example.org", "join_rule": "public" });
    let query = |name: &str, body: Value| post("carol", "/publicRooms", "queryPublicRooms", name, body);
    vec![
        get(NOBODY, "/publicRooms", "getPublicRooms", "all").counts("/chunk", 1).includes("/chunk", public.clone()).lacks("/next_batch"),
        second(get(NOBODY, "/publicRooms?limit=1", "getPublicRooms", "one of two")).counts("/chunk", 1).at("/chunk/0/room_id", "{public}").has("/next_batch").at("/total_room_count_estimate", 2),
        second(get(NOBODY, "/publicRooms?limit=1&since={next}", "getPublicRooms", "the second")).after(NOBODY, Get, "/publicRooms?limit=1", json!({})).keeping("next", "/next_batch").counts("/chunk", 1).at("/chunk/0/room_id", "{another}").lacks("/next_batch").has("/prev_batch"),
        get(NOBODY, "/publicRooms?limit=many", "getPublicRooms", "a limit that is none").refused(400, "M_INVALID_PARAM"),
        get(NOBODY, "/publicRooms?since=nonsense", "getPublicRooms", "from nowhere").refused(400, "M_INVALID_PARAM"),
        query("all", json!({})).includes("/chunk", public),
        second(query("by a word", json!({ "filter": { "generic_search_term": "ANOTHER" } }))).counts("/chunk", 1).at("/chunk/0/room_id", "{another}"),
        second(query("by a word of the topic", json!({ "filter": { "generic_search_term": "everything" } }))).counts("/chunk", 1).at("/chunk/0/room_id", "{public}"),
        second(query("spaces", json!({ "filter": { "room_types": ["m.space"] } }))).counts("/chunk", 1).at("/chunk/0/room_type", "m.space"),
        second(query("rooms without a type", json!({ "filter": { "room_types": [null] } }))).counts("/chunk", 1).at("/chunk/0/room_id", "{public}"),
        second(query("one of two", json!({ "limit": 1 }))).counts("/chunk", 1).has("/next_batch"),
        query("nothing", json!({ "filter": { "generic_search_term": "nothing of the kind" } })).counts("/chunk", 0),
        query("wrong types", json!({ "limit": "many" })).refused(400, "M_BAD_JSON"),
        get(NOBODY, "/directory/list/room/{public}", "getRoomVisibilityOnDirectory", "a public room").at("/visibility", "public"),
        get(NOBODY, "/directory/list/room/{private}", "getRoomVisibilityOnDirectory", "a private room").at("/visibility", "private"),
        get(NOBODY, "/directory/list/room/!none:example.org", "getRoomVisibilityOnDirectory", "an unknown room").refused(404, "M_NOT_FOUND"),
        put("alice", "/directory/list/room/{private}", "setRoomVisibilityOnDirectory", "public", json!({ "visibility": "public" })).counts("", 0),
        put("alice", "/directory/list/room/{private}", "setRoomVisibilityOnDirectory", "public where nothing is said", json!({})).counts("", 0),
        put("bob", "/directory/list/room/{public}", "setRoomVisibilityOnDirectory", "without the power", json!({ "visibility": "private" })).refused(403, "M_FORBIDDEN"),
        put("alice", "/directory/list/room/{public}", "setRoomVisibilityOnDirectory", "what is none", json!({ "visibility": "half" })).refused(400, "M_BAD_JSON"),
        put("alice", "/directory/list/room/!none:example.org", "setRoomVisibilityOnDirectory", "an unknown room", json!({ "visibility": "public" })).refused(404, "M_NOT_FOUND"),
        get(NOBODY, "/publicRooms", "getPublicRooms", "none").after("alice", Put, "/directory/list/room/{public}", json!({ "visibility": "private" })).counts("/chunk", 0),
    ]
}

#[rustfmt::skip]
fn spaces() -> Vec<Case> {
    let hierarchy = |caller, query: &str, name: &str| get(caller, &format!("/_matrix/client/v1/rooms/{{space}}/hierarchy{query}"), "getSpaceHierarchy", name);
    let made = |case: Case| {
        let made = case.after("alice", Post, "/createRoom", json!({ "name": "A space", "creation_content": { "type": "m.space" } })).keeping("space", "/room_id");
        let child = |case: Case, room: &str, suggested: bool| case.after("alice", Put, &format!("/rooms/{{space}}/state/m.space.child/{{{room}}}"), json!({ "via": ["example.org"], "suggested": suggested }));
        child(child(made, "public", true), "private", false)
    };
    let first = |case: Case| made(case).after("alice", Get, "/_matrix/client/v1/rooms/{space}/hierarchy?limit=1", json!({})).keeping("next", "/next_batch");
    vec![
        made(hierarchy("alice", "", "all")).counts("/rooms", 3).at("/rooms/0/room_id", "{space}").at("/rooms/0/room_type", "m.space").counts("/rooms/0/children_state", 2).includes("/rooms", json!({ "room_id": "{public}", "name": "The public room", "join_rule": "public" })).lacks("/next_batch"),
        made(hierarchy("alice", "?suggested_only=true", "what is suggested")).counts("/rooms", 2),
        made(hierarchy("alice", "?max_depth=0", "the space alone")).counts("/rooms", 1),
        first(hierarchy("alice", "?limit=1&from={next}", "the second")).counts("/rooms", 1).excludes("/rooms", json!({ "room_id": "{space}" })),
        first(hierarchy("alice", "?limit=1&max_depth=1&from={next}", "with another depth")).refused(400, "M_INVALID_PARAM"),
        made(hierarchy("alice", "?from=nonsense", "from nowhere")).refused(400, "M_INVALID_PARAM"),
        made(hierarchy("alice", "?limit=0", "nothing")).refused(400, "M_INVALID_PARAM"),
        made(hierarchy("carol", "", "by a stranger")).refused(403, "M_FORBIDDEN"),
        get("alice", "/_matrix/client/v1/rooms/!none:example.org/hierarchy", "getSpaceHierarchy", "of an unknown room").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn summaries() -> Vec<Case> {
    let summary = |caller, room: &str, name: &str| get(caller, &format!("/_matrix/client/v1/room_summary/{room}"), "getRoomSummary", name);
    vec![
        summary("bob", "{public}", "by ID").at("/room_id", "{public}").at("/name", "The public room").at("/membership", "join").at("/num_joined_members", 2).at("/room_version", "12"),
        summary(NOBODY, "%23public%3Aexample.org", "by alias").at("/room_id", "{public}").lacks("/membership"),
        summary("bob", "{invited}", "of an invitation").at("/membership", "invite"),
        summary("carol", "{private}", "by a stranger").refused(404, "M_NOT_FOUND"),
        summary("carol", "!none:example.org", "of an unknown room").refused(404, "M_NOT_FOUND"),
    ]
}
