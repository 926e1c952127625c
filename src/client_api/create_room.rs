//! Creating rooms: everything that the request implies is one commit, or nothing is.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#creation>

mod initial_events;
mod new_room;
mod power_levels;
mod request;

use ruma::RoomAliasId;
use serde_json::json;

use self::{
    initial_events::InitialEvents,
    request::{CreateRoomRequest, Visibility},
};
pub(super) use self::{
    new_room::NewRoom,
    power_levels::{TOMBSTONE_LEVEL, ensure_tombstone_level},
};
use super::{Access, Call, Route, handler, membership};
use crate::{
    directory::{self, Alias},
    error::Error,
    event::{DEFAULT_ROOM_VERSION, RoomVersion},
    http::{Method, Response},
    room_server::{Draft, Undecided},
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Post, path: "/_matrix/client/{version}/createRoom", access: Access::Token, handler: handler!(create_room) }];

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
async fn create_room(call: Call) -> Result<Response, Error> {
    let request: CreateRoomRequest = call.body()?;
    let (server, creator) = (&call.server, call.user()?);
    request.check()?;
    let version = RoomVersion::supported(request.room_version.as_deref().unwrap_or(DEFAULT_ROOM_VERSION.as_str()))?;
    let alias = request.alias(server.identity.server_name())?;
    let content = request.create_content(creator, &version);
    let new = NewRoom::make(server, creator, version, content).await?;
    let _writing = match &alias {
        Some(_) => Some(server.directory.write().await),
        None => None,
    };
    let events = InitialEvents { request: &request, creator, alias: alias.as_deref() };
    let decide = |draft: &mut Draft<'_>| {
        if let Some(alias) = &alias {
            take_alias(draft, alias, Alias { room_id: new.room.id.clone(), creator: creator.to_owned() })?;
        }
        draft.add_create(new.create.clone())?;
        events.add(draft).map_err(invalid_room_state)?;
        if request.visibility == Some(Visibility::Public) {
            let room = draft.room().id.clone();
            directory::publish(draft.rows(), &room, true);
        }
        Ok(())
    };
    server.rooms.transact_in(&new.room, decide).await?;
    events.invite_from_elsewhere(server, &new.room).await?;
    Ok(Response::ok(&json!({ "room_id": new.room.id })))
}

fn take_alias(draft: &mut Draft<'_>, alias: &RoomAliasId, target: Alias) -> Result<(), Undecided> {
    if directory::alias_in(draft.view(), alias)?.is_some() {
        return Err(Error::refused(400, "M_ROOM_IN_USE", format!("{alias} leads to another room already.")).into());
    }
    let room = draft.room().number;
    directory::put_alias(draft.rows(), alias, room, &target);
    Ok(())
}

/// What the new room itself does not allow is a fault of the request, not of its sender's rights.
fn invalid_room_state(undecided: Undecided) -> Undecided {
    match undecided {
        Undecided::Refused(Error::Refused(refusal)) if refusal.code == "M_FORBIDDEN" => {
            Error::refused(400, "M_INVALID_ROOM_STATE", refusal.message).into()
        }
        other => other,
    }
}
