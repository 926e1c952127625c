//! Meeting a server again: both show each other where their rooms have come to, so that rooms converge without waiting for
//! the next message. What is missing behind the forward extremities is asked for by whoever lacks it.

use std::rc::Rc;

use ruma::ServerName;
use serde_json::Value;

use super::{destination::MAX_ITEMS, notes::Greeting, reader::load};
use crate::{
    arrange::Arrange,
    error::Error,
    profiles::rooms_of,
    room_server::{Position, Room},
    server::Server,
};

/// A server that was not heard of for so long may have missed what this one does not know of, in milliseconds.
pub(crate) const SILENCE_MILLIS: u64 = 10 * 60_000;

/// So many servers are greeted when this one comes back, those that answered last.
pub(crate) const MAX_GREETED: usize = 50;

/// Of so many servers some are asked where another is.
const MAX_BETWEEN: usize = 1_000;

/// The forward extremities of the rooms that both servers are in, as far as a greeting goes.
pub(super) async fn extremities(server: &Server, to: &ServerName, greeting: Greeting) -> Result<Vec<Value>, Error> {
    let mut pdus = Vec::new();
    for room in shared_rooms(server, to).await? {
        let numbers: Vec<_> = room.head().extremities.iter().map(|extremity| extremity.event).collect();
        for event in server.rooms.events(&room, &numbers).await? {
            let origin = event.pdu.sender.server_name();
            let is_wanted = greeting == Greeting::All || (origin != to && origin != server.identity.server_name());
            if is_wanted && pdus.len() < MAX_ITEMS {
                pdus.extend(serde_json::from_str::<Value>(event.pdu.json.get()));
            }
        }
    }
    Ok(pdus)
}

/// The rooms of local users that the other server is in, the most recent first.
async fn shared_rooms(server: &Server, other: &ServerName) -> Result<Vec<Rc<Room>>, Error> {
    let mut rooms = all_rooms(server).await?;
    rooms.retain(|room| server.federation_sender.room_servers.borrow().was_in(room.number, other, Position(u64::MAX)));
    rooms.arrange_by_key(|room| std::cmp::Reverse(room.head().position));
    Ok(rooms)
}

/// The rooms that local users are joined to, whose servers are in memory after that.
async fn all_rooms(server: &Server) -> Result<Vec<Rc<Room>>, Error> {
    let mut rooms = crate::ordered::OrderedMap::new();
    for user in server.accounts.active_users().await? {
        let joined = rooms_of(server, &user).await?.into_iter().filter(|(_, membership)| membership == "join");
        for (room, _) in joined {
            load(server, room.number).await?;
            rooms.insert(room.number, room);
        }
    }
    Ok(rooms.into_values().collect())
}

/// Some of the servers that share a room with a local user.
pub(super) async fn neighbours(server: &Server) -> Result<Vec<ruma::OwnedServerName>, Error> {
    let mut found = crate::ordered::OrderedSet::new();
    for room in all_rooms(server).await? {
        found.extend(server.federation_sender.room_servers.borrow().at(room.number, Position(u64::MAX)));
        if found.len() >= MAX_GREETED {
            break;
        }
    }
    found.remove(server.identity.server_name());
    Ok(found.into_iter().take(MAX_GREETED).collect())
}

/// Some of the servers that are in rooms with both another and a local user.
pub(crate) async fn between(server: &Server, other: &ServerName) -> Result<crate::ordered::OrderedSet<ruma::OwnedServerName>, Error> {
    let mut found = crate::ordered::OrderedSet::new();
    for room in shared_rooms(server, other).await? {
        found.extend(server.federation_sender.room_servers.borrow().at(room.number, Position(u64::MAX)));
        if found.len() >= MAX_BETWEEN {
            break;
        }
    }
    found.remove(server.identity.server_name());
    found.remove(other);
    Ok(found)
}

/// Whether the other server is in a room with a local user.
pub(crate) async fn shares_room(server: &Server, other: &ServerName) -> Result<bool, Error> {
    for user in server.accounts.active_users().await? {
        for (room, _) in rooms_of(server, &user).await?.into_iter().filter(|(_, membership)| membership == "join") {
            load(server, room.number).await?;
            if server.federation_sender.room_servers.borrow().was_in(room.number, other, Position(u64::MAX)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
