//! Cases of syncing, and of what came before it.

use inglenook::http::Method::{Get, Post, Put};
use serde_json::json;

use super::case::{Case, get};

/// A filter for events as servers see them; the schemas know the fields that clients see.
const WHOLE_EVENTS: &str =
    "{\"event_format\":\"federation\",\"event_fields\":[\"content\",\"event_id\",\"origin_server_ts\",\"sender\",\"state_key\",\"type\"]}";

pub(crate) fn cases() -> Vec<Case> {
    [initial(), incremental(), filtered(), deprecated()].concat()
}

#[rustfmt::skip]
fn initial() -> Vec<Case> {
    let sync = |caller, query: &str, name: &str| get(caller, &format!("/sync{query}"), "sync", name);
    vec![
        sync("alice", "", "everything").after("bob", Post, "/rooms/{public}/receipt/m.read/{message}", json!({})).has("/next_batch").has("/rooms/join/{public}").counts("/rooms/join", 6)
            .includes("/account_data/events", json!({ "type": "org.example.setting", "content": { "theme": "dark" } }))
            .includes("/account_data/events", json!({ "type": "m.push_rules" }))
            .includes("/rooms/join/{public}/account_data/events", json!({ "type": "m.tag", "content": { "tags": { "u.work": { "order": 0.5 } } } }))
            .includes("/rooms/join/{public}/account_data/events", json!({ "type": "org.example.colour" }))
            .has("/rooms/join/{public}/ephemeral/events/0/content/{message}/m.read/{bob}/ts")
            .includes("/rooms/join/{public}/timeline/events", json!({ "event_id": "{last}", "sender": "{bob}" }))
            .at("/rooms/join/{public}/timeline/limited", true).has("/rooms/join/{public}/timeline/prev_batch")
            .includes("/rooms/join/{public}/state/events", json!({ "type": "m.room.name" })),
        sync("bob", "?timeout=0", "with an invitation").counts("/rooms/join", 2).counts("/rooms/invite", 1)
            .includes("/rooms/invite/{invited}/invite_state/events", json!({ "type": "m.room.member", "state_key": "{bob}", "sender": "{alice}", "content": { "membership": "invite" } }))
            .includes("/rooms/invite/{invited}/invite_state/events", json!({ "type": "m.room.name" })),
        sync("bob", "?filter={\"room\":{\"include_leave\":true}}", "with rooms that one left").includes("/rooms/leave/{left}/timeline/events", json!({ "type": "m.room.member", "state_key": "{bob}" })).excludes("/rooms/leave/{left}/timeline/events", json!({ "event_id": "{unseen}" })),
        sync("carol", "", "nothing yet").has("/next_batch").lacks("/rooms/join/{public}"),
        sync("alice", "?full_state=true&timeout=1000", "all state").has("/rooms/join/{public}/state/events/0"),
        sync("alice", "?set_presence=offline", "without being seen").has("/next_batch"),
        sync("alice", "?use_state_after=true", "with the state after").has("/rooms/join/{public}/state_after/events/0").lacks("/rooms/join/{public}/state"),
        sync("bob", "", "unread messages").has("/rooms/join/{private}/unread_notifications/notification_count"),
        sync("alice", "", "the summary of a room").at("/rooms/join/{private}/summary/m.heroes/0", "{bob}").at("/rooms/join/{private}/summary/m.joined_member_count", 2),
        sync("carol", "", "where one knocked").after("carol", Post, "/knock/{knocked}", json!({})).includes("/rooms/knock/{knocked}/knock_state/events", json!({ "type": "m.room.member", "state_key": "{carol}", "content": { "membership": "knock" } })),
        sync("alice", "?timeout=long", "a time that is none").refused(400, "M_INVALID_PARAM"),
        sync("alice", "?since=nonsense", "since never").refused(400, "M_INVALID_PARAM"),
        sync("alice", "?full_state=maybe", "what is neither true nor false").refused(400, "M_INVALID_PARAM"),
        sync("alice", "?set_presence=gone", "what is no presence").refused(400, "M_INVALID_PARAM"),
    ]
}

