//! The rooms that concern a user, and what the user is there.

use std::rc::Rc;

use ruma::UserId;

use crate::{
    error::Error,
    room_server::{Room, commit::UserRoom},
    server::Server,
};

/// A room and a user's membership of it.
pub(crate) struct RoomOfUser {
    pub(crate) room: Rc<Room>,
    pub(crate) membership: UserRoom,
}

/// Every room that a local user is or was a member of.
pub(crate) async fn rooms_of(server: &Server, user: &UserId) -> Result<Vec<RoomOfUser>, Error> {
    let memberships = server.rooms.memberships(user).await?;
    let numbers: Vec<_> = memberships.iter().map(|(number, membership)| (*number, membership.event)).collect();
    let rooms = server.rooms.rooms_by_number(&numbers).await?;
    let of_user = |(room, (_, membership)): (_, &(_, UserRoom))| RoomOfUser { room, membership: membership.clone() };
    Ok(rooms.into_iter().zip(memberships.iter()).map(of_user).collect())
}
