//! Invitations of this server's users by users of others.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use ruma::{CanonicalJsonValue, OwnedRoomId, UserId};
use serde_json::{Value, json, value::RawValue};

use super::{
    Access, Call, Route,
    admission::check_acl,
    handler,
    handshake::{checked, incompatible, unfit},
};
use crate::{
    account_data,
    client_event::stripped,
    error::Error,
    event::{CheckedPdu, Pdu, RawPdu, RoomVersion},
    http::{Method, Response},
    room_server::Room,
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/invite/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(invite_v1),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v2/invite/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(invite),
    },
];

/// Entries of a room's description that are looked at: more than servers send, and few enough to be checked at once.
const MAX_TOLD: usize = 50;

/// A user may have so many invitations of one server without an answer, and of all others together: names are made of keys, and
/// cost nothing.
const MAX_PENDING_OF_ORIGIN: usize = 50;
const MAX_PENDING: usize = 500;

/// An invitation as it was handed in.
struct Invitation {
    version: RoomVersion,
    event: CanonicalJsonValue,
    /// The events that describe the room.
    told: Vec<CanonicalJsonValue>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
async fn invite(call: Call) -> Result<Response, Error> {
    let body = object(&call)?;
    let name = body.get("room_version").and_then(CanonicalJsonValue::as_str);
    let name = name.ok_or_else(|| Error::missing_param("room_version must say which version the room has."))?;
    let version = RoomVersion::parse(name).ok_or_else(|| incompatible(name))?;
    let event = body.get("event").cloned().ok_or_else(|| Error::missing_param("event must be the invitation."))?;
    let told = list(body.get("invite_room_state"));
    let signed = accept(&call, Invitation { version, event, told }).await?;
    Ok(Response::ok(&json!({ "event": signed })))
}

/// The same for servers of old, whose rooms have one of the first versions.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid>
async fn invite_v1(call: Call) -> Result<Response, Error> {
    let event = object(&call)?;
    let told = list(event.get("unsigned").and_then(|unsigned| unsigned.as_object()?.get("invite_room_state")));
    let invitation = Invitation { version: RoomVersion::supported("1")?, event: CanonicalJsonValue::Object(event), told };
    let signed = accept(&call, invitation).await?;
    Ok(Response::ok(&json!([200, { "event": signed }])))
}

fn object(call: &Call) -> Result<ruma::CanonicalJsonObject, Error> {
    match call.content() {
        Some(CanonicalJsonValue::Object(object)) => Ok(object.clone()),
        _ => Err(Error::bad_json("The body must be a JSON object.")),
    }
}

fn list(value: Option<&CanonicalJsonValue>) -> Vec<CanonicalJsonValue> {
    value.and_then(CanonicalJsonValue::as_array).map(|list| list.iter().take(MAX_TOLD).cloned().collect()).unwrap_or_default()
}

/// Checks and signs the invitation, and shows it to whom it is for. Returns it with this server's signature.
async fn accept(call: &Call, invitation: Invitation) -> Result<Box<RawValue>, Error> {
    let (server, version) = (&call.server, &invitation.version);
    let mut event = RawPdu::of(invitation.event).map_err(unfit)?;
    if event.event_id(version).map_err(unfit)? != call.event_id(1)? {
        return Err(Error::invalid_param("The event has another ID than the path says."));
    }
    event.sign(version, &server.identity).map_err(unfit)?;
    let event = checked(server, event, (&call.room_id(0)?, version)).await?;
    let user = invited_user(call, event.pdu())?;
    check_invited(server, &user, &event.pdu().sender).await?;
    let told = described(server, &call.room_id(0)?, version, &invitation.told).await?;
    note(call, version, &event, &told).await?;
    Ok(event.into_pdu().json)
}

/// Whom the event invites, if it is what a server may hand in here.
fn invited_user(call: &Call, pdu: &Pdu) -> Result<ruma::OwnedUserId, Error> {
    let user = pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok());
    let user = user.filter(|user| user.server_name() == call.server.identity.server_name());
    let wrong = if pdu.room_id != call.room_id(0)? {
        "is of another room than the path says"
    } else if pdu.kind.to_string() != "m.room.member" {
        "is no m.room.member"
    } else if pdu.content_str("membership").as_deref() != Some("invite") {
        "has another membership"
    } else if pdu.sender.server_name() != call.origin()? {
        "is not of a user of your server"
    } else if let Some(user) = user {
        return Ok(user);
    } else {
        "is for no user of this server"
    };
    Err(Error::invalid_param(format!("The event {wrong}; it must be one of your users' invitation of one of this server's.")))
}

