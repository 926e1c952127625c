//! This server as a policy server: it recommends the events of a room that has named it so, if the room as it is now allows them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>

use std::rc::Rc;

use ruma::{RoomId, events::StateEventType};
use serde_json::Value;

use super::{Access, Call, Route, admission::check_acl, handler};
use crate::{
    error::Error,
    event::{CheckedPdu, RawPdu},
    http::{Method, Response},
    policy_servers::signed_here,
    room_server::{Room, View},
    server::Server,
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Post, path: "/_matrix/policy/v1/sign", access: Access::Signed, handler: handler!(sign) }];

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign>
async fn sign(call: Call) -> Result<Response, Error> {
    let body = call.content().cloned().ok_or_else(|| Error::refused(400, "M_NOT_JSON", "This needs a JSON body."))?;
    let raw = RawPdu::of(body).map_err(|unfit| Error::bad_json(format!("This is no event: {unfit}.")))?;
    // A create event of the newest versions names no room; nobody can have asked a policy server for it before there is one.
    let id = raw.room_id().and_then(|id| RoomId::parse(id).ok()).ok_or_else(|| Error::bad_json("The event names no room."))?;
    let room = protected_room(&call.server, &id).await?;
    check_acl(&call.server, &room, call.origin()?).await?;
    let event = raw.of_format(&room.version).map_err(|unfit| Error::bad_json(format!("This is no event of the room: {unfit}.")))?;
    check(&call.server, &room, &event).await?;
    Ok(Response::ok(&signed_here(&call.server.identity, event.pdu(), &room.version)?))
}

/// The room, if this server is in it and the room has made it its policy server, by the key that it has as such.
async fn protected_room(server: &Server, id: &RoomId) -> Result<Rc<Room>, Error> {
    let unknown = || Error::not_found("This server knows no such room, or is not its policy server.");
    let room = server.rooms.room(id).await?.ok_or_else(unknown)?;
    let current = room.head().current;
    let policy = server.rooms.ask(&room, |view| {
        let event = current.event(view, &StateEventType::from("m.room.policy"), "")?;
        event.map(|event| view.event(event)).transpose()
    });
    let policy: Value = policy.await?.map(|event| event.pdu.content_as()).unwrap_or_default();
    let names = policy.get("via").and_then(Value::as_str) == Some(server.name());
    let key = policy.pointer("/public_keys/ed25519").and_then(Value::as_str);
    let is_ours = names && key == Some(&server.identity.policy_key().public());
    if is_ours && server.rooms.is_resident(&room, server.identity.server_name()).await? { Ok(room) } else { Err(unknown()) }
}

/// Refuses what the room does not allow by now, even if it did where the event has its place.
async fn check(server: &Server, room: &Rc<Room>, event: &CheckedPdu) -> Result<(), Error> {
    let pdu = event.pdu();
    let refused = |why: &str| Error::refused(400, "M_FORBIDDEN", format!("This event is not recommended: {why}."));
    if pdu.is_state("m.room.policy", "") {
        return Err(refused("nobody is asked about the policy server itself"));
    }
    check_acl(server, room, pdu.sender.server_name()).await.map_err(|_| refused("the room shuts its server out"))?;
    let current = room.head().current;
    let allowed = server.rooms.ask(room, |view: &View<'_>| room.allows(view, pdu, current)).await?;
    allowed.map_err(|why| refused(&why))
}
