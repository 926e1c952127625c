//! The push rules that every user has from the beginning.

use ruma::UserId;
use serde_json::{Value, json};

/// The type of the account data that holds a user's push rules.
pub(crate) const KIND: &str = "m.push_rules";

/// The rule that switches all notifications off, and stands above all others.
pub(crate) const MASTER: &str = ".m.rule.master";

/// The push rules of a user who has changed none.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules>
pub(crate) fn predefined(user: &UserId) -> Value {
    json!({ "global": { "override": overrides(user), "content": [], "room": [], "sender": [], "underride": underrides() } })
}

fn overrides(user: &UserId) -> Value {
    let mut master = rule(MASTER, json!([]), json!([]));
    if let Some(enabled) = master.get_mut("enabled") {
        *enabled = false.into();
    }
    json!([
        master,
        rule(".m.rule.suppress_notices", json!([matching("content.msgtype", "m.notice")]), json!([])),
        rule(
            ".m.rule.invite_for_me",
            json!([matching("type", "m.room.member"), matching("content.membership", "invite"), matching("state_key", user.as_str())]),
            json!(["notify", sound("default")])
        ),
        rule(".m.rule.member_event", json!([matching("type", "m.room.member")]), json!([])),
        rule(
            ".m.rule.is_user_mention",
            json!([{ "kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": user }]),
            json!(["notify", sound("default"), { "set_tweak": "highlight" }])
        ),
        rule(
            ".m.rule.is_room_mention",
            json!([
                { "kind": "event_property_is", "key": "content.m\\.mentions.room", "value": true },
                { "kind": "sender_notification_permission", "key": "room" },
            ]),
            json!(["notify", { "set_tweak": "highlight" }])
        ),
        rule(
            ".m.rule.tombstone",
            json!([matching("type", "m.room.tombstone"), matching("state_key", "")]),
            json!(["notify", { "set_tweak": "highlight" }])
        ),
        rule(".m.rule.reaction", json!([matching("type", "m.reaction")]), json!([])),
        rule(".m.rule.room.server_acl", json!([matching("type", "m.room.server_acl"), matching("state_key", "")]), json!([])),
        rule(
            ".m.rule.suppress_edits",
            json!([{ "kind": "event_property_is", "key": "content.m\\.relates_to.rel_type", "value": "m.replace" }]),
            json!([])
        ),
    ])
}

fn underrides() -> Value {
    let two_members = json!({ "kind": "room_member_count", "is": "2" });
    let loud = json!(["notify", sound("default")]);
    json!([
        rule(".m.rule.call", json!([matching("type", "m.call.invite")]), json!(["notify", sound("ring")])),
        rule(".m.rule.encrypted_room_one_to_one", json!([two_members, matching("type", "m.room.encrypted")]), loud.clone()),
        rule(".m.rule.room_one_to_one", json!([two_members, matching("type", "m.room.message")]), loud),
        rule(".m.rule.message", json!([matching("type", "m.room.message")]), json!(["notify"])),
        rule(".m.rule.encrypted", json!([matching("type", "m.room.encrypted")]), json!(["notify"])),
    ])
}

fn rule(id: &str, conditions: Value, actions: Value) -> Value {
    json!({ "rule_id": id, "default": true, "enabled": true, "conditions": conditions, "actions": actions })
}

fn matching(key: &str, pattern: &str) -> Value {
    json!({ "kind": "event_match", "key": key, "pattern": pattern })
}

fn sound(name: &str) -> Value {
    json!({ "set_tweak": "sound", "value": name })
}
