//! The power levels that a room begins with.

use ruma::UserId;
use serde_json::{Map, Value, json};

use super::request::{CreateRoomRequest, Preset};
use crate::event::RoomVersion;

const TOMBSTONE: &str = "m.room.tombstone";

/// The level for replacing a room whose creators stand above all levels: no administrator has it unless a creator grants it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
pub(in crate::client_api) const TOMBSTONE_LEVEL: i64 = 150;

/// The content of the first power levels event.
pub(super) fn initial(request: &CreateRoomRequest, creator: &UserId, version: &RoomVersion) -> Value {
    let creators_are_above = version.rules.authorization.explicitly_privilege_room_creators;
    let mut users = Map::new();
    if !creators_are_above {
        users.insert(creator.to_string(), 100.into());
        if request.preset() == Preset::TrustedPrivate {
            users.extend(request.invite.iter().map(|user| (user.to_string(), 100.into())));
        }
    }
    let mut content = Map::new();
    let defaults = json!({
        "users": users,
        "users_default": 0,
        "events": events(creators_are_above),
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        // Whoever is in a private room was trusted by somebody; in a public one that may be anybody.
        "invite": if request.preset() == Preset::Public { 50 } else { 0 },
        "notifications": { "room": 50 },
    });
    for source in [defaults.as_object(), Some(&request.power_level_content_override)].into_iter().flatten() {
        content.extend(source.iter().map(|(field, level)| (field.clone(), level.clone())));
    }
    if creators_are_above {
        ensure_tombstone_level(&mut content);
    }
    content.into()
}

/// What changes who may do what, and who may see what, is for administrators.
fn events(creators_are_above: bool) -> Value {
    json!({
        "m.room.name": 50,
        "m.room.avatar": 50,
        "m.room.canonical_alias": 50,
        "m.room.power_levels": 100,
        "m.room.history_visibility": 100,
        "m.room.encryption": 100,
        "m.room.server_acl": 100,
        TOMBSTONE: if creators_are_above { TOMBSTONE_LEVEL } else { 100 },
    })
}

/// Makes sure that replacing the room needs a level of its own.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
pub(in crate::client_api) fn ensure_tombstone_level(content: &mut Map<String, Value>) {
    let state_default = content.get("state_default").and_then(Value::as_i64).unwrap_or(50);
    let events = content.entry("events").or_insert_with(|| json!({}));
    if let Some(events) = events.as_object_mut() {
        let named = events.get(TOMBSTONE).and_then(Value::as_i64);
        if named.is_none_or(|level| level <= state_default) {
            events.insert(TOMBSTONE.into(), TOMBSTONE_LEVEL.max(state_default.saturating_add(1)).into());
        }
    }
}
