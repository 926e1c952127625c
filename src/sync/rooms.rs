//! The rooms that concern a user, and what the user is there.

use std::rc::Rc;

use ruma::UserId;

use crate::{
    error::Error,
    parse,
    room_server::{Room, RoomNumber, commit::UserRoom},
    server::Server,
    storage::{Key, KeyReader, Row, Scan, Table},
};

/// A room and a user's membership of it.
pub(crate) struct RoomOfUser {
    pub(crate) room: Rc<Room>,
    pub(crate) membership: UserRoom,
}

/// Every room that a local user is or was a member of.
pub(crate) async fn rooms_of(server: &Server, user: &UserId) -> Result<Vec<RoomOfUser>, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::UserRooms).text(user.as_str()))).await?;
    let memberships = rows.iter().map(read).collect::<Option<Vec<_>>>();
    let memberships = memberships.ok_or_else(|| Error::bug(format!("a row of {user}'s rooms cannot be read")))?;
    let numbers: Vec<_> = memberships.iter().map(|(number, membership)| (*number, membership.event)).collect();
    let rooms = server.rooms.rooms_by_number(&numbers).await?;
    Ok(rooms.into_iter().zip(memberships).map(|(room, (_, membership))| RoomOfUser { room, membership }).collect())
}

fn read(row: &Row) -> Option<(RoomNumber, UserRoom)> {
    let mut key = KeyReader::new(&row.key);
    key.text()?;
    Some((RoomNumber(key.number()?), parse::json(&row.value).ok()?))
}
