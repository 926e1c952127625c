//! What joining, leaving and knocking from elsewhere have in common: a template is asked for, signed, and handed in.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::{rc::Rc, sync::Arc};

use ruma::{CanonicalJsonObject, RoomId, UserId, events::StateEventType};
use serde_json::{Value, json};

use super::Call;
use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, RawPdu, RoomVersion, Unfit},
    federation_receiver::{Unchecked, check, fill_before},
    http::Response,
    policy_servers::must_be_recommended,
    room_server::{
        Draft, Input, InputKind, Room, Undecided, Verdict,
        stored::{Status, StoredEvent},
    },
    server::Server,
};

/// What a user of another server wants to become in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Join,
    Knock,
    Leave,
}

/// The room version of a caller that does not say which it supports.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
const OLDEST_VERSION: &str = "1";

impl Wish {
    pub(super) fn membership(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
        }
    }
}

/// Refuses a caller that does not support the room's version.
pub(super) fn check_version(call: &Call, room: &Room) -> Result<(), Error> {
    let version = room.version.id.as_str();
    let mut supported = call.query_all("ver").peekable();
    let is_supported = if supported.peek().is_none() { version == OLDEST_VERSION } else { supported.any(|one| one == version) };
    if is_supported { Ok(()) } else { Err(incompatible(version)) }
}

/// Refuses a room version that one of two servers does not know.
pub(super) fn incompatible(version: &str) -> Error {
    let message = format!("The room has version {version}, which not both servers know.");
    Error::refused(400, "M_INCOMPATIBLE_ROOM_VERSION", message).with("room_version", version)
}

/// The template of a membership event, if the room allows it.
pub(super) async fn template(server: &Server, room: &Rc<Room>, user: &UserId, content: Value) -> Result<CanonicalJsonObject, Error> {
    let event = NewEvent::state(user.to_owned(), "m.room.member", user.as_str(), content);
    server.rooms.transact_in(room, |draft| draft.template(event.clone())).await
}

/// The answer that holds a template.
pub(super) fn template_answer(room: &Room, template: &CanonicalJsonObject) -> Response {
    Response::ok(&json!({ "room_version": room.version.id, "event": template }))
}

/// The event that the body hands in, signed by the origin and, where it has to be, by this server.
pub(super) async fn handed_in(call: &Call, room: &Room, wish: Wish) -> Result<CheckedPdu, Error> {
    let body = call.content().cloned().ok_or_else(|| Error::refused(400, "M_NOT_JSON", "This needs a JSON body."))?;
    let mut event = RawPdu::of(body).map_err(unfit)?;
    if event.event_id(&room.version).map_err(unfit)? != call.event_id(1)? {
        return Err(Error::invalid_param("The event has another ID than the path says."));
    }
    sign_as_authorising_server(&call.server, &mut event, &room.version)?;
    let event = checked(&call.server, event, (&room.id, &room.version)).await?;
    check_member_event(call, room, &event, wish)?;
    Ok(event)
}

/// Adds this server's signature, which a restricted room wants of the server whose user has authorised the join.
///
/// <https://spec.matrix.org/v1.19/rooms/v8/#authorization-rules>
fn sign_as_authorising_server(server: &Server, event: &mut RawPdu, version: &RoomVersion) -> Result<(), Error> {
    let own_name = server.identity.server_name().as_str();
    let wanted = event.signers(version).map_err(unfit)?.iter().any(|signer| signer == own_name);
    if wanted { event.sign(version, &server.identity).map_err(unfit) } else { Ok(()) }
}

