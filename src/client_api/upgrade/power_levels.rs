//! Power levels of a room that is replaced, and of the room that replaces it.

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};

use crate::{
    client_api::create_room::{TOMBSTONE_LEVEL, ensure_tombstone_level},
    event::RoomVersion,
    gather::Gather,
    room_server::PowerLevels,
};

/// The power levels of a new room.
pub(super) struct Transferred {
    /// Those under which the room is furnished.
    pub(super) first: Value,
    /// Those of the old room, where they would not have let the user do that.
    pub(super) last: Option<Value>,
}

/// The old room's levels as the new room's version has them.
pub(super) fn transferred(old: &PowerLevels, user: &UserId, creators: &[OwnedUserId], version: &RoomVersion) -> Transferred {
    let mut content = as_integers(old.content());
    if version.rules.authorization.explicitly_privilege_room_creators {
        raise_tombstone_level(&mut content);
        let is_creator = |listed: &str| listed == user.as_str() || creators.iter().any(|creator| creator.as_str() == listed);
        change_users(&mut content, |users| users.retain(|listed, _| !is_creator(listed)));
        return Transferred { first: content.into(), last: None };
    }
    let needed = highest_required(&content);
    if old.user(user) == i64::MAX {
        // Creators stood above all levels, and do so no longer: they need one that does everything.
        change_users(&mut content, |users| users.extend(old.creators().iter().map(|creator| (creator.to_string(), needed.into()))));
    }
    let level = level_of(&content, user);
    if level >= needed {
        return Transferred { first: content.into(), last: None };
    }
    let last = content.clone();
    change_users(&mut content, |users| drop(users.insert(user.to_string(), needed.into())));
    Transferred { first: content.into(), last: Some(last.into()) }
}

/// The levels under which ordinary members can neither speak nor invite; `None` where that is so already.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-20>
pub(super) fn closed(old: &PowerLevels) -> Option<Value> {
    let level = 50.max(old.action("users_default").saturating_add(1));
    let mut content = old.content().as_object()?.clone();
    let open: Vec<_> = ["events_default", "invite"].into_iter().filter(|action| old.action(action) < level).collect();
    for action in &open {
        content.insert((*action).into(), level.into());
    }
    (!open.is_empty()).then_some(content.into())
}

/// Administrators of the old room could replace it; who may replace the new one, its creators decide.
fn raise_tombstone_level(content: &mut Map<String, Value>) {
    if let Some(level) = content.get_mut("events").and_then(|events| events.get_mut("m.room.tombstone"))
        && level.as_i64().is_some_and(|level| level < TOMBSTONE_LEVEL)
    {
        *level = TOMBSTONE_LEVEL.into();
    }
    ensure_tombstone_level(content);
}

fn change_users(content: &mut Map<String, Value>, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut users = content.get("users").and_then(Value::as_object).cloned().unwrap_or_default();
    change(&mut users);
    content.insert("users".into(), users.into());
}

fn level_of(content: &Map<String, Value>, user: &UserId) -> i64 {
    let named = content.get("users").and_then(|users| users.get(user.as_str()));
    named.or_else(|| content.get("users_default")).and_then(Value::as_i64).unwrap_or(0)
}

/// The level that lets somebody do everything.
fn highest_required(content: &Map<String, Value>) -> i64 {
    let actions = content.iter().filter(|(field, _)| *field != "users_default").filter_map(|(_, level)| level.as_i64());
    let events = content.get("events").and_then(Value::as_object).into_iter().flatten().filter_map(|(_, level)| level.as_i64());
    actions.chain(events).max().unwrap_or(0).max(100)
}

/// Old versions take levels as strings and fractions; new ones take integers alone, and user IDs alone among the users.
fn as_integers(content: &Value) -> Map<String, Value> {
    let integer = |level: &Value| match level {
        Value::String(text) => text.trim().parse::<i64>().ok().map(Value::from),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|level| level as i64)).map(Value::from),
        _ => None,
    };
    let convert = |(field, value): (&String, &Value)| {
        let value = match value {
            Value::Object(levels) => {
                let levels = levels.iter().filter(|(name, _)| field != "users" || UserId::parse(name.as_str()).is_ok());
                levels.filter_map(|(name, level)| Some((name.clone(), integer(level)?))).gather::<Map<_, _>>().into()
            }
            level => integer(level)?,
        };
        Some((field.clone(), value))
    };
    content.as_object().into_iter().flatten().filter_map(convert).gather()
}
