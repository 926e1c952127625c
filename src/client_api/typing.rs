//! Typing notifications.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#typing-notifications>

use serde::Deserialize;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    presence,
    sight::Sight,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Put,
    path: "/_matrix/client/{version}/rooms/{roomId}/typing/{userId}",
    access: Access::Token,
    handler: handler!(typing),
}];

/// How long somebody types if the client does not say: about as long as clients wait before they say it again.
const DEFAULT_MILLIS: u64 = 30_000;

/// The longest that somebody types without saying it again, so that a client that went away does not seem to type for long.
const MAX_MILLIS: u64 = 120_000;

#[derive(Deserialize)]
struct SetTyping {
    typing: bool,
    timeout: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>
async fn typing(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let user = call.user_id(1)?;
    call.only_for(&user)?;
    let SetTyping { typing, timeout } = call.body()?;
    if !Sight::of(&call.server, &room, &user).await?.is_joined() {
        return Err(Error::forbidden("You are not in that room."));
    }
    presence::note_activity(&call.server, &user).await?;
    let until = typing.then(|| call.server.now() + timeout.unwrap_or(DEFAULT_MILLIS).min(MAX_MILLIS));
    let changed = call.server.typing.borrow_mut().set(room.number, user, until);
    if changed {
        call.server.log.wake();
    }
    Ok(Response::empty())
}
