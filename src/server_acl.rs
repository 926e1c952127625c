//! Server ACLs: which servers a room shuts out.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms>

use ruma::{ServerName, events::StateEventType};
use serde::Deserialize;

use crate::{
    push::glob::Pattern,
    room_server::{Need, View, snapshot::Snapshot},
};

/// The content of `m.room.server_acl`. What is not of the right type counts as if it were not there, entry by entry.
#[derive(Clone, Debug, Deserialize)]
struct ServerAcl {
    #[serde(default = "yes", deserialize_with = "truth")]
    allow_ip_literals: bool,
    #[serde(default, deserialize_with = "patterns")]
    allow: Vec<String>,
    #[serde(default, deserialize_with = "patterns")]
    deny: Vec<String>,
}

impl Default for ServerAcl {
    fn default() -> Self {
        Self { allow_ip_literals: true, allow: Vec::new(), deny: Vec::new() }
    }
}

/// Whether a room in this state lets a server take part.
pub(crate) fn allows(view: &View<'_>, state: Snapshot, server: &ServerName) -> Result<bool, Need> {
    let Some(number) = state.event(view, &StateEventType::RoomServerAcl, "")? else { return Ok(true) };
    let acl: ServerAcl = view.event(number)?.pdu.content_as();
    Ok(acl.allows(server))
}

impl ServerAcl {
    fn allows(&self, server: &ServerName) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| Pattern::glob(pattern).matches(server.host()));
        (self.allow_ip_literals || !server.is_ip_literal()) && !matches(&self.deny) && matches(&self.allow)
    }
}

fn yes() -> bool {
    true
}

fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_bool().unwrap_or(true))
}

fn patterns<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = serde_json::Value::deserialize(deserializer)?;
    Ok(list.as_array().into_iter().flatten().filter_map(|pattern| pattern.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn allows(acl: Value, server: &str) -> bool {
        serde_json::from_value::<ServerAcl>(acl).unwrap_or_default().allows(&ServerName::parse(server).unwrap())
    }

    #[test]
    fn lists_are_read_in_their_order() {
        for (acl, server, expected) in [
            (json!({ "allow": ["*"] }), "a.example", true),
            (json!({ "allow": ["*"], "deny": ["*.bad.example"] }), "x.bad.example", false),
            (json!({ "allow": ["*"], "deny": ["*.bad.example"] }), "bad.example", true),
            (json!({ "allow": ["*"], "deny": ["BAD.example"] }), "bad.example:8448", false),
            (json!({ "allow": ["?.example"] }), "a.example", true),
            (json!({ "allow": ["?.example"] }), "ab.example", false),
            (json!({ "allow": ["a.example"], "deny": ["a.example"] }), "a.example", false),
            (json!({}), "a.example", false),
            (json!({ "deny": [] }), "a.example", false),
        ] {
            assert_eq!(allows(acl.clone(), server), expected, "{acl} on {server}");
        }
    }

    #[test]
    fn addresses_are_shut_out_where_the_room_says_so() {
        for server in ["1.2.3.4", "1.2.3.4:80", "[::1]", "[::1]:80"] {
            assert!(allows(json!({ "allow": ["*"] }), server), "{server}");
            assert!(!allows(json!({ "allow": ["*"], "allow_ip_literals": false }), server), "{server}");
        }
        assert!(allows(json!({ "allow": ["*"], "allow_ip_literals": false }), "a.example"));
    }

    #[test]
    fn what_is_of_the_wrong_type_is_not_there() {
        assert!(allows(json!({ "allow": [1, "*"], "deny": "a.example", "allow_ip_literals": "no" }), "a.example"));
        assert!(!allows(json!({ "allow": "*" }), "a.example"));
        assert!(!allows(json!(3), "a.example"));
    }
}
