//! What a redaction leaves of an event, in every room version.
//!
//! <https://spec.matrix.org/v1.19/rooms/v1/#redactions>, and the sections of that name of versions 6, 8, 9 and 11.

use ruma::canonical_json::redact;
use serde_json::{Map, Value, json};

use super::{canonical, versions};

/// What of an event's content is kept in a version.
type Kept = fn(u32) -> &'static [&'static str];

const LEVELS: &[&str] = &["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"];
const LEVELS_AND_INVITE: &[&str] =
    &["ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default"];

const KEPT: &[(&str, Kept)] = &[
    ("m.room.message", |_| &[]),
    ("m.room.topic", |_| &[]),
    ("m.room.create", |version| if version >= 11 { ALL } else { &["creator"] }),
    ("m.room.member", |version| match version {
        11.. => &["join_authorised_via_users_server", "membership", "third_party_invite"],
        9.. => &["join_authorised_via_users_server", "membership"],
        _ => &["membership"],
    }),
    ("m.room.join_rules", |version| if version >= 8 { &["allow", "join_rule"] } else { &["join_rule"] }),
    ("m.room.power_levels", |version| if version >= 11 { LEVELS_AND_INVITE } else { LEVELS }),
    ("m.room.history_visibility", |_| &["history_visibility"]),
    ("m.room.aliases", |version| if version <= 5 { &["aliases"] } else { &[] }),
    ("m.room.redaction", |version| if version >= 11 { &["redacts"] } else { &[] }),
];

/// Every field that any version keeps of any event, and some that none does.
const ALL: &[&str] = &[
    "aliases",
    "allow",
    "ban",
    "body",
    "creator",
    "events",
    "events_default",
    "history_visibility",
    "invite",
    "join_authorised_via_users_server",
    "join_rule",
    "kick",
    "m.federate",
    "membership",
    "notifications",
    "predecessor",
    "redact",
    "redacts",
    "room_version",
    "state_default",
    "third_party_invite",
    "users",
    "users_default",
];

fn content() -> Map<String, Value> {
    let value = |name: &&str| match *name {
        "third_party_invite" => json!({ "signed": { "token": "t" }, "display_name": "gone" }),
        _ => (*name).into(),
    };
    ALL.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

fn event(kind: &str) -> Value {
    json!({
        "type": kind, "event_id": "$e", "room_id": "!r:a.example", "sender": "@u:a.example", "state_key": "", "content": content(),
        "hashes": { "sha256": "x" }, "signatures": { "a.example": {} }, "depth": 3, "prev_events": [], "auth_events": [],
        "origin_server_ts": 1, "prev_state": [], "origin": "a.example", "membership": "join", "redacts": "$other", "anything": true,
    })
}

#[test]
fn redaction_keeps_what_the_version_says() {
    for (number, version) in versions() {
        for (kind, kept) in KEPT {
            let redacted = redact(canonical(&event(kind)), &version.rules.redaction, None).unwrap();
            let redacted = serde_json::to_value(redacted).unwrap();
            let mut expected: Map<_, _> = content().into_iter().filter(|(name, _)| kept(number).contains(&name.as_str())).collect();
            if let (Some(invite), true) = (expected.get_mut("third_party_invite"), *kind == "m.room.member") {
                *invite = json!({ "signed": { "token": "t" } });
            }
            assert_eq!(redacted["content"], Value::Object(expected), "version {number}, {kind}");
            let gone_since_11 = ["prev_state", "origin", "membership"].map(|name| redacted.get(name).is_some());
            assert_eq!(gone_since_11, [number <= 10; 3], "version {number}, {kind}");
            let always = ["event_id", "room_id", "sender", "state_key", "hashes", "signatures", "depth", "prev_events", "auth_events"];
            assert!(always.iter().all(|name| redacted.get(name).is_some()), "version {number}, {kind}: {redacted}");
            assert_eq!((redacted.get("redacts"), redacted.get("anything")), (None, None), "version {number}, {kind}");
        }
    }
}
