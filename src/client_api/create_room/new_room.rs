//! The beginning of a room: its version, its create event and the ID that follows from them.

use std::rc::Rc;

use ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::{Map, Value};

use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Placement, RoomVersion},
    room_server::Room,
    server::Server,
};

/// A room that has an ID and a create event, and does not exist until that is committed.
pub(in crate::client_api) struct NewRoom {
    pub(in crate::client_api) room: Rc<Room>,
    pub(in crate::client_api) create: CheckedPdu,
}

impl NewRoom {
    /// Makes the create event, with the fields that are the server's to write.
    pub(in crate::client_api) async fn make(
        server: &Server,
        creator: &UserId,
        version: RoomVersion,
        mut content: Map<String, Value>,
    ) -> Result<Self, Error> {
        content.insert("room_version".into(), version.id.as_str().into());
        content.remove("creator");
        if !version.rules.authorization.use_room_create_sender {
            content.insert("creator".into(), creator.as_str().into());
        }
        let event = NewEvent::state(creator.to_owned(), "m.room.create", "", content.into());
        loop {
            let create = event.clone().build(placement(server, &version)?, &version, &server.identity)?;
            let id = create.pdu().room_id.clone();
            if server.rooms.room(&id).await?.is_none() {
                return Ok(Self { room: server.rooms.new_room(id, version), create });
            }
        }
    }
}

fn placement(server: &Server, version: &RoomVersion) -> Result<Placement, Error> {
    let room_id = if version.room_id_is_create_hash() { None } else { Some(random_room_id(server)?) };
    let localpart = hex(server.random::<12>());
    Ok(Placement { room_id, depth: 1, now: next_creation(server), localpart, ..Placement::default() })
}

/// The time, or a little later where a room was made at this moment already: the ID of a room of version 12 is a hash of
/// little but its maker and its time, and two rooms must not have one ID.
fn next_creation(server: &Server) -> u64 {
    let now = server.now().max(server.last_creation.get() + 1);
    server.last_creation.set(now);
    now
}

fn random_room_id(server: &Server) -> Result<OwnedRoomId, Error> {
    let id = format!("!{}:{}", hex(server.random::<12>()), server.identity.server_name());
    RoomId::parse(id).map_err(|error| Error::bug(format!("a room ID of random letters: {error}")))
}

fn hex<const N: usize>(bytes: [u8; N]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
