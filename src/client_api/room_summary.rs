//! Room summaries: what somebody who thinks of joining a room is told of it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-summaries>

use ruma::{OwnedRoomId, UserId, events::StateEventType};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Access, Call, Route,
    directory::locate,
    handler,
    membership::{allowed_rooms, is_in_room, servers_of},
    published_rooms_chunk::{PublishedRoomsChunk, content_of},
    spaces::{self, Elsewhere, is_for},
};
use crate::{
    error::Error,
    federation::Located,
    http::{Method, Response},
    room_server::{Need, Room, View},
    server::Server,
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
    let (server, located) = (&call.server, locate(&call.server, call.param(0)).await?.also_via(call.via()?));
    // Whether there is such a room is nobody's business who may not see it.
    let unknown = || Error::not_found("This server does not know that room, or you may not see it.");
    let room = server.rooms.room(&located.room_id).await?;
    if let Some(room) = &room
        && server.rooms.is_resident(room, server.identity.server_name()).await?
    {
        return Ok(Response::ok(&here(server, room, user).await?.ok_or_else(unknown)?));
    }
    if let Some(summary) = elsewhere(server, &located, user).await? {
        return Ok(Response::ok(&summary));
    }
    let room = room.ok_or_else(unknown)?;
    Ok(Response::ok(&here(server, &room, user).await?.ok_or_else(unknown)?))
}

async fn here(server: &Server, room: &Room, user: Option<&UserId>) -> Result<Option<RoomSummary>, Error> {
    server.rooms.ask(room, |view| RoomSummary::of(view, room, user)).await
}

/// The summary as a server tells it that is in the room.
async fn elsewhere(server: &Server, located: &Located, user: Option<&UserId>) -> Result<Option<Map<String, Value>>, Error> {
    let via = match user {
        Some(user) => servers_of(server, located, user).await?,
        None => located.servers.clone(),
    };
    // The children are not of interest: the suggested ones are the fewest.
    let Some(told) = Elsewhere::default().ask(server, &located.room_id, &via, true).await? else { return Ok(None) };
    if !is_for(server, &told.room, user).await? {
        return Ok(None);
    }
    let mut summary = told.room.fields.clone();
    if let Some(user) = user {
        let membership = spaces::membership(server, &located.room_id, user).await?;
        summary.extend(membership.map(|membership| ("membership".to_owned(), membership.into())));
    }
    Ok(Some(summary))
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
