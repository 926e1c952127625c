//! Whether another server may ask about a room at all.

use std::rc::Rc;

use ruma::ServerName;

use super::Call;
use crate::{error::Error, room_server::Room, server::Server, server_acl};

impl Call {
    /// The room at this place of the path, if this server is in it and the room does not shut the caller out.
    pub(super) async fn open_room(&self, index: usize) -> Result<Rc<Room>, Error> {
        let room = self.room(index).await?;
        if !self.server.rooms.is_resident(&room, self.server.identity.server_name()).await? {
            return Err(Error::not_found("This server is not in that room."));
        }
        check_acl(&self.server, &room, self.origin()?).await?;
        Ok(room)
    }

    /// The same, if the caller is in it as well.
    pub(super) async fn shared_room(&self, index: usize) -> Result<Rc<Room>, Error> {
        let room = self.open_room(index).await?;
        if !self.server.rooms.is_resident(&room, self.origin()?).await? {
            return Err(Error::forbidden("Your server is not in that room."));
        }
        Ok(room)
    }

    /// Refuses what a server says of another server's user.
    pub(super) fn only_of_origin(&self, user: &ruma::UserId) -> Result<(), Error> {
        if user.server_name() == self.origin()? { Ok(()) } else { Err(Error::forbidden("This user is another server's.")) }
    }
}

/// Refuses a server that the room's ACL shuts out.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls>
pub(super) async fn check_acl(server: &Server, room: &Room, peer: &ServerName) -> Result<(), Error> {
    let current = room.head().current;
    match server.rooms.ask(room, |view| server_acl::allows(view, current, peer)).await? {
        true => Ok(()),
        false => Err(Error::forbidden("The room shuts your server out.")),
    }
}

/// Whether this server and the other are in the room, and the room does not shut the other out.
pub(super) async fn is_shared(server: &Server, room: &Room, peer: &ServerName) -> Result<bool, Error> {
    let residents = server.rooms.residents(room).await?;
    let both = [server.identity.server_name(), peer].into_iter().all(|name| residents.contains_key(name));
    Ok(both && check_acl(server, room, peer).await.is_ok())
}
