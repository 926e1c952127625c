//! Who is typing, as other servers tell it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#typing-notifications>

use ruma::{OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::room_of;
use crate::{error::Error, server::Server};

/// How long somebody types without their server saying it again: servers say so about every 40 seconds.
const TIMEOUT_MILLIS: u64 = 60_000;

#[derive(Deserialize)]
struct Typing {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

pub(super) async fn receive(server: &Server, origin: &ServerName, content: Value) -> Result<bool, Error> {
    let Ok(Typing { room_id, user_id, typing }) = serde_json::from_value(content) else { return Ok(false) };
    let Some(room) = room_of(server, origin, &room_id, &user_id).await? else { return Ok(false) };
    let until = typing.then(|| server.now() + TIMEOUT_MILLIS);
    if server.typing.borrow_mut().set(room.number, user_id, until) {
        server.log.wake();
    }
    // Nothing of it outlasts a restart.
    Ok(false)
}
