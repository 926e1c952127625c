//! Presence.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

use serde::Deserialize;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    presence::{self, State},
    sharing::share_room,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/presence/{userId}/status",
        access: Access::Token,
        handler: handler!(read),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/client/{version}/presence/{userId}/status",
        access: Access::Token,
        handler: handler!(set),
    },
];

/// The longest status that others are told, in bytes: it goes to everybody who shares a room.
const MAX_STATUS_BYTES: usize = 1_024;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus>
async fn read(call: Call) -> Result<Response, Error> {
    let (server, user) = (&call.server, call.user_id(0)?);
    if !share_room(server, call.user()?, &user).await? {
        return Err(Error::forbidden("You share no room with this user."));
    }
    let told = match presence::of(server, &user).await? {
        Some(told) => told,
        None if user.server_name() == server.name() => presence::Told::default(),
        None => return Err(Error::not_found("Nothing is known of this user's presence.")),
    };
    Ok(Response::ok(&told.content(server.now())))
}

#[derive(Deserialize)]
struct Status {
    presence: State,
    status_msg: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus>
async fn set(call: Call) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    let Status { presence, status_msg } = call.body()?;
    let status_msg = status_msg.filter(|status_msg| !status_msg.is_empty());
    if status_msg.as_ref().is_some_and(|status_msg| status_msg.len() > MAX_STATUS_BYTES) {
        return Err(Error::too_large("This status is too long."));
    }
    let caller = call.caller()?;
    presence::set(&call.server, &caller.user, &caller.device, presence, status_msg).await?;
    Ok(Response::empty())
}
