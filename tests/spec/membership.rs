//! Cases of membership: inviting, joining, knocking, leaving, forgetting, kicking, banning.

use inglenook::http::Method::Post;
use serde_json::{Value, json};

use super::case::{Case, get, post};

pub(crate) fn cases() -> Vec<Case> {
    [entering(), going(), moderation(), outcomes()].concat()
}

#[rustfmt::skip]
fn entering() -> Vec<Case> {
    let invite = |caller, room: &str, name: &str, body: Value| post(caller, &format!("/rooms/{{{room}}}/invite"), "inviteUser", name, body);
    let carol = json!({ "user_id": "{carol}", "reason": "A test" });
    vec![
        get("bob", "/joined_rooms", "getJoinedRooms", "one's own").counts("/joined_rooms", 2),
        get("carol", "/joined_rooms", "getJoinedRooms", "none").counts("/joined_rooms", 0),
        invite("alice", "private", "a user", carol.clone()).counts("", 0),
        invite("bob", "private", "a user, by a member", carol.clone()).counts("", 0),
        invite("carol", "private", "by a stranger", json!({ "user_id": "{alice}" })).refused(403, "M_FORBIDDEN"),
        invite("alice", "private", "a member", json!({ "user_id": "{bob}" })).refused(403, "M_FORBIDDEN"),
        invite("alice", "banned", "who is banned", json!({ "user_id": "{bob}" })).refused(403, "M_FORBIDDEN"),
        invite("alice", "private", "who is no user", json!({ "user_id": "carol" })).refused(400, "M_BAD_JSON"),
        invite("alice", "private", "nobody", json!({})).refused(400, "M_BAD_JSON"),
        post("alice", "/rooms/{private}/invite", "inviteBy3PID", "by mail", json!({ "id_server": "id.example.org", "id_access_token": "token", "medium": "email", "address": "carol@example.org" })).refused(400, "M_SERVER_NOT_TRUSTED"),
        post("alice", "/rooms/!none:example.org/invite", "inviteUser", "to an unknown room", carol).refused(403, "M_FORBIDDEN"),
        post("carol", "/rooms/{public}/join", "joinRoomById", "a public room", json!({ "reason": "A test" })).at("/room_id", "{public}"),
        post("bob", "/rooms/{invited}/join", "joinRoomById", "after an invitation", json!({})).at("/room_id", "{invited}"),
        post("bob", "/rooms/{public}/join", "joinRoomById", "again", json!({})).at("/room_id", "{public}"),
        post("carol", "/rooms/{private}/join", "joinRoomById", "a private room", json!({})).refused(403, "M_FORBIDDEN"),
        post("bob", "/rooms/{banned}/join", "joinRoomById", "after a ban", json!({})).refused(403, "M_FORBIDDEN"),
        post("carol", "/rooms/!none:example.org/join", "joinRoomById", "an unknown room", json!({})).refused(404, "M_NOT_FOUND"),
        post("carol", "/join/{public}", "joinRoom", "by its ID", json!({})).at("/room_id", "{public}"),
        post("carol", "/join/%23public%3Aexample.org?via=example.org", "joinRoom", "by its alias", json!({})).at("/room_id", "{public}"),
        post("carol", "/join/%23none%3Aexample.org", "joinRoom", "by an unknown alias", json!({})).refused(404, "M_NOT_FOUND"),
        post("carol", "/join/{private}", "joinRoom", "a private room", json!({})).refused(403, "M_FORBIDDEN"),
        post("carol", "/knock/{knocked}", "knockRoom", "on a room", json!({ "reason": "A test" })).at("/room_id", "{knocked}"),
        post("carol", "/knock/{private}", "knockRoom", "on a room that takes none", json!({})).refused(403, "M_FORBIDDEN"),
        post("carol", "/knock/%23none%3Aexample.org", "knockRoom", "by an unknown alias", json!({})).refused(404, "M_NOT_FOUND"),
    ]
}

#[rustfmt::skip]
fn going() -> Vec<Case> {
    vec![
        post("bob", "/rooms/{public}/leave", "leaveRoom", "a room", json!({ "reason": "A test" })).counts("", 0),
        post("bob", "/rooms/{invited}/leave", "leaveRoom", "an invitation", json!({})).counts("", 0),
        post("carol", "/rooms/{knocked}/leave", "leaveRoom", "a door", json!({})).after("carol", Post, "/knock/{knocked}", json!({})).counts("", 0),
        post("carol", "/rooms/{private}/leave", "leaveRoom", "where one never was", json!({})).refused(403, "M_FORBIDDEN"),
        post("carol", "/rooms/!none:example.org/leave", "leaveRoom", "an unknown room", json!({})).refused(404, "M_NOT_FOUND"),
        post("bob", "/rooms/{left}/forget", "forgetRoom", "a room", json!({})).counts("", 0),
        post("bob", "/rooms/{public}/forget", "forgetRoom", "where one still is", json!({})).refused(400, "M_UNKNOWN"),
    ]
}

