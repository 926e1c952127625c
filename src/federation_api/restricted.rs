//! Restricted rooms, where this server says who of another server's users may join, and vouches for it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>

use std::rc::Rc;

use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::Value;

use super::handshake::membership;
use crate::{
    client_api::{allowed_rooms, candidates, granting_user},
    error::Error,
    event::Pdu,
    room_server::Room,
    server::Server,
};

/// The local member who vouches for a user that joins, where somebody must.
pub(super) async fn authorising_user(server: &Server, room: &Rc<Room>, user: &UserId) -> Result<Option<OwnedUserId>, Error> {
    let Some(allowed) = conditions(server, room, user).await? else { return Ok(None) };
    check_conditions(server, &allowed, user).await?;
    let (candidates, own_name) = (candidates(server, room).await?, server.identity.server_name());
    let granting = server.rooms.transact_in(room, |draft| granting_user(draft, own_name, &candidates)).await?;
    let refusal = || Error::refused(400, "M_UNABLE_TO_GRANT_JOIN", "Nobody of this server may let that user in.");
    granting.map(Some).ok_or_else(refusal)
}

/// Refuses a join for which this server is said to vouch and does not.
pub(super) async fn check_authorisation(server: &Server, room: &Rc<Room>, join: &Pdu) -> Result<(), Error> {
    let Some(allowed) = conditions(server, room, &join.sender).await? else { return Ok(()) };
    let content: Value = join.content_as();
    let authorising = content.get("join_authorised_via_users_server").and_then(Value::as_str).and_then(|user| UserId::parse(user).ok());
    match authorising {
        Some(user) if user.server_name() == server.identity.server_name() => check_conditions(server, &allowed, &join.sender).await,
        // Another server has vouched and signed; or nobody has, and the room will not allow it.
        _ => Ok(()),
    }
}

/// The rooms whose members may join, where the user needs to be one of them.
async fn conditions(server: &Server, room: &Rc<Room>, user: &UserId) -> Result<Option<Vec<OwnedRoomId>>, Error> {
    let current = room.head().current;
    let allowed = server.rooms.ask(room, |view| allowed_rooms(view, &room.version, current)).await?;
    let needs_none = matches!(membership(server, room, user).await?.as_deref(), Some("join" | "invite" | "ban"));
    Ok(allowed.filter(|_| !needs_none))
}

/// Refuses a user who is in none of the rooms.
async fn check_conditions(server: &Server, allowed: &[OwnedRoomId], user: &UserId) -> Result<(), Error> {
    let mut known = allowed.is_empty();
    for id in allowed {
        let Some(room) = server.rooms.room(id).await? else { continue };
        if !server.rooms.is_resident(&room, server.identity.server_name()).await? {
            continue;
        }
        known = true;
        if membership(server, &room, user).await?.as_deref() == Some("join") {
            return Ok(());
        }
    }
    if known {
        return Err(Error::forbidden("That user is in none of the rooms whose members may join this one."));
    }
    Err(Error::refused(400, "M_UNABLE_TO_AUTHORISE_JOIN", "This server does not know the rooms whose members may join this one."))
}
