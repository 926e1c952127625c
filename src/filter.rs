//! Filters: which events a client wants to be told of.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use serde::Deserialize;
use serde_json::Value;

/// A filter for the whole of a sync.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    pub(crate) account_data: EventFilter,
    pub(crate) presence: EventFilter,
    pub(crate) room: RoomFilter,
    pub(crate) event_fields: Option<Vec<String>>,
    pub(crate) event_format: Option<EventFormat>,
}

/// In which format events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventFormat {
    Client,
    /// As servers see them.
    Federation,
}

/// A filter for rooms and for what is in them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RoomFilter {
    pub(crate) rooms: Option<Vec<String>>,
    pub(crate) not_rooms: Vec<String>,
    pub(crate) include_leave: bool,
    pub(crate) account_data: EventFilter,
    pub(crate) ephemeral: EventFilter,
    pub(crate) state: EventFilter,
    pub(crate) timeline: EventFilter,
}

/// A filter for events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventFilter {
    pub(crate) limit: Option<usize>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) not_types: Vec<String>,
    pub(crate) senders: Option<Vec<String>>,
    pub(crate) not_senders: Vec<String>,
    pub(crate) rooms: Option<Vec<String>>,
    pub(crate) not_rooms: Vec<String>,
    pub(crate) contains_url: Option<bool>,
    pub(crate) lazy_load_members: bool,
    pub(crate) unread_thread_notifications: bool,
}

impl RoomFilter {
    /// Whether the room is wanted at all.
    pub(crate) fn allows_room(&self, room: &str) -> bool {
        listed(self.rooms.as_deref(), &self.not_rooms, |wanted| wanted == room)
    }
}

impl EventFilter {
    /// Whether events of the room are wanted.
    pub(crate) fn allows_room(&self, room: &str) -> bool {
        listed(self.rooms.as_deref(), &self.not_rooms, |wanted| wanted == room)
    }

    /// So many events are wanted at most.
    pub(crate) fn most(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// Whether an event of that type, sender and content is wanted.
    pub(crate) fn allows(&self, kind: &str, sender: &str, content: impl FnOnce() -> Value) -> bool {
        self.allows_type(kind)
            && listed(self.senders.as_deref(), &self.not_senders, |wanted| wanted == sender)
            && self.contains_url.is_none_or(|wanted| content().get("url").is_some_and(Value::is_string) == wanted)
    }

    /// Whether an event of that type is wanted, whoever sent it.
    pub(crate) fn allows_type(&self, kind: &str) -> bool {
        listed(self.types.as_deref(), &self.not_types, |pattern| matches(pattern, kind))
    }
}

fn listed(wanted: Option<&[String]>, unwanted: &[String], is: impl Fn(&str) -> bool) -> bool {
    wanted.is_none_or(|wanted| wanted.iter().any(|wanted| is(wanted))) && !unwanted.iter().any(|unwanted| is(unwanted))
}

/// An asterisk in a type stands for any sequence of characters.
fn matches(pattern: &str, kind: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| kind.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// Keeps only the wanted fields of an event, named by dotted paths in which a backslash escapes a dot.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#filtering> (`event_fields`)
pub(crate) fn keep_fields(event: &Value, fields: &[String]) -> Value {
    let mut kept = Value::Object(serde_json::Map::new());
    for field in fields {
        copy_field(event, &mut kept, &split_path(field));
    }
    kept
}

fn copy_field(from: &Value, to: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let (Some(value), Some(to)) = (from.get(first), to.as_object_mut()) else { return };
    if rest.is_empty() {
        to.insert(first.clone(), value.clone());
    } else {
        let below = to.entry(first.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()));
        copy_field(value, below, rest);
    }
}

pub(crate) fn split_path(field: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = field.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = character == '\\' && matches!(characters.peek(), Some('.' | '\\'));
        let character = if escaped { characters.next().unwrap_or(character) } else { character };
        if character == '.' && !escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_asterisk_stands_for_anything() {
        for (pattern, kind, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.room.*", "m.room.name", true),
            ("*", "", true),
            ("m.*.name", "m.room.name", true),
            ("m.*.name", "m.room.name.x", false),
            ("*room*", "m.room.name", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, kind), expected, "{pattern} {kind}");
        }
    }

    #[test]
    fn fields_are_kept_by_path() {
        let event = json!({ "type": "t", "content": { "body": "b", "a.b": 1, "x": { "y": 2, "z": 3 } } });
        let fields = ["type", "content.a\\.b", "content.x.y", "sender"].map(str::to_owned);
        assert_eq!(keep_fields(&event, &fields), json!({ "type": "t", "content": { "a.b": 1, "x": { "y": 2 } } }));
    }

    #[test]
    fn unwanted_wins_over_wanted() {
        let filter: EventFilter = serde_json::from_value(json!({ "types": ["m.*"], "not_types": ["m.room.*"] })).unwrap();
        assert!(filter.allows("m.reaction", "@a:b", || Value::Null));
        assert!(!filter.allows("m.room.name", "@a:b", || Value::Null));
        assert!(!filter.allows("x", "@a:b", || Value::Null));
    }
}
