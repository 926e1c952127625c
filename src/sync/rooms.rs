//! The rooms that concern a user, and what the user is there.

use std::rc::Rc;

use ruma::UserId;

use crate::{
    error::Error,
    room_server::{Room, RoomNumber, commit::UserRoom},
    server::Server,
    storage::{Key, KeyReader, Scan, Table},
};

/// A room and a user's membership of it.
pub(crate) struct RoomOfUser {
    pub(crate) room: Rc<Room>,
    pub(crate) membership: UserRoom,
}

/// Every room that a local user is or was a member of.
pub(crate) async fn rooms_of(server: &Server, user: &UserId) -> Result<Vec<RoomOfUser>, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::UserRooms).text(user.as_str()))).await?;
    let mut rooms = Vec::new();
    for row in rows {
        let mut key = KeyReader::new(&row.key);
        let number = key.text().and_then(|_| key.number()).map(RoomNumber);
        let membership: Option<UserRoom> = serde_json::from_slice(&row.value).ok();
        let (Some(number), Some(membership)) = (number, membership) else {
            return Err(Error::bug(format!("a row of {user}'s rooms cannot be read")));
        };
        let room = server.rooms.room_by_number(number, membership.event).await?;
        rooms.push(RoomOfUser { room, membership });
    }
    Ok(rooms)
}
