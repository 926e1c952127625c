//! What a user keeps when a room is replaced: the tags, the push rule and the direct-chat mark of the old room hold for the new
//! one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-20>

use ruma::{OwnedRoomId, RoomId, UserId, events::StateEventType};
use serde_json::{Value, json};

use super::published_rooms_chunk::content_of;
use crate::{
    account_data,
    error::Error,
    push::{
        rules,
        ruleset::{self, NewRule, Place},
    },
    room_server::Room,
    server::Server,
};

/// Gives a user's settings of a room's predecessor to the room that the user has just joined.
pub(super) async fn inherit_settings(server: &Server, user: &UserId, room: &Room) -> Result<(), Error> {
    let Some(old) = predecessor(server, room).await? else { return Ok(()) };
    if let Some(tags) = account_data::read(server, user, Some(&old), "m.tag").await? {
        account_data::change(server, user, Some(&room.id), "m.tag", |present| Ok(present.is_none().then_some(tags))).await?;
    }
    account_data::change(server, user, None, rules::KIND, |rules| inherited_rule(rules, &old, &room.id)).await?;
    account_data::change(server, user, None, "m.direct", |direct| Ok(inherited_direct(direct, &old, &room.id))).await
}

/// The room that this one replaces, if that room says the same: anybody can name any room as the predecessor of theirs.
async fn predecessor(server: &Server, room: &Room) -> Result<Option<OwnedRoomId>, Error> {
    let create = current(server, room, StateEventType::RoomCreate).await?;
    let named = create.pointer("/predecessor/room_id").and_then(Value::as_str).and_then(|old| RoomId::parse(old).ok());
    let Some(named) = named else { return Ok(None) };
    let Some(old) = server.rooms.room(&named).await? else { return Ok(None) };
    let tombstone = current(server, &old, StateEventType::RoomTombstone).await?;
    let is_replaced = tombstone.get("replacement_room").and_then(Value::as_str) == Some(room.id.as_str());
    Ok(is_replaced.then_some(named))
}

async fn current(server: &Server, room: &Room, kind: StateEventType) -> Result<Value, Error> {
    let state = room.head().current;
    server.rooms.ask(room, |view| content_of(view, state, &kind)).await
}

/// The push rules with the old room's rule for the new one as well, where there is such a rule.
fn inherited_rule(rules: Option<Value>, old: &RoomId, new: &RoomId) -> Result<Option<Value>, Error> {
    let Some(mut rules) = rules else { return Ok(None) };
    let Ok(rule) = ruleset::find(&rules, "room", old.as_str()) else { return Ok(None) };
    if ruleset::find(&rules, "room", new.as_str()).is_ok() {
        return Ok(None);
    }
    let actions = rule.get("actions").cloned().unwrap_or_default();
    let rule = NewRule { rule_id: new.to_string(), actions, conditions: None, pattern: None };
    ruleset::put(&mut rules, "room", rule, &Place::default())?;
    Ok(Some(rules))
}

/// The direct chats with the new room beside the old one, where that is one.
fn inherited_direct(direct: Option<Value>, old: &RoomId, new: &RoomId) -> Option<Value> {
    let mut direct = direct?;
    let mut changed = false;
    for rooms in direct.as_object_mut()?.values_mut().filter_map(Value::as_array_mut) {
        if rooms.contains(&json!(old)) && !rooms.contains(&json!(new)) {
            rooms.push(json!(new));
            changed = true;
        }
    }
    changed.then_some(direct)
}
