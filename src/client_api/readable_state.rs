//! The state of a room that a user may read: the current one, or the one in which they left.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

use ruma::UserId;

use crate::{
    error::Error,
    parse,
    room_server::{
        EventNumber, Need, Room, View,
        commit::{UserRoom, user_room_key},
        room_log,
        snapshot::Snapshot,
    },
    server::Server,
    sight::was_joined_before,
    visibility::is_world_readable,
};

/// Whether a user may read the room as it is now.
pub(super) async fn reads_current(server: &Server, room: &Room, user: &UserId) -> Result<bool, Error> {
    let current = room.head().current;
    server.rooms.ask(room, |view| Ok(is_joined(view, room, user)? || is_world_readable(view, current)?)).await
}

/// Whether a local user is in the room.
pub(super) fn is_joined(view: &View<'_>, room: &Room, user: &UserId) -> Result<bool, Need> {
    Ok(user_room(view, room, user)?.is_some_and(|row| row.membership == "join"))
}

fn user_room(view: &View<'_>, room: &Room, user: &UserId) -> Result<Option<UserRoom>, Need> {
    Ok(view.row(&user_room_key(user, room.number))?.and_then(|row| parse::json(&row).ok()))
}

/// The state that a user may read, or 403.
pub(super) async fn readable_state(server: &Server, room: &Room, user: &UserId) -> Result<Snapshot, Error> {
    let current = room.head().current;
    let found = server.rooms.ask(room, |view| Ok((user_room(view, room, user)?, is_world_readable(view, current)?)));
    let (row, world_readable) = found.await?;
    let refusal = || Error::forbidden("You are not in this room, and were not.");
    match row {
        _ if world_readable => Ok(current),
        Some(row) if row.membership == "join" => Ok(current),
        Some(row) if row.forgotten => Err(refusal()),
        Some(row) if was_joined_before(server, room, user, &row).await? => {
            room_log::state_at(&*server.ports.store, room, row.position).await
        }
        Some(row) => server.rooms.ask(room, |view| state_after_leaving(view, row.event)).await?.ok_or_else(refusal),
        None => Err(refusal()),
    }
}

/// The state behind the event that ended the user's last stay, some membership events ago.
fn state_after_leaving(view: &View<'_>, last: EventNumber) -> Result<Option<Snapshot>, Need> {
    let mut event = view.event(last)?;
    while let Some(replaced) = event.decided.replaces {
        let before = view.event(replaced)?;
        if before.pdu.content_str("membership").as_deref() == Some("join") {
            return Ok(Some(event.decided.after));
        }
        event = before;
    }
    Ok(None)
}