/// The event with its signatures and hashes checked.
pub(super) async fn checked(server: &Server, event: RawPdu, room: (&RoomId, &RoomVersion)) -> Result<CheckedPdu, Error> {
    let no_key = || Error::invalid_param("This event cannot be accepted: a key that it was signed by cannot be had.");
    match check(server, room, vec![event]).await.pop() {
        Some(Ok(event)) => Ok(event),
        Some(Err(Unchecked::Unfit(why))) => Err(unfit(why)),
        Some(Err(Unchecked::NoKey)) | None => Err(no_key()),
    }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid>
fn check_member_event(call: &Call, room: &Room, event: &CheckedPdu, wish: Wish) -> Result<(), Error> {
    let pdu = event.pdu();
    let membership = wish.membership();
    let wrong = if pdu.room_id != room.id {
        "is of another room"
    } else if pdu.kind.to_string() != "m.room.member" {
        "is no m.room.member"
    } else if pdu.content_str("membership").as_deref() != Some(membership) {
        "has another membership"
    } else if pdu.sender.server_name() != call.origin()? {
        "is not of a user of your server"
    } else if pdu.state_key.as_deref() != Some(pdu.sender.as_str()) {
        "is about another user than its sender"
    } else {
        return Ok(());
    };
    Err(Error::invalid_param(format!("The event {wrong}; it must be the {membership} of one of your users.")))
}

pub(super) fn unfit(unfit: Unfit) -> Error {
    match unfit {
        Unfit::Json(_) => Error::bad_json(format!("This is no event: {unfit}.")),
        Unfit::TooLarge(_) | Unfit::Format(_) | Unfit::Signature(_) => {
            Error::invalid_param(format!("This event cannot be accepted: {unfit}."))
        }
    }
}

/// Takes the event into the room and makes it known to the other servers there. What the room does not allow is not kept. Another
/// server may have given the event its place: what is missing before it is asked for, as with any event.
pub(super) async fn admit(server: &Server, room: &Rc<Room>, event: &CheckedPdu) -> Result<Arc<StoredEvent>, Error> {
    let event = must_be_recommended(server, room, event.clone()).await?;
    let input = Input { event: event.clone(), kind: InputKind::New, state_before: None };
    let mut is_admitted = server.rooms.transact_in(room, |draft| decide(draft, &input, &[])).await?;
    if !is_admitted {
        let authorising = fill_before(server, room, event.pdu().sender.server_name(), &event).await?;
        is_admitted = server.rooms.transact_in(room, |draft| decide(draft, &input, &authorising)).await?;
    }
    if !is_admitted {
        return Err(Error::not_found("This server does not know the events that this one builds on."));
    }
    let stored = server.rooms.event_by_id(room, &event.pdu().event_id).await?;
    stored.ok_or_else(|| Error::bug("an event that was just accepted is gone"))
}

/// Whether the event is in the room now; it is not where something before it is missing. What authorises it is stored where it is.
fn decide(draft: &mut Draft<'_>, input: &Input, authorising: &[CheckedPdu]) -> Result<bool, Undecided> {
    let pdu = input.event.pdu();
    let refusal = || Error::forbidden("The room does not allow this.");
    match draft.sift(authorising, std::slice::from_ref(input))?.pop().flatten().ok_or_else(refusal)? {
        Verdict::Stored(Status::Accepted) => {
            draft.pass_on(pdu.event_id.clone());
            Ok(true)
        }
        Verdict::Known => {
            let known = draft.view().event_by_id(&pdu.event_id)?;
            let is_accepted = known.is_some_and(|known| known.decided.status == Status::Accepted);
            if is_accepted { Ok(true) } else { Err(refusal().into()) }
        }
        Verdict::Stored(_) => Err(refusal().into()),
        Verdict::Missing { .. } if draft.is_refused_at_once(&input.event)? => Err(refusal().into()),
        Verdict::Missing { .. } => Ok(false),
    }
}

/// A user's membership in the room now.
pub(super) async fn membership(server: &Server, room: &Room, user: &UserId) -> Result<Option<String>, Error> {
    let current = room.head().current;
    let member = server.rooms.ask(room, |view| {
        let member = current.event(view, &StateEventType::RoomMember, user.as_str())?;
        member.map(|member| view.event(member)).transpose()
    });
    Ok(member.await?.and_then(|member| member.pdu.content_str("membership")))
}
