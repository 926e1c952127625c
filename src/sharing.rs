//! Who shares a room with whom: users see each other's presence and devices while they do.

use ruma::{OwnedUserId, UserId};

use crate::{
    error::Error,
    gather::Gather,
    ordered::OrderedSet,
    profiles::rooms_of,
    room_server::{
        RoomNumber,
        commit::{member_key, members_prefix},
    },
    server::Server,
    storage::{KeyReader, Scan},
};

/// So many rows are looked up at once, of users in rooms.
const MAX_LOOKED_UP: usize = 1_000;

/// Those of the users who are joined to one of the rooms.
pub(crate) async fn in_rooms(
    server: &Server,
    rooms: &[RoomNumber],
    users: OrderedSet<OwnedUserId>,
) -> Result<OrderedSet<OwnedUserId>, Error> {
    let keys: Vec<_> = users.iter().flat_map(|user| rooms.iter().map(|room| member_key(*room, "join", user))).collect();
    if keys.is_empty() {
        return Ok(OrderedSet::new());
    }
    let found = server.ports.store.get_many(&keys).await?;
    let is_there = found.chunks(rooms.len()).map(|rows| rows.iter().any(Option::is_some));
    Ok(users.into_iter().zip(is_there).filter(|(_, is_there)| *is_there).map(|(user, _)| user).gather())
}

/// The users who are joined to a room now.
pub(crate) async fn members(server: &Server, room: RoomNumber) -> Result<OrderedSet<OwnedUserId>, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(members_prefix(room, "join"))).await?;
    let user = |key: &[u8]| {
        let mut key = KeyReader::new(key);
        let (_room, _membership) = (key.number()?, key.text()?);
        UserId::parse(key.text()?).ok()
    };
    Ok(rows.iter().filter_map(|row| user(&row.key)).gather())
}

/// The rooms that a local user is joined to.
pub(crate) async fn joined_rooms(server: &Server, user: &UserId) -> Result<Vec<RoomNumber>, Error> {
    let rooms = rooms_of(server, user).await?;
    Ok(rooms.into_iter().filter(|(_, membership)| membership == "join").map(|(room, _)| room.number).collect())
}

/// Whether two users, of whom the first is local, are one or share a room.
pub(crate) async fn share_room(server: &Server, local: &UserId, other: &UserId) -> Result<bool, Error> {
    if local == other {
        return Ok(true);
    }
    let rooms = joined_rooms(server, local).await?;
    Ok(!in_rooms(server, &rooms, OrderedSet::from([other.to_owned()])).await?.is_empty())
}

/// Whether a user shares a room with any local one.
pub(crate) async fn is_seen(server: &Server, user: &UserId) -> Result<bool, Error> {
    Ok(!seen(server, OrderedSet::from([user.to_owned()])).await?.is_empty())
}

/// Those of the users who share a room with a local one.
pub(crate) async fn seen(server: &Server, users: OrderedSet<OwnedUserId>) -> Result<OrderedSet<OwnedUserId>, Error> {
    let mut rooms = OrderedSet::new();
    for local in server.accounts.active_users().await? {
        rooms.extend(joined_rooms(server, &local).await?);
    }
    let rooms: Vec<_> = rooms.into_iter().collect();
    let (mut unknown, mut seen) = (users, OrderedSet::new());
    // Many users are looked for in one room after the other: most of them are in the first.
    for rooms in rooms.chunks((MAX_LOOKED_UP / unknown.len().max(1)).max(1)) {
        let found = in_rooms(server, rooms, unknown.clone()).await?;
        unknown.retain(|user| !found.contains(user));
        seen.extend(found);
        if unknown.is_empty() {
            break;
        }
    }
    Ok(seen)
}
