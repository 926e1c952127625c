//! Cases of events: sending, state, reading them singly, in pages, around one another and by relation.

use inglenook::http::Method::{Get, Post, Put};
use serde_json::{Value, json};

use super::case::{Case, Content, get, post, put};

pub(crate) fn cases() -> Vec<Case> {
    [
        sending(),
        redacting(),
        setting_state(),
        reading_state(),
        members(),
        single(),
        pages(),
        around(),
        relations(),
        by_time(),
        receipts(),
        typing(),
    ]
    .concat()
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

#[rustfmt::skip]
fn sending() -> Vec<Case> {
    let send = |caller, room: &str, name: &str, content: Value| put(caller, &format!("/rooms/{{{room}}}/send/m.room.message/t1"), "sendMessage", name, content);
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": "{message}", "key": "👍" } });
    vec![
        send("alice", "public", "a message", text("Hello")).has("/event_id"),
        send("alice", "public", "a message again", text("Hello")).after("alice", Put, "/rooms/{public}/send/m.room.message/t1", text("Hello")).keeping("first", "/event_id").at("/event_id", "{first}"),
        send("phone", "public", "the same from another device", text("Hello")).after("alice", Put, "/rooms/{public}/send/m.room.message/t1", text("Hello")).keeping("first", "/event_id").has("/event_id"),
        send("alice", "public", "without content", json!({})).has("/event_id"),
        put("alice", "/rooms/{public}/send/org.example.type/t1", "sendMessage", "an event of its own type", json!({ "a": [1, true, null, { "b": "c" }] })).has("/event_id"),
        put("alice", "/_matrix/client/r0/rooms/{public}/send/m.room.message/t1", "sendMessage", "by an old path", text("Hello")).has("/event_id"),
        send("carol", "public", "by a stranger", text("Hello")).refused(403, "M_FORBIDDEN"),
        send("bob", "invited", "by who is invited", text("Hello")).refused(403, "M_FORBIDDEN"),
        send("bob", "left", "by who is gone", text("Hello")).refused(403, "M_FORBIDDEN"),
        send("alice", "public", "that is too large", text(&"a".repeat(66_000))).refused(413, "M_TOO_LARGE"),
        send("alice", "public", "with a number that is no integer", json!({ "number": 1.5 })).refused(400, "M_BAD_JSON"),
        send("alice", "public", "with a number that is too large", json!({ "number": 9_007_199_254_740_992_i64 })).refused(400, "M_BAD_JSON"),
        put("alice", "/rooms/!none:example.org/send/m.room.message/t1", "sendMessage", "to an unknown room", text("Hello")).refused(403, "M_FORBIDDEN"),
        put("bob", "/rooms/{public}/send/m.reaction/t1", "sendMessage", "a reaction twice", reaction.clone()).refused(400, "M_DUPLICATE_ANNOTATION"),
        put("alice", "/rooms/{public}/send/m.reaction/t1", "sendMessage", "another's reaction", reaction).has("/event_id"),
        put("alice", "/rooms/{public}/send/m.room.redaction/t1", "sendMessage", "a redaction", json!({ "redacts": "{message}" })).has("/event_id"),
    ]
}

#[rustfmt::skip]
fn redacting() -> Vec<Case> {
    let redact = |caller, event: &str, name: &str| put(caller, &format!("/rooms/{{public}}/redact/{{{event}}}/t1"), "redactEvent", name, json!({ "reason": "A test" }));
    vec![
        redact("bob", "reply", "one's own").has("/event_id"),
        redact("alice", "reply", "another's, with the power").has("/event_id"),
        redact("alice", "message", "without a reason").sending(Content::Json(json!({}))).has("/event_id"),
        redact("bob", "reply", "again").after("bob", Put, "/rooms/{public}/redact/{reply}/t1", json!({})).keeping("first", "/event_id").at("/event_id", "{first}"),
        redact("bob", "message", "another's, without the power").refused(403, "M_FORBIDDEN"),
        redact("carol", "message", "by a stranger").refused(403, "M_FORBIDDEN"),
        put("alice", "/rooms/{public}/redact/$none/t1", "redactEvent", "an unknown event", json!({})).refused(404, "M_NOT_FOUND"),
        get("alice", "/rooms/{public}/event/{reply}", "getOneRoomEvent", "that was redacted").after("bob", Put, "/rooms/{public}/redact/{reply}/t1", json!({ "reason": "A test" })).keeping("redacting", "/event_id").counts("/content", 0).at("/unsigned/redacted_because/event_id", "{redacting}"),
    ]
}

#[rustfmt::skip]
fn setting_state() -> Vec<Case> {
    let set = |caller, below: &str, name: &str, content: Value| put(caller, &format!("/rooms/{{public}}/state/{below}"), "setRoomStateWithKey", name, content);
    vec![
        set("alice", "m.room.name/", "a name", json!({ "name": "Renamed" })).has("/event_id"),
        set("alice", "m.room.name", "without a key", json!({ "name": "Renamed" })).has("/event_id"),
        set("alice", "org.example.type/key%2Fwith%20oddities", "an odd key", json!({ "a": 1 })).has("/event_id"),
        set("alice", "m.room.canonical_alias", "an alias", json!({ "alias": "#public:example.org", "alt_aliases": ["#public:example.org"] })).has("/event_id"),
        set("alice", "m.room.canonical_alias", "an unknown alias", json!({ "alias": "#none:example.org" })).refused(400, "M_BAD_ALIAS"),
        set("alice", "m.room.canonical_alias", "an alias of another room", json!({ "alias": "#other:example.org" })).after("alice", Put, "/directory/room/%23other%3Aexample.org", json!({ "room_id": "{private}" })).refused(400, "M_BAD_ALIAS"),
        set("alice", "m.room.canonical_alias", "an alias that is none", json!({ "alias": "public" })).refused(400, "M_INVALID_PARAM"),
        set("bob", "m.room.name", "without the power", json!({ "name": "Renamed" })).refused(403, "M_FORBIDDEN"),
        set("carol", "m.room.name", "by a stranger", json!({ "name": "Renamed" })).refused(403, "M_FORBIDDEN"),
        set("alice", "org.example.type/{bob}", "under another user's ID", json!({})).refused(403, "M_FORBIDDEN"),
        set("bob", "m.room.member/{bob}", "one's own membership", json!({ "membership": "leave" })).has("/event_id"),
        set("alice", "m.room.create", "a second creation", json!({})).refused(403, "M_FORBIDDEN"),
        set("alice", "m.room.topic", "that is too large", json!({ "topic": "a".repeat(66_000) })).refused(413, "M_TOO_LARGE"),
        set("alice", "m.room.power_levels", "power levels that are none", json!({ "users": { "{bob}": "high" } })).refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn reading_state() -> Vec<Case> {
    let state = |caller, below: &str, name: &str| get(caller, &format!("/rooms/{{public}}/state/{below}"), "getRoomStateWithKey", name);
    vec![
        get("bob", "/rooms/{public}/state", "getRoomState", "of a room").includes("", json!({ "type": "m.room.name", "state_key": "", "content": { "name": "The public room" }, "sender": "{alice}", "room_id": "{public}" })),
        get("carol", "/rooms/{private}/state", "getRoomState", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/{left}/state", "getRoomState", "by who is gone").includes("", json!({ "type": "m.room.member", "state_key": "{bob}", "content": { "membership": "leave" } })),
        get("bob", "/rooms/{invited}/state", "getRoomState", "by who is invited").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/!none:example.org/state", "getRoomState", "of an unknown room").refused(403, "M_FORBIDDEN"),
        state("bob", "m.room.name/", "a name").at("", json!({ "name": "The public room" })),
        state("bob", "m.room.name", "without a key").at("/name", "The public room"),
        state("bob", "m.room.name?format=content", "its content").at("/name", "The public room"),
        state("bob", "m.room.name?format=event", "a whole event").at("/content/name", "The public room").at("/type", "m.room.name").at("/room_id", "{public}"),
        state("bob", "m.room.member/{alice}", "a membership").at("/membership", "join").at("/displayname", "Alice"),
        state("bob", "m.room.name/none", "an unknown key").refused(404, "M_NOT_FOUND"),
        state("bob", "org.example.none", "an unknown type").refused(404, "M_NOT_FOUND"),
        get("carol", "/rooms/{private}/state/m.room.name", "getRoomStateWithKey", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/{left}/state/m.room.name", "getRoomStateWithKey", "as it was").after("alice", Put, "/rooms/{left}/state/m.room.name", json!({ "name": "Later" })).refused(404, "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn members() -> Vec<Case> {
    let members = |query: &str, name: &str| get("alice", &format!("/rooms/{{public}}/members{query}"), "getMembersByRoom", name);
    vec![
        members("", "all").counts("/chunk", 2).includes("/chunk", json!({ "type": "m.room.member", "state_key": "{bob}", "content": { "membership": "join" } })),
        members("?membership=leave", "who left").counts("/chunk", 0),
        members("?not_membership=join", "who did not join").counts("/chunk", 0),
        members("?membership=half", "what is no membership").refused(400, "M_INVALID_PARAM"),
        members("?at={then}", "at a time").after("alice", Get, "/sync", json!({})).keeping("then", "/next_batch").after("carol", Post, "/join/{public}", json!({})).counts("/chunk", 2),
        get("alice", "/rooms/{invited}/members?membership=invite", "getMembersByRoom", "who is invited").counts("/chunk", 1).at("/chunk/0/state_key", "{bob}"),
        get("carol", "/rooms/{private}/members", "getMembersByRoom", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/{left}/members", "getMembersByRoom", "by who is gone").counts("/chunk", 2),
        get("bob", "/rooms/{public}/joined_members", "getJoinedMembersByRoom", "all").counts("/joined", 2).at("/joined/{alice}/display_name", "Alice").at("/joined/{alice}/avatar_url", "mxc://example.org/alice"),
        get("carol", "/rooms/{private}/joined_members", "getJoinedMembersByRoom", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/{left}/joined_members", "getJoinedMembersByRoom", "by who is gone").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn single() -> Vec<Case> {
    let event = |caller, event: &str, name: &str| get(caller, &format!("/rooms/{{public}}/event/{{{event}}}"), "getOneRoomEvent", name);
    vec![
        event("bob", "reply", "a message").at("/event_id", "{reply}").at("/room_id", "{public}").at("/sender", "{bob}").at("/type", "m.room.message").has("/unsigned/age"),
        event("bob", "message", "with aggregations").at("/content/body", "Hello").at("/unsigned/m.relations/m.replace/event_id", "{edit}").at("/unsigned/m.relations/m.thread/count", 1).at("/unsigned/m.relations/m.thread/latest_event/event_id", "{thread}"),
        event("bob", "redacted", "without its content").counts("/content", 0).at("/unsigned/redacted_because/event_id", "{redaction}"),
        event("alice", "redaction", "a redaction").at("/content/redacts", "{redacted}").at("/content/reason", "A slip"),
        event("carol", "message", "by a stranger").refused(404, "M_NOT_FOUND"),
        event("alice", "secret", "of another room").refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{left}/event/{unseen}", "getOneRoomEvent", "after one left").refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{public}/event/$none", "getOneRoomEvent", "an unknown event").refused(404, "M_NOT_FOUND"),
        get("bob", "/events/{message}", "getOneEvent", "a message").at("/event_id", "{message}").at("/room_id", "{public}"),
        get("carol", "/events/{secret}", "getOneEvent", "by a stranger").refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/!none:example.org/event/$none", "getOneRoomEvent", "of an unknown room").refused(404, "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn pages() -> Vec<Case> {
    let messages = |query: &str, name: &str| get("bob", &format!("/rooms/{{public}}/messages?{query}"), "getRoomEvents", name);
    let token = |case: Case| case.after("bob", Get, "/rooms/{public}/messages?dir=b&limit=3", json!({})).keeping("next", "/end").keeping("third", "/chunk/2/event_id");
    let newest = |case: Case| case.after("bob", Get, "/sync", json!({})).keeping("now", "/next_batch").after("alice", Put, "/rooms/{public}/send/m.room.message/t1", text("New")).keeping("new", "/event_id");
    vec![
        messages("dir=b", "backwards").at("/chunk/0/event_id", "{last}").at("/chunk/0/room_id", "{public}").has("/start").counts("/chunk", 10),
        messages("dir=f", "from the beginning").at("/chunk/0/type", "m.room.create"),
        messages("dir=b&limit=3", "three").counts("/chunk", 3).has("/end"),
        token(messages("dir=b&from={next}&limit=2", "the next two")).counts("/chunk", 2).at("/start", "{next}").excludes("/chunk", json!({ "event_id": "{third}" })),
        token(messages("dir=f&from={next}&limit=50", "back to the front")).at("/chunk/0/event_id", "{third}").counts("/chunk", 3),
        token(messages("dir=b&to={next}&limit=50", "up to a point")).counts("/chunk", 3),
        newest(messages("dir=f&from={now}", "what is new since a sync")).counts("/chunk", 1).at("/chunk/0/event_id", "{new}"),
        messages("dir=b&limit=1000", "all").includes("/chunk", json!({ "type": "m.room.create" })).lacks("/end"),
        messages("dir=b&filter={\"types\":[\"m.reaction\"]}", "by type").counts("/chunk", 1).at("/chunk/0/event_id", "{reaction}"),
        messages("dir=b&filter={\"not_senders\":[\"{bob}\"],\"types\":[\"m.room.message\"]}", "not by a sender").counts("/chunk", 2).excludes("/chunk", json!({ "sender": "{bob}" })),
        messages("dir=b&limit=2&filter={\"lazy_load_members\":true}", "with their senders").includes("/state", json!({ "type": "m.room.member", "state_key": "{bob}" })),
        messages("dir=x", "what is no direction").refused(400, "M_INVALID_PARAM"),
        messages("", "without a direction").refused(400, "M_MISSING_PARAM"),
        messages("dir=b&from=nonsense", "from nowhere").refused(400, "M_INVALID_PARAM"),
        messages("dir=b&limit=many", "a limit that is none").refused(400, "M_INVALID_PARAM"),
        messages("dir=b&filter={", "a filter that is none").refused(400, "M_INVALID_PARAM"),
        get("carol", "/rooms/{private}/messages?dir=b", "getRoomEvents", "by a stranger").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/{left}/messages?dir=b", "getRoomEvents", "by who is gone").excludes("/chunk", json!({ "event_id": "{unseen}" })).includes("/chunk", json!({ "type": "m.room.member", "state_key": "{bob}", "content": { "membership": "leave" } })),
        get("bob", "/rooms/{invited}/messages?dir=b", "getRoomEvents", "by who is invited").refused(403, "M_FORBIDDEN"),
        get("bob", "/rooms/!none:example.org/messages?dir=b", "getRoomEvents", "of an unknown room").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn around() -> Vec<Case> {
    let context = |caller, event: &str, query: &str, name: &str| get(caller, &format!("/rooms/{{public}}/context/{{{event}}}{query}"), "getEventContext", name);
    vec![
        context("bob", "reaction", "?limit=3", "a few").at("/event/event_id", "{reaction}").at("/events_before/0/event_id", "{reply}").at("/events_after/0/event_id", "{edit}").has("/start").has("/end").has("/state/0"),
        context("bob", "reaction", "", "the usual number").at("/event/event_id", "{reaction}").includes("/state", json!({ "type": "m.room.name" })),
        context("bob", "reaction", "?limit=0", "none").counts("/events_before", 0).counts("/events_after", 0),
        context("bob", "reaction", "?filter={\"types\":[\"m.room.message\"]}", "by type").excludes("/events_before", json!({ "type": "m.room.member" })),
        context("bob", "reaction", "?limit=many", "a limit that is none").refused(400, "M_INVALID_PARAM"),
        context("carol", "message", "", "by a stranger").refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{public}/context/$none", "getEventContext", "of an unknown event").refused(404, "M_NOT_FOUND"),
        get("bob", "/rooms/{left}/context/{unseen}", "getEventContext", "after one left").refused(404, "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn relations() -> Vec<Case> {
    let base = "/_matrix/client/v1/rooms/{public}/relations/{message}";
    let second = |case: Case| case.after("bob", Get, &format!("{base}?limit=1"), json!({})).keeping("next", "/next_batch").keeping("first", "/chunk/0/event_id");
    let threads = |caller, query: &str, name: &str| get(caller, &format!("/_matrix/client/v1/rooms/{{public}}/threads{query}"), "getThreadRoots", name);
    vec![
        get("bob", base, "getRelatingEvents", "all").includes("/chunk", json!({ "event_id": "{reaction}" })).includes("/chunk", json!({ "event_id": "{edit}" })).includes("/chunk", json!({ "event_id": "{thread}" })).counts("/chunk", 3),
        get("bob", &format!("{base}?limit=1"), "getRelatingEvents", "one").counts("/chunk", 1).at("/chunk/0/event_id", "{thread}").has("/next_batch"),
        second(get("bob", &format!("{base}?limit=1&from={{next}}"), "getRelatingEvents", "the next")).counts("/chunk", 1).excludes("/chunk", json!({ "event_id": "{first}" })),
        get("bob", &format!("{base}?dir=f"), "getRelatingEvents", "forwards").at("/chunk/0/event_id", "{reaction}"),
        get("bob", &format!("{base}?dir=x"), "getRelatingEvents", "what is no direction").refused(400, "M_INVALID_PARAM"),
        get("carol", base, "getRelatingEvents", "by a stranger").refused(404, "M_NOT_FOUND"),
        get("bob", "/_matrix/client/v1/rooms/{public}/relations/$none", "getRelatingEvents", "of an unknown event").refused(404, "M_NOT_FOUND"),
        get("bob", &format!("{base}/m.annotation"), "getRelatingEventsWithRelType", "by relation").counts("/chunk", 1).at("/chunk/0/event_id", "{reaction}"),
        get("bob", &format!("{base}/org.example"), "getRelatingEventsWithRelType", "by an unknown relation").counts("/chunk", 0),
        get("carol", &format!("{base}/m.thread"), "getRelatingEventsWithRelType", "by a stranger").refused(404, "M_NOT_FOUND"),
        get("bob", &format!("{base}/m.thread/m.room.message"), "getRelatingEventsWithRelTypeAndEventType", "by type").counts("/chunk", 1).at("/chunk/0/event_id", "{thread}"),
        get("bob", &format!("{base}/m.thread/m.sticker"), "getRelatingEventsWithRelTypeAndEventType", "by another type").counts("/chunk", 0),
        get("carol", &format!("{base}/m.thread/m.room.message"), "getRelatingEventsWithRelTypeAndEventType", "by a stranger").refused(404, "M_NOT_FOUND"),
        threads("bob", "", "all").counts("/chunk", 1).at("/chunk/0/event_id", "{message}").at("/chunk/0/unsigned/m.relations/m.thread/count", 1),
        threads("bob", "?include=participated", "one's own").counts("/chunk", 1),
        threads("bob", "?include=none", "what is none").refused(400, "M_INVALID_PARAM"),
        threads("bob", "?from=nonsense", "from nowhere").refused(400, "M_INVALID_PARAM"),
        threads("carol", "", "by a stranger").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn by_time() -> Vec<Case> {
    let at = |caller, query: &str, name: &str| get(caller, &format!("/_matrix/client/v1/rooms/{{public}}/timestamp_to_event?{query}"), "getEventByTimestamp", name);
    vec![
        at("bob", "ts=0&dir=f", "the first").has("/event_id").has("/origin_server_ts"),
        at("bob", "ts=9999999999999&dir=b", "the last").at("/event_id", "{last}"),
        at("bob", "ts=9999999999999&dir=f", "none").refused(404, "M_NOT_FOUND"),
        at("bob", "ts=0&dir=b", "none before").refused(404, "M_NOT_FOUND"),
        at("bob", "ts=0", "without a direction").refused(400, "M_MISSING_PARAM"),
        at("bob", "dir=f", "without a time").refused(400, "M_MISSING_PARAM"),
        at("bob", "ts=then&dir=f", "a time that is none").refused(400, "M_INVALID_PARAM"),
        at("bob", "ts=0&dir=x", "a direction that is none").refused(400, "M_INVALID_PARAM"),
        get("carol", "/_matrix/client/v1/rooms/{private}/timestamp_to_event?ts=0&dir=f", "getEventByTimestamp", "by a stranger").refused(403, "M_FORBIDDEN"),
    ]
}

#[rustfmt::skip]
fn receipts() -> Vec<Case> {
    let receipt = |caller, below: &str, name: &str, body: Value| post(caller, &format!("/rooms/{{public}}/receipt/{below}"), "postReceipt", name, body);
    let markers = |caller, name: &str, body: Value| post(caller, "/rooms/{public}/read_markers", "setReadMarker", name, body);
    vec![
        receipt("bob", "m.read/{last}", "a receipt", json!({})).counts("", 0),
        receipt("bob", "m.read/{message}", "of before", json!({})).counts("", 0),
        receipt("bob", "m.read.private/{last}", "a private one", json!({})).counts("", 0),
        receipt("bob", "m.fully_read/{last}", "a marker", json!({})).counts("", 0),
        receipt("bob", "m.read/{thread}", "of a thread", json!({ "thread_id": "{message}" })).counts("", 0),
        receipt("bob", "m.read/{last}", "of the main timeline", json!({ "thread_id": "main" })).counts("", 0),
        receipt("bob", "m.read/{last}", "with an empty thread", json!({ "thread_id": "" })).refused(400, "M_INVALID_PARAM"),
        receipt("bob", "m.read/{last}", "with a thread that is no string", json!({ "thread_id": 1 })).refused(400, "M_INVALID_PARAM"),
        receipt("bob", "m.read/{last}", "with a thread that the event is not in", json!({ "thread_id": "{reply}" })).refused(400, "M_INVALID_PARAM"),
        receipt("bob", "m.fully_read/{last}", "a marker with a thread", json!({ "thread_id": "main" })).refused(400, "M_INVALID_PARAM"),
        receipt("bob", "org.example/{last}", "of an unknown type", json!({})).refused(400, "M_INVALID_PARAM"),
        receipt("carol", "m.read/{last}", "by a stranger", json!({})).refused(403, "M_FORBIDDEN"),
        markers("bob", "all three", json!({ "m.fully_read": "{last}", "m.read": "{last}", "m.read.private": "{last}" })).counts("", 0),
        markers("bob", "none", json!({})).counts("", 0),
        markers("bob", "wrong types", json!({ "m.read": 1 })).refused(400, "M_BAD_JSON"),
        markers("carol", "by a stranger", json!({ "m.fully_read": "{last}" })).refused(403, "M_FORBIDDEN"),
        get("bob", "/user/{bob}/rooms/{public}/account_data/m.fully_read", "getAccountDataPerRoom", "a marker").after("bob", Post, "/rooms/{public}/read_markers", json!({ "m.fully_read": "{last}" })).at("/event_id", "{last}"),
    ]
}

#[rustfmt::skip]
fn typing() -> Vec<Case> {
    let typing = |caller, target: &str, name: &str, body: Value| put(caller, target, "setTyping", name, body);
    vec![
        typing("alice", "/rooms/{public}/typing/{alice}", "somebody types", json!({ "typing": true, "timeout": 3_000 })).counts("", 0),
        typing("alice", "/rooms/{public}/typing/{alice}", "without a time", json!({ "typing": true })).counts("", 0),
        typing("alice", "/rooms/{public}/typing/{alice}", "somebody stops", json!({ "typing": false })).counts("", 0),
        typing("alice", "/rooms/{public}/typing/{bob}", "another user", json!({ "typing": true })).refused(403, "M_FORBIDDEN"),
        typing("carol", "/rooms/{public}/typing/{carol}", "a stranger", json!({ "typing": true })).refused(403, "M_FORBIDDEN"),
        typing("alice", "/rooms/{public}/typing/{alice}", "nothing said", json!({})).refused(400, "M_BAD_JSON"),
    ]
}