#[rustfmt::skip]
fn incremental() -> Vec<Case> {
    let since = |caller, name: &str| get(caller, "/sync?timeout=0&since={since}", "sync", name).after(caller, Get, "/sync", json!({})).keeping("since", "/next_batch");
    vec![
        since("bob", "nothing new").lacks("/rooms/join/{public}").has("/next_batch"),
        since("bob", "a message").after("alice", Put, "/rooms/{public}/send/m.room.message/t1", json!({ "msgtype": "m.text", "body": "New" })).counts("/rooms/join", 1).counts("/rooms/join/{public}/timeline/events", 1).at("/rooms/join/{public}/timeline/events/0/content/body", "New").at("/rooms/join/{public}/timeline/limited", false),
        since("alice", "one's own message").after("alice", Put, "/rooms/{public}/send/m.room.message/t1", json!({ "msgtype": "m.text", "body": "New" })).at("/rooms/join/{public}/timeline/events/0/unsigned/transaction_id", "t1"),
        since("bob", "new state").after("alice", Put, "/rooms/{public}/state/m.room.name", json!({ "name": "Renamed" })).at("/rooms/join/{public}/timeline/events/0/unsigned/prev_content/name", "The public room").has("/rooms/join/{public}/timeline/events/0/unsigned/replaces_state"),
        since("alice", "a receipt").after("bob", Post, "/rooms/{public}/receipt/m.read/{last}", json!({})).has("/rooms/join/{public}/ephemeral/events/0/content/{last}/m.read/{bob}"),
        since("bob", "somebody types").after("alice", Put, "/rooms/{public}/typing/{alice}", json!({ "typing": true, "timeout": 30_000 })).includes("/rooms/join/{public}/ephemeral/events", json!({ "type": "m.typing", "content": { "user_ids": ["{alice}"] } })),
        since("alice", "account data").after("phone", Put, "/user/{alice}/account_data/org.example.setting", json!({ "theme": "light" })).counts("/account_data/events", 1).at("/account_data/events/0/content/theme", "light"),
        since("alice", "a room's account data").after("phone", Put, "/user/{alice}/rooms/{public}/account_data/org.example.colour", json!({ "colour": "blue" })).at("/rooms/join/{public}/account_data/events/0/content/colour", "blue"),
        since("alice", "a tag").after("phone", Put, "/user/{alice}/rooms/{public}/tags/m.favourite", json!({})).includes("/rooms/join/{public}/account_data/events", json!({ "type": "m.tag", "content": { "tags": { "m.favourite": {} } } })),
        since("alice", "a push rule").after("phone", Put, "/pushrules/global/override/.m.rule.master/enabled", json!({ "enabled": true })).includes("/account_data/events", json!({ "type": "m.push_rules" })),
        since("carol", "an invitation").after("alice", Post, "/rooms/{private}/invite", json!({ "user_id": "{carol}" })).has("/rooms/invite/{private}/invite_state/events/0"),
        since("bob", "an invitation taken up").after("bob", Post, "/join/{invited}", json!({})).includes("/rooms/join/{invited}/timeline/events", json!({ "type": "m.room.create" })).at("/rooms/join/{invited}/timeline/limited", false),
        since("bob", "a kick").after("alice", Post, "/rooms/{public}/kick", json!({ "user_id": "{bob}" })).includes("/rooms/leave/{public}/timeline/events", json!({ "type": "m.room.member", "state_key": "{bob}", "content": { "membership": "leave" } })),
        since("bob", "an invitation withdrawn").after("alice", Post, "/rooms/{invited}/kick", json!({ "user_id": "{bob}" })).has("/rooms/leave/{invited}"),
        since("bob", "a new room").after("bob", Post, "/createRoom", json!({ "name": "New" })).keeping("new", "/room_id").includes("/rooms/join/{new}/timeline/events", json!({ "type": "m.room.name" })),
        get("bob", "/sync?full_state=true&timeout=0&since={since}", "sync", "all state again").after("bob", Get, "/sync", json!({})).keeping("since", "/next_batch").includes("/rooms/join/{public}/state/events", json!({ "type": "m.room.create" })),
    ]
}

