//! A space and the rooms in it, as far as the asking server's users could see them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#spaces>

use std::rc::Rc;

use ruma::{OwnedRoomId, RoomId, ServerName, UserId};
use serde_json::json;

use super::{Access, Call, Route, admission::check_acl, handler};
use crate::{
    client_api::{RoomSummary, SpaceChildren},
    error::Error,
    http::{Method, Response},
    room_server::{Room, commit::members_prefix},
    server::Server,
    storage::{KeyReader, Scan},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/federation/v1/hierarchy/{roomId}",
    access: Access::Signed,
    handler: handler!(hierarchy),
}];

/// Rooms of an answer at most: each costs nine events.
const MAX_CHILDREN: usize = 200;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>
async fn hierarchy(call: Call) -> Result<Response, Error> {
    let (server, origin) = (&call.server, call.origin()?);
    let unknown = || Error::not_found("This server does not know that room, or your server may not see it.");
    let suggested_only = call.query_bool("suggested_only")?.unwrap_or(false);
    let room = known_room(server, &call.room_id(0)?).await?.ok_or_else(unknown)?;
    let summary = summary_for(server, &room, origin).await?.ok_or_else(unknown)?;
    let found = server.rooms.ask(&room, |view| SpaceChildren::of(view, &room, suggested_only)).await?;
    let (mut children, mut inaccessible) = (Vec::new(), Vec::new());
    for id in found.rooms().into_iter().take(MAX_CHILDREN) {
        let Some(child) = known_room(server, &id).await? else { continue };
        match summary_for(server, &child, origin).await? {
            Some(summary) => children.push(summary),
            None => inaccessible.push(id),
        }
    }
    let mut space = json!(summary);
    if let Some(space) = space.as_object_mut() {
        space.insert("children_state".into(), found.stripped().into());
    }
    Ok(Response::ok(&json!({ "room": space, "children": children, "inaccessible_children": inaccessible })))
}

/// The room, if this server is in it.
async fn known_room(server: &Server, id: &RoomId) -> Result<Option<Rc<Room>>, Error> {
    let Some(room) = server.rooms.room(id).await? else { return Ok(None) };
    let is_here = server.rooms.is_resident(&room, server.identity.server_name()).await?;
    Ok(is_here.then_some(room))
}

/// The room's summary, if users of the other server could join or read it, or ask to be let in.
async fn summary_for(server: &Server, room: &Rc<Room>, peer: &ServerName) -> Result<Option<RoomSummary>, Error> {
    if check_acl(server, room, peer).await.is_err() {
        return Ok(None);
    }
    let summary = server.rooms.ask(room, |view| RoomSummary::of_any(view, room)).await?;
    let is_open = summary.is_open_to_all(room)
        || server.rooms.residents(room).await?.contains_key(peer)
        || is_invited(server, room, peer).await?
        || is_in_any(server, summary.allowed_rooms(), peer).await?;
    Ok(is_open.then_some(summary))
}

async fn is_invited(server: &Server, room: &Room, peer: &ServerName) -> Result<bool, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(members_prefix(room.number, "invite"))).await?;
    let user = |key: &[u8]| {
        let mut key = KeyReader::new(key);
        key.number()?;
        key.text()?;
        UserId::parse(key.text()?).ok()
    };
    Ok(rows.iter().filter_map(|row| user(&row.key)).any(|user| user.server_name() == peer))
}

async fn is_in_any(server: &Server, rooms: &[OwnedRoomId], peer: &ServerName) -> Result<bool, Error> {
    for id in rooms {
        if let Some(room) = known_room(server, id).await?
            && server.rooms.is_resident(&room, peer).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}
