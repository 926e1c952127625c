//! Telling the servers that a user meets in a room which devices the user has.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use ruma::{OwnedServerName, UserId};

use crate::{accounts, error::Error, gather::Gather, ordered::OrderedSet, profiles::rooms_of, room_server::Room, server::Server};

/// Tells of the devices of a user who has joined a room, if some server there has not shared a room with them before.
pub(crate) async fn tell_newcomers(server: &Server, user: &UserId, room: &Room) -> Result<(), Error> {
    let mut newcomers: OrderedSet<OwnedServerName> = server.rooms.residents(room).await?.keys().cloned().gather();
    newcomers.remove(server.identity.server_name());
    for (other, membership) in rooms_of(server, user).await? {
        if newcomers.is_empty() {
            return Ok(());
        }
        if membership == "join" && other.number != room.number {
            let known = server.rooms.residents(&other).await?;
            newcomers.retain(|name| !known.contains_key(name));
        }
    }
    if newcomers.is_empty() { Ok(()) } else { accounts::devices::tell_again(server, user).await }
}
