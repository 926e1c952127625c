//! Entering a room: by this server's own event where it is in the room, and with other servers' help where it is not.

use std::{rc::Rc, sync::Arc};

use ruma::{OwnedServerName, UserId};

use super::intent::{Intent, change_membership, join};
use crate::{
    arrange::Arrange,
    error::Error,
    federation::{self, Candidates, Located, OwnMembership, for_client},
    parse, pending_joins,
    room_server::{
        Room,
        commit::{UserRoom, user_room_key},
        stored::StoredEvent,
    },
    server::Server,
};

/// Joins a room, and returns it and whether the user was not in it before.
pub(super) async fn enter(server: &Server, located: &Located, user: &UserId, reason: Option<&str>) -> Result<(Rc<Room>, bool), Error> {
    let _entering = server.federation.entering(&located.room_id).await;
    let room = server.rooms.room(&located.room_id).await?;
    let candidates = candidates(server, located, room.as_deref(), user).await?;
    if let Some(room) = room
        && (candidates.is_empty() || server.rooms.is_resident(&room, server.identity.server_name()).await?)
    {
        match join(server, &room, user, reason).await {
            Err(error) if others_may_help(&error) && !candidates.is_empty() => {}
            joined => return Ok((room, joined?)),
        }
    }
    if candidates.is_empty() {
        return Err(nobody_known());
    }
    let own = OwnMembership { room: &located.room_id, user, membership: "join", reason };
    let joining = federation::join(server, own, &candidates);
    Ok((pending_joins::attempted(server, user, located, reason, joining).await?, true))
}

/// Knocks on a room.
pub(super) async fn knock(server: &Server, located: &Located, user: &UserId, reason: Option<&str>) -> Result<(), Error> {
    let room = server.rooms.room(&located.room_id).await?;
    let candidates = candidates(server, located, room.as_deref(), user).await?;
    if let Some(room) = room
        && (candidates.is_empty() || server.rooms.is_resident(&room, server.identity.server_name()).await?)
    {
        return change_membership(server, &room, Intent::Knock, user, user, reason).await;
    }
    if candidates.is_empty() {
        return Err(nobody_known());
    }
    let own = OwnMembership { room: &located.room_id, user, membership: "knock", reason };
    federation::knock(server, own, &candidates).await.map_err(for_client)?;
    Ok(())
}

fn nobody_known() -> Error {
    Error::not_found("This server does not know that room, nor anybody who is in it.")
}

/// Whether a member of another server may be able to let the user in.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>
fn others_may_help(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if matches!(&*refusal.code, "M_UNABLE_TO_GRANT_JOIN" | "M_UNABLE_TO_AUTHORISE_JOIN"))
}

/// Servers that may be in the room: those that were named, those that have invited the user or taken a knock, and those that were in it when
/// this server last was.
pub(super) async fn candidates(server: &Server, located: &Located, room: Option<&Room>, user: &UserId) -> Result<Candidates, Error> {
    let mut names = located.servers.clone();
    names.extend(federation::helper(server, &located.room_id).await?);
    if let Some(room) = room {
        names.extend(inviter(server, room, user).await?);
        let residents = server.rooms.residents(room).await?;
        let mut residents: Vec<_> = residents.iter().collect();
        residents.arrange_by_key(|(_, members)| std::cmp::Reverse(**members));
        names.extend(residents.into_iter().map(|(name, _)| name.clone()));
    }
    Ok(Candidates::new(server, names))
}

/// Servers that may tell of a room that this server is not in, the best first.
pub(in crate::client_api) async fn servers_of(server: &Server, located: &Located, user: &UserId) -> Result<Vec<OwnedServerName>, Error> {
    let room = server.rooms.room(&located.room_id).await?;
    let mut names = candidates(server, located, room.as_deref(), user).await?.names().to_vec();
    // IDs of old room versions name the server that has made the room.
    names.extend(located.room_id.server_name().map(ToOwned::to_owned));
    Ok(names)
}

/// The server of whoever has changed the user's membership last.
async fn inviter(server: &Server, room: &Room, user: &UserId) -> Result<Option<OwnedServerName>, Error> {
    Ok(last_change(server, room, user).await?.map(|event| event.pdu.sender.server_name().to_owned()))
}

/// The event by which a local user is in the room what they are, also where this server is not in it.
pub(super) async fn last_change(server: &Server, room: &Room, user: &UserId) -> Result<Option<Arc<StoredEvent>>, Error> {
    let row = server.ports.store.get_many(&[user_room_key(user, room.number)]).await?.pop().flatten();
    let Some(row) = row.and_then(|row| parse::json::<UserRoom>(&row).ok()) else { return Ok(None) };
    Ok(server.rooms.events(room, &[row.event]).await?.pop())
}
