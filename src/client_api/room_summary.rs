//! Room summaries: what somebody who thinks of joining a room is told of it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-summaries>

use ruma::{OwnedRoomId, UserId, events::StateEventType};
use serde::Serialize;
use serde_json::Value;

use super::{
    Access, Call, Route,
    directory::room_of,
    handler,
    membership::{allowed_rooms, is_in_room},
    published_rooms_chunk::{PublishedRoomsChunk, content_of},
};
use crate::{
    error::Error,
    http::{Method, Response},
    room_server::{Need, Room, View},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
    access: Access::OptionalToken,
    handler: handler!(room_summary),
}];

/// A room's summary.
#[derive(Serialize)]
pub(crate) struct RoomSummary {
    #[serde(flatten)]
    chunk: PublishedRoomsChunk,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    room_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias>
async fn room_summary(call: Call) -> Result<Response, Error> {
    let user = call.caller().ok().map(|caller| &*caller.user);
    let room = room_of(&call.server, call.param(0)).await?;
    let summary = call.server.rooms.ask(&room, |view| RoomSummary::of(view, &room, user)).await?;
    // Whether there is such a room is nobody's business who may not see it.
    summary.map(|summary| Response::ok(&summary)).ok_or_else(|| Error::not_found("This server does not know that room."))
}

impl RoomSummary {
    /// The summary, or `None` where the user may not have it.
    pub(super) fn of(view: &View<'_>, room: &Room, user: Option<&UserId>) -> Result<Option<Self>, Need> {
        let mut summary = Self::of_any(view, room)?;
        summary.membership = user.map(|user| membership(view, room, user)).transpose()?.flatten();
        Ok(summary.is_for(view, room, user)?.then_some(summary))
    }

    /// The summary, whoever may have it.
    pub(crate) fn of_any(view: &View<'_>, room: &Room) -> Result<Self, Need> {
        let state = room.head().current;
        let encryption = content_of(view, state, &StateEventType::RoomEncryption)?;
        Ok(Self {
            chunk: PublishedRoomsChunk::of(view, room)?,
            allowed_room_ids: allowed_rooms(view, &room.version, state)?.unwrap_or_default(),
            encryption: encryption.get("algorithm").and_then(Value::as_str).map(str::to_owned),
            room_version: room.version.id.to_string(),
            membership: None,
        })
    }

    /// The summary as a room of a hierarchy, where nobody's membership is told.
    pub(super) fn in_hierarchy(self) -> Self {
        Self { membership: None, ..self }
    }

    /// Whether anybody could join or read the room, or ask to be let in.
    pub(crate) fn is_open_to_all(&self, room: &Room) -> bool {
        let rules = &room.version.rules.authorization;
        let is_open = match self.chunk.join_rule.as_str() {
            "public" => true,
            "knock" => rules.knocking,
            "knock_restricted" => rules.knock_restricted_join_rule,
            _ => false,
        };
        is_open || self.chunk.world_readable
    }

    /// The rooms whose members may join this one.
    pub(crate) fn allowed_rooms(&self) -> &[OwnedRoomId] {
        &self.allowed_room_ids
    }

    /// Whether the user could join or read the room, or ask to be let in.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy_response-200_spacehierarchyroomschunk>
    fn is_for(&self, view: &View<'_>, room: &Room, user: Option<&UserId>) -> Result<bool, Need> {
        match self.membership.as_deref() {
            Some("join" | "invite" | "knock") => return Ok(true),
            Some("ban") => return Ok(false),
            _ => {}
        }
        if self.is_open_to_all(room) {
            return Ok(true);
        }
        let Some(user) = user else { return Ok(false) };
        for allowed in &self.allowed_room_ids {
            if is_in_room(view, allowed, user)? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn membership(view: &View<'_>, room: &Room, user: &UserId) -> Result<Option<String>, Need> {
    let member = room.head().current.event(view, &StateEventType::RoomMember, user.as_str())?;
    Ok(member.map(|member| view.event(member)).transpose()?.and_then(|member| member.pdu.content_str("membership")))
}