#[rustfmt::skip]
fn moderation() -> Vec<Case> {
    let bob = json!({ "user_id": "{bob}", "reason": "A test" });
    let alice = json!({ "user_id": "{alice}" });
    vec![
        post("alice", "/rooms/{public}/kick", "kick", "a member", bob.clone()).counts("", 0),
        post("alice", "/rooms/{invited}/kick", "kick", "who is invited", bob.clone()).counts("", 0),
        post("bob", "/rooms/{public}/kick", "kick", "without the power", alice.clone()).refused(403, "M_FORBIDDEN"),
        post("alice", "/rooms/{public}/kick", "kick", "who is not there", json!({ "user_id": "{carol}" })).refused(403, "M_FORBIDDEN"),
        post("alice", "/rooms/{public}/kick", "kick", "who is no user", json!({ "user_id": "bob" })).refused(400, "M_BAD_JSON"),
        post("alice", "/rooms/{public}/kick", "kick", "nobody", json!({})).refused(400, "M_BAD_JSON"),
        post("alice", "/rooms/{public}/ban", "ban", "a member", bob.clone()).counts("", 0),
        post("alice", "/rooms/{public}/ban", "ban", "who is not there", json!({ "user_id": "{carol}" })).counts("", 0),
        post("bob", "/rooms/{public}/ban", "ban", "without the power", alice.clone()).refused(403, "M_FORBIDDEN"),
        post("alice", "/rooms/{public}/ban", "ban", "nobody", json!({})).refused(400, "M_BAD_JSON"),
        post("alice", "/rooms/{banned}/unban", "unban", "who was banned", bob.clone()).counts("", 0),
        post("alice", "/rooms/{public}/unban", "unban", "who was not", bob.clone()).refused(403, "M_BAD_STATE"),
        post("carol", "/rooms/{banned}/unban", "unban", "by a stranger", bob).refused(403, "M_FORBIDDEN"),
        post("alice", "/rooms/{banned}/unban", "unban", "nobody", json!({})).refused(400, "M_BAD_JSON"),
    ]
}

/// What a room says of its members afterwards.
#[rustfmt::skip]
fn outcomes() -> Vec<Case> {
    let member = |name: &str, room: &str, user: &str| get("alice", &format!("/rooms/{{{room}}}/state/m.room.member/{{{user}}}"), "getRoomStateWithKey", name);
    let with_reason = json!({ "user_id": "{bob}", "reason": "A test" });
    vec![
        member("of who was kicked", "public", "bob").after("alice", Post, "/rooms/{public}/kick", with_reason.clone()).at("/membership", "leave").at("/reason", "A test"),
        member("of who was banned", "banned", "bob").at("/membership", "ban").at("/reason", "A test"),
        member("of who is no longer banned", "banned", "bob").after("alice", Post, "/rooms/{banned}/unban", with_reason).at("/membership", "leave"),
        member("of who joined", "public", "carol").after("carol", Post, "/rooms/{public}/join", json!({ "reason": "A test" })).at("/membership", "join").at("/reason", "A test"),
        member("of who knocked", "knocked", "carol").after("carol", Post, "/knock/{knocked}", json!({ "reason": "A test" })).at("/membership", "knock").at("/reason", "A test"),
        post("carol", "/rooms/{public}/join", "joinRoomById", "after a kick", json!({})).after("carol", Post, "/join/{public}", json!({})).after("alice", Post, "/rooms/{public}/kick", json!({ "user_id": "{carol}" })).at("/room_id", "{public}"),
        post("bob", "/rooms/{banned}/join", "joinRoomById", "when a ban is over", json!({})).after("alice", Post, "/rooms/{banned}/unban", json!({ "user_id": "{bob}" })).at("/room_id", "{banned}"),
        get("bob", "/rooms/{left}/state", "getRoomState", "of a room that was forgotten").after("bob", Post, "/rooms/{left}/forget", json!({})).refused(403, "M_FORBIDDEN"),
    ]
}