#[rustfmt::skip]
fn filtered() -> Vec<Case> {
    let sync = |caller, filter: &str, name: &str| get(caller, &format!("/sync?filter={filter}"), "sync", name);
    let gap = sync("bob", "{\"room\":{\"timeline\":{\"limit\":2}}}&since={since}&timeout=0", "a gap").after("bob", Get, "/sync", json!({})).keeping("since", "/next_batch");
    let gap = (0..4).fold(gap, |case, number| case.after("alice", Put, &format!("/rooms/{{public}}/send/m.room.message/t{number}"), json!({ "msgtype": "m.text", "body": "New" })));
    vec![
        sync("alice", "{filter}", "by a stored filter").counts("/rooms/join/{public}/timeline/events", 3).at("/rooms/join/{public}/timeline/limited", true),
        sync("alice", "{\"room\":{\"timeline\":{\"limit\":1}}}", "by a filter in the query").counts("/rooms/join/{public}/timeline/events", 1),
        sync("alice", "{\"room\":{\"rooms\":[\"{public}\"]}}", "one room").counts("/rooms/join", 1),
        sync("alice", "{\"room\":{\"timeline\":{\"types\":[\"m.reaction\"]}}}", "one type").counts("/rooms/join/{public}/timeline/events", 1),
        sync("alice", "{\"account_data\":{\"not_types\":[\"m.push_rules\"]}}", "without push rules").excludes("/account_data/events", json!({ "type": "m.push_rules" })),
        sync("alice", "{\"room\":{\"state\":{\"lazy_load_members\":true},\"timeline\":{\"limit\":1}}}", "members who speak").includes("/rooms/join/{public}/state/events", json!({ "type": "m.room.member", "state_key": "{bob}" })),
        gap.counts("/rooms/join/{public}/timeline/events", 2).at("/rooms/join/{public}/timeline/limited", true),
        sync("alice", WHOLE_EVENTS, "whole events").has("/next_batch"),
        sync("alice", "none", "by an unknown filter").refused(404, "M_NOT_FOUND"),
        sync("alice", "{\"room\":1}", "by a filter that is none").refused(400, "M_INVALID_PARAM"),
        sync("alice", "{\"room\"", "by a filter that is not JSON").refused(400, "M_INVALID_PARAM"),
    ]
}

#[rustfmt::skip]
fn deprecated() -> Vec<Case> {
    let room = |caller, room: &str, name: &str| get(caller, &format!("/rooms/{{{room}}}/initialSync"), "roomInitialSync", name);
    let now = |case: Case| case.after("bob", Get, "/initialSync", json!({})).keeping("end", "/end");
    vec![
        get("alice", "/initialSync", "initialSync", "everything").counts("/rooms", 6).includes("/rooms", json!({ "room_id": "{public}", "membership": "join", "visibility": "public" })).has("/end").has("/presence"),
        get("bob", "/initialSync?limit=2&archived=true", "initialSync", "with rooms that one left").includes("/rooms", json!({ "room_id": "{left}", "membership": "leave" })).includes("/rooms", json!({ "room_id": "{invited}", "membership": "invite" })),
        get("alice", "/initialSync?limit=many", "initialSync", "a limit that is none").refused(400, "M_INVALID_PARAM"),
        room("bob", "public", "a room").at("/room_id", "{public}").at("/membership", "join").at("/visibility", "public").includes("/state", json!({ "type": "m.room.create" })).includes("/messages/chunk", json!({ "event_id": "{last}" })).has("/messages/end"),
        room("bob", "left", "a room that one left").at("/membership", "leave").excludes("/messages/chunk", json!({ "event_id": "{unseen}" })),
        room("carol", "private", "by a stranger").refused(403, "M_FORBIDDEN"),
        now(get("bob", "/events?from={end}&timeout=0", "getEvents", "nothing new")).counts("/chunk", 0).has("/end"),
        now(get("bob", "/events?from={end}&timeout=0", "getEvents", "a message")).after("alice", Put, "/rooms/{public}/send/m.room.message/t1", json!({ "msgtype": "m.text", "body": "New" })).includes("/chunk", json!({ "room_id": "{public}", "content": { "body": "New" } })),
        get("bob", "/events?from=nonsense", "getEvents", "from nowhere").refused(400, "M_INVALID_PARAM"),
        now(get("bob", "/events?room_id={public}&from={end}&timeout=0", "peekEvents", "of a room")).counts("/chunk", 0),
        get("carol", "/events?room_id={private}&timeout=0", "peekEvents", "by a stranger").refused(403, "M_FORBIDDEN"),
    ]
}
