//! Questions about this server's users and aliases.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-for-information>

use ruma::{RoomAliasId, UserId};
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    gather::Gather,
    http::{Method, Response},
    profiles::{self, Profile},
};

pub(super) const ROUTES: &[Route] = &[
    get("/_matrix/federation/v1/query/profile", handler!(profile)),
    get("/_matrix/federation/v1/query/directory", handler!(directory)),
    get("/_matrix/federation/v1/query/{queryType}", handler!(other)),
];

const fn get(path: &'static str, handler: crate::route::Handler<Call>) -> Route {
    Route { method: Method::Get, path, access: Access::Signed, handler }
}

/// Servers that are named as being in a room: enough to find one that is there, in an answer of a few kB.
const MAX_SERVERS: usize = 50;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>
async fn profile(call: Call) -> Result<Response, Error> {
    let user = call.query("user_id").ok_or_else(|| Error::missing_param("user_id must name the user."))?;
    let user = UserId::parse(user).map_err(|_| Error::invalid_param(format!("{user:?} is no user ID.")))?;
    if user.server_name() != call.server.identity.server_name() {
        return Err(Error::invalid_param("That user is another server's."));
    }
    if !call.server.accounts.is_active(&user).await? {
        return Err(Error::not_found("This server knows no profile of that user."));
    }
    let mut profile = profiles::read(&call.server, &user).await?;
    if let Some(field) = call.query("field") {
        profile = profile.remove_entry(field).into_iter().gather::<Profile>();
    }
    Ok(Response::ok(&profile))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>
async fn directory(call: Call) -> Result<Response, Error> {
    let alias = call.query("room_alias").ok_or_else(|| Error::missing_param("room_alias must name the room."))?;
    let alias = RoomAliasId::parse(alias).map_err(|_| Error::invalid_param(format!("{alias:?} is no room alias.")))?;
    let server = &call.server;
    let found = server.directory.find(&alias).await?.ok_or_else(|| Error::not_found(format!("There is no {alias} here.")))?;
    let mut servers = vec![server.identity.server_name().clone()];
    if let Some(room) = server.rooms.room(&found.room_id).await? {
        let residents = server.rooms.residents(&room).await?;
        let others = residents.keys().filter(|name| *name != server.identity.server_name());
        servers.extend(others.take(MAX_SERVERS).cloned());
    }
    Ok(Response::ok(&json!({ "room_id": found.room_id, "servers": servers })))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype>
async fn other(call: Call) -> Result<Response, Error> {
    Err(Error::refused(404, "M_UNRECOGNIZED", format!("This server answers no queries of the type {:?}.", call.param(0))))
}
