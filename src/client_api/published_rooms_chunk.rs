//! A room as strangers are told of it: in the directory, in summaries, in the rooms of a space.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms_response-200_publishedroomschunk>

use ruma::{OwnedRoomId, events::StateEventType};
use serde::Serialize;
use serde_json::Value;

use crate::room_server::{Need, Room, View, snapshot::Snapshot};

/// What strangers are told of a room. No member is loaded for it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PublishedRoomsChunk {
    pub(super) room_id: OwnedRoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) canonical_alias: Option<String>,
    pub(super) join_rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) room_type: Option<String>,
    num_joined_members: u64,
    pub(super) world_readable: bool,
    guest_can_join: bool,
}

/// The state events that the answer is made of.
const KINDS: [StateEventType; 8] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomTopic,
    StateEventType::RoomAvatar,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomJoinRules,
    StateEventType::RoomHistoryVisibility,
    StateEventType::RoomGuestAccess,
];

impl PublishedRoomsChunk {
    pub(super) fn of(view: &View<'_>, room: &Room) -> Result<Self, Need> {
        let head = room.head();
        let [create, name, topic, avatar, alias, join_rules, visibility, guest_access] = contents(view, head.current)?;
        Ok(Self {
            room_id: room.id.clone(),
            name: text(&name, "name"),
            topic: plain_topic(&topic),
            avatar_url: text(&avatar, "url"),
            canonical_alias: text(&alias, "alias"),
            join_rule: text(&join_rules, "join_rule").unwrap_or_else(|| "invite".into()),
            room_type: text(&create, "type"),
            num_joined_members: head.joined,
            world_readable: text(&visibility, "history_visibility").as_deref() == Some("world_readable"),
            guest_can_join: text(&guest_access, "guest_access").as_deref() == Some("can_join"),
        })
    }
}

fn contents(view: &View<'_>, state: Snapshot) -> Result<[Value; KINDS.len()], Need> {
    let mut contents: [Value; KINDS.len()] = Default::default();
    let mut need = Need::default();
    for (content, kind) in contents.iter_mut().zip(&KINDS) {
        match content_of(view, state, kind) {
            Ok(found) => *content = found,
            Err(more) => need.merge(more),
        }
    }
    if need.is_empty() { Ok(contents) } else { Err(need) }
}

/// The content of a state event with an empty key; null where there is none.
pub(super) fn content_of(view: &View<'_>, state: Snapshot, kind: &StateEventType) -> Result<Value, Need> {
    let Some(event) = state.event(view, kind, "")? else { return Ok(Value::Null) };
    Ok(view.event(event)?.pdu.content_as())
}

/// A text that is there and not empty.
fn text(content: &Value, field: &str) -> Option<String> {
    content.get(field)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The topic as plain text: that of the topic block, and only where there is no such block the older field.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mroomtopic>
fn plain_topic(content: &Value) -> Option<String> {
    let is_plain = |part: &&Value| part.get("mimetype").is_none_or(|mimetype| mimetype == "text/plain");
    match content.pointer("/m.topic/m.text").and_then(Value::as_array) {
        Some(parts) => text(parts.iter().find(is_plain)?, "body"),
        None => text(content, "topic"),
    }
}