/// Refuses an invitation of nobody, or of somebody who takes none.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#invite-permission>
async fn check_invited(server: &Server, user: &UserId, sender: &UserId) -> Result<(), Error> {
    if !server.accounts.is_active(user).await? {
        return Err(Error::forbidden(format!("There is no {user} here whom {sender} could invite.")));
    }
    let config = account_data::read(server, user, None, "m.invite_permission_config").await?;
    if config.is_some_and(|config| config.get("default_action").and_then(Value::as_str) == Some("block")) {
        return Err(Error::refused(403, "M_INVITE_BLOCKED", format!("{user} takes no invitations.")));
    }
    Ok(())
}

/// The stripped state that describes the room, of what was told.
///
/// Older rooms' servers may tell stripped events, which nobody can check; in rooms whose ID is the hash of the create event, each
/// must be an event of the room, and the create event among them.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid>
async fn described(server: &Server, room: &OwnedRoomId, version: &RoomVersion, told: &[CanonicalJsonValue]) -> Result<Vec<Value>, Error> {
    let mut state = Vec::new();
    let strict = version.room_id_is_create_hash();
    for value in told {
        match event_of(server, room, version, value.clone()).await {
            Ok(event) => state.push(stripped(event.pdu())),
            Err(error) if strict => return Err(error),
            Err(_) => state.extend(unchecked(value)),
        }
    }
    let has_create = state.iter().any(|event| event.get("type").and_then(Value::as_str) == Some("m.room.create"));
    if strict && !has_create {
        return Err(Error::missing_param("invite_room_state must hold the room's m.room.create."));
    }
    Ok(state)
}

async fn event_of(server: &Server, room: &OwnedRoomId, version: &RoomVersion, value: CanonicalJsonValue) -> Result<CheckedPdu, Error> {
    let event = checked(server, RawPdu::of(value).map_err(unfit)?, (room, version)).await?;
    if event.pdu().room_id == *room && event.pdu().state_key.is_some() {
        return Ok(event);
    }
    Err(Error::invalid_param("invite_room_state holds what is no state event of the room."))
}

/// A stripped event that is one by its form.
fn unchecked(value: &CanonicalJsonValue) -> Option<Value> {
    let object = value.as_object()?;
    let text = |field: &str| object.get(field).and_then(CanonicalJsonValue::as_str);
    let (kind, state_key, sender) = (text("type")?, text("state_key")?, UserId::parse(text("sender")?).ok()?);
    let content = object.get("content").filter(|content| content.as_object().is_some())?;
    Some(json!({ "type": kind, "state_key": state_key, "sender": sender, "content": content }))
}

/// Shows the invitation to the user. In a room that this server is in, the room's own servers send it as well, as one of its
/// events; there is nothing to note then but whether they are let in.
async fn note(call: &Call, version: &RoomVersion, event: &CheckedPdu, told: &[Value]) -> Result<(), Error> {
    let server = &call.server;
    let room = server.rooms.room_or_new(&call.room_id(0)?, version).await?;
    // Until this server is in the room, its version is what somebody has said, and who joins it finds it out.
    if room.version.id != version.id && room.is_entered() {
        return Err(Error::invalid_param(format!("The room has version {}.", room.version.id)));
    }
    if server.rooms.is_resident(&room, server.identity.server_name()).await? {
        return check_acl(server, &room, call.origin()?).await;
    }
    check_number(call, &room, event.pdu()).await?;
    server.rooms.transact_in(&room, |draft| draft.note_from_outside(event, told)).await
}

/// Refuses an invitation to one room more of a user who has not answered so many others: of the same server, or at all.
async fn check_number(call: &Call, room: &Room, pdu: &Pdu) -> Result<(), Error> {
    let (server, origin) = (&call.server, call.origin()?);
    let Some(user) = pdu.state_key.as_deref().and_then(|user| UserId::parse(user).ok()) else { return Ok(()) };
    let memberships = server.rooms.memberships(&user).await?;
    let pending = memberships.iter().filter(|(_, membership)| membership.membership == "invite");
    let pending: Vec<_> = pending.map(|(number, membership)| (*number, membership.event)).collect();
    if pending.iter().any(|(number, _)| *number == room.number) {
        return Ok(());
    }
    let mut of_origin = 0;
    for (room, (_, event)) in server.rooms.rooms_by_number(&pending).await?.iter().zip(&pending) {
        let events = server.rooms.events(room, &[*event]).await?;
        of_origin += events.iter().filter(|event| event.pdu.sender.server_name() == origin).count();
    }
    if pending.len() < MAX_PENDING && of_origin < MAX_PENDING_OF_ORIGIN {
        return Ok(());
    }
    Err(Error::forbidden(format!("{user} has too many invitations to answer.")))
}
