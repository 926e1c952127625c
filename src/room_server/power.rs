//! Power levels as readers and writers of the client API ask for them. Whether an event is allowed is for the authorization
//! rules alone.

use ruma::{OwnedUserId, UserId, events::StateEventType};
use serde_json::Value;

use super::{
    snapshot::Snapshot,
    view::{Need, View},
};
use crate::{event::RoomVersion, gather::Gather, ordered::OrderedSet};

/// Who may do what in a room.
#[derive(Clone, Debug, Default)]
pub struct PowerLevels {
    levels: Value,
    creators: OrderedSet<OwnedUserId>,
    /// Creators stand above all levels.
    creators_are_above: bool,
}

/// What the level is where the power levels event does not say.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels>
const DEFAULTS: [(&str, i64); 8] = [
    ("ban", 50),
    ("kick", 50),
    ("redact", 50),
    ("invite", 0),
    ("state_default", 50),
    ("events_default", 0),
    ("users_default", 0),
    ("room", 50),
];

impl PowerLevels {
    /// The power levels of a state.
    pub fn of(view: &View<'_>, version: &RoomVersion, state: Snapshot) -> Result<Self, Need> {
        let content = |kind: StateEventType| -> Result<Option<(OwnedUserId, Value)>, Need> {
            let Some(number) = state.event(view, &kind, "")? else { return Ok(None) };
            let event = view.event(number)?;
            Ok(Some((event.pdu.sender.clone(), event.pdu.content_as())))
        };
        let rules = &version.rules.authorization;
        let mut creators = OrderedSet::new();
        if let Some((sender, create)) = content(StateEventType::RoomCreate)? {
            let named = create.get("creator").and_then(Value::as_str).and_then(|user| UserId::parse(user).ok());
            creators.insert(if rules.use_room_create_sender { sender } else { named.unwrap_or(sender) });
            if rules.additional_room_creators {
                let more = create.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
                creators.extend(more.filter_map(Value::as_str).filter_map(|user| UserId::parse(user).ok()));
            }
        }
        let levels = content(StateEventType::RoomPowerLevels)?.map(|(_, levels)| levels);
        let levels = levels.unwrap_or_else(|| without_event(&creators));
        Ok(Self { levels, creators, creators_are_above: rules.explicitly_privilege_room_creators })
    }

    /// The power levels that an event of this content sets.
    #[cfg(test)]
    pub(crate) fn of_content(levels: Value) -> Self {
        Self { levels, ..Self::default() }
    }

    /// A user's level.
    pub fn user(&self, user: &UserId) -> i64 {
        if self.creators_are_above && self.creators.contains(user) {
            return i64::MAX;
        }
        let level = self.levels.get("users").and_then(|users| users.get(user.as_str())).and_then(level);
        level.unwrap_or_else(|| self.action("users_default"))
    }

    /// The level that an action needs: `ban`, `kick`, `redact`, `invite` and the defaults by their names in the event.
    pub fn action(&self, name: &str) -> i64 {
        let default = DEFAULTS.iter().find(|(action, _)| *action == name).map_or(50, |(_, level)| *level);
        self.levels.get(name).and_then(level).unwrap_or(default)
    }

    /// The level that sending an event of this type needs.
    pub fn event(&self, kind: &str, is_state: bool) -> i64 {
        let named = self.levels.get("events").and_then(|events| events.get(kind)).and_then(level);
        named.unwrap_or_else(|| self.action(if is_state { "state_default" } else { "events_default" }))
    }

    /// The level that notifying the whole room needs.
    pub fn notification(&self, key: &str) -> i64 {
        self.levels.get("notifications").and_then(|keys| keys.get(key)).and_then(level).unwrap_or(50)
    }

    /// The room's creators.
    pub fn creators(&self) -> &OrderedSet<OwnedUserId> {
        &self.creators
    }

    /// The content of the power levels event.
    pub fn content(&self) -> &Value {
        &self.levels
    }
}

/// Without such an event the creator alone has power.
fn without_event(creators: &OrderedSet<OwnedUserId>) -> Value {
    let users: serde_json::Map<_, _> = creators.iter().map(|user| (user.to_string(), 100.into())).gather();
    serde_json::json!({ "users": users, "state_default": 0 })
}

/// Levels of old rooms may be strings or fractions.
///
/// <https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings>
fn level(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|level| level as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
