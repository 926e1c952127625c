//! Rooms that this server is not in, as others tell of them to those of its users who could see them.

use std::rc::Rc;

use ruma::{OwnedRoomId, OwnedServerName, RoomId, UserId};

use crate::{
    error::Error,
    federation::{self, ToldSpace, ToldSummary, is_away},
    ordered::{OrderedMap, OrderedSet},
    parse,
    room_server::commit::{UserRoom, user_room_key},
    server::Server,
};

/// So many servers are asked about one room.
const MAX_VIA: usize = 3;

/// So many answers are waited for in one request: as many as a page has rooms, and some that come to nothing.
const MAX_ASKED: usize = 60;

/// What was learnt of rooms elsewhere during one request.
#[derive(Default)]
pub(in crate::client_api) struct Elsewhere {
    /// Rooms that were told of as children of others.
    told: OrderedMap<OwnedRoomId, ToldSummary>,
    /// Rooms that nobody of this server can see.
    inaccessible: OrderedSet<OwnedRoomId>,
    /// Servers that could not be reached: they are not waited for again.
    away: OrderedSet<OwnedServerName>,
    asked: usize,
}

impl Elsewhere {
    /// The room with its children, if one of the servers tells of it; of a room that was told of before and is no space, only that.
    pub(super) async fn look(
        &mut self,
        server: &Server,
        room: &RoomId,
        via: &[OwnedServerName],
        suggested_only: bool,
    ) -> Result<Option<Rc<ToldSpace>>, Error> {
        if self.inaccessible.contains(room) {
            return Ok(None);
        }
        let known = self.told.get(room).cloned();
        if known.as_ref().is_none_or(ToldSummary::is_space)
            && let Some(told) = self.ask(server, room, via, suggested_only).await?
        {
            self.told.extend(told.children.iter().map(|child| (child.room_id.clone(), child.clone())));
            self.inaccessible.extend(told.inaccessible.iter().cloned());
            return Ok(Some(told));
        }
        let alone = |room| Rc::new(ToldSpace { room, children_state: Vec::new(), children: Vec::new(), inaccessible: Vec::new() });
        Ok(known.map(alone))
    }

    /// What the first of the servers tells that tells anything.
    pub(in crate::client_api) async fn ask(
        &mut self,
        server: &Server,
        room: &RoomId,
        via: &[OwnedServerName],
        suggested_only: bool,
    ) -> Result<Option<Rc<ToldSpace>>, Error> {
        let own_name = server.identity.server_name();
        for peer in via.iter().filter(|name| *name != own_name).take(MAX_VIA) {
            if self.asked == MAX_ASKED || self.away.contains(peer) {
                continue;
            }
            self.asked += 1;
            match federation::hierarchy(server, peer, room, suggested_only).await {
                Ok(told) => return Ok(Some(told)),
                Err(error @ (Error::Storage(_) | Error::Bug(_))) => return Err(error),
                Err(error) if is_away(&error) => drop(self.away.insert(peer.clone())),
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

/// Whether a user could join or read a room that was told of, or ask to be let in.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy_response-200_spacehierarchyroomschunk>
pub(in crate::client_api) async fn is_for(server: &Server, room: &ToldSummary, user: Option<&UserId>) -> Result<bool, Error> {
    let Some(user) = user else { return Ok(room.is_open_to_all()) };
    match membership(server, &room.room_id, user).await?.as_deref() {
        Some("join" | "invite" | "knock") => return Ok(true),
        Some("ban") => return Ok(false),
        _ if room.is_open_to_all() => return Ok(true),
        _ => {}
    }
    for allowed in room.allowed_rooms() {
        if membership(server, &allowed, user).await?.as_deref() == Some("join") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A local user's membership of a room, also where this server is not in it.
pub(in crate::client_api) async fn membership(server: &Server, room: &RoomId, user: &UserId) -> Result<Option<String>, Error> {
    let Some(room) = server.rooms.room(room).await? else { return Ok(None) };
    let row = server.ports.store.get_many(&[user_room_key(user, room.number)]).await?.pop().flatten();
    Ok(row.and_then(|row| parse::json::<UserRoom>(&row).ok()).map(|row| row.membership))
}
