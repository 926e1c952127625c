//! What servers tell each other beside events: ephemeral data units, each with the time after which it is worth nothing.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

mod receipts;
mod typing;

use std::rc::Rc;

use ruma::{OwnedUserId, RoomId, ServerName, UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::Error,
    federation_sender::{self, NODE_RECORD, received::RECEIVED},
    keys::remote::{Received, receive_device_list_update, receive_signing_key_update},
    presence,
    room_server::Room,
    server::Server,
    server_acl, to_device,
};

/// After so long nobody types any more who was said to. A relay may have kept the word for longer.
const TYPING_LIFETIME_MILLIS: u64 = 60_000;

/// An ephemeral data unit.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Edu {
    edu_type: String,
    #[serde(default)]
    content: Value,
}

/// Takes in what a server says in a transaction of that time. What is wrong with one unit does not concern the others; of a
/// type that is not known nothing is made. Returns whether anything was.
pub(crate) async fn receive_edus(server: &Server, origin: &ServerName, sent_at: u64, edus: Vec<Edu>) -> Result<bool, Error> {
    let mut any = false;
    for Edu { edu_type, content } in edus {
        let age = server.now().saturating_sub(sent_at);
        let received = match edu_type.as_str() {
            "m.typing" if age <= TYPING_LIFETIME_MILLIS => typing::receive(server, origin, content).await,
            "m.receipt" => receipts::receive(server, origin, content).await,
            "m.presence" if age <= presence::EDU_LIFETIME => presence::receive(server, origin, content).await,
            "m.direct_to_device" => to_device::receive(server, origin, content).await,
            "m.device_list_update" => receive_device_list_update(server, origin, content).await.map(is_news),
            "m.signing_key_update" => receive_signing_key_update(server, origin, content).await.map(is_news),
            NODE_RECORD => learn(server, origin, content).await,
            RECEIVED => federation_sender::received::receive(server, origin, &content),
            _ => Ok(false),
        };
        match received {
            Ok(received) => any |= received,
            Err(error @ Error::Storage(_)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(any)
}

fn is_news(received: Received) -> bool {
    received != Received::Ignored
}

/// The server says where it can be reached.
async fn learn(server: &Server, origin: &ServerName, content: Value) -> Result<bool, Error> {
    match serde_json::from_value(content) {
        Ok(signed) => server.records.learn(origin, &signed, !server.federation_sender.knows(origin)).await,
        Err(_) => Ok(false),
    }
}

/// The room, if the server may say something of this user there: the user is its own and has joined, and the room does not
/// shut the server out.
async fn room_of(server: &Server, origin: &ServerName, room: &RoomId, user: &UserId) -> Result<Option<Rc<Room>>, Error> {
    let Some(room) = server.rooms.room(room).await?.filter(|_| user.server_name() == origin) else { return Ok(None) };
    let current = room.head().current;
    let may = server.rooms.ask(&room, |view| {
        let member = current.event(view, &StateEventType::RoomMember, user.as_str())?.map(|number| view.event(number)).transpose()?;
        let has_joined = member.and_then(|member| member.pdu.content_str("membership")).as_deref() == Some("join");
        Ok(has_joined && server_acl::allows(view, current, origin)?)
    });
    Ok(may.await?.then_some(room))
}

/// A user ID as JSON objects have it for a key.
fn user_id(text: &str) -> Option<OwnedUserId> {
    UserId::parse(text).ok()
}
