//! Sending message events to a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>

use std::rc::Rc;

use ruma::{EventId, UserId};
use serde_json::{Map, Value, json};

use super::{
    Access, Call, Route, handler,
    redaction::{REDACTION, check_redaction, redaction},
};
use crate::{
    error::Error,
    event::NewEvent,
    http::{Method, Response},
    presence,
    room_server::{Draft, Room, Undecided, relation::Relation},
    transactions::Begun,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Put,
    path: "/_matrix/client/{version}/rooms/{roomId}/send/{eventType}/{txnId}",
    access: Access::Token,
    handler: handler!(send),
}];

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>
async fn send(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let event = new_event(call.user()?, call.param(1), call.json_object()?)?;
    let path = format!("rooms/{}/send/{}", room.id, call.param(1));
    send_once(&call, &room, event, path, call.param(2)).await
}

/// Redactions may be sent like other events, and name their target in the content in all room versions.
fn new_event(sender: &UserId, kind: &str, mut content: Map<String, Value>) -> Result<NewEvent, Error> {
    if kind != REDACTION {
        return Ok(NewEvent::message(sender.to_owned(), kind, content.into()));
    }
    let target = content.remove("redacts").and_then(|target| EventId::parse(target.as_str()?).ok());
    let target = target.ok_or_else(|| Error::bad_json("redacts must be an event ID."))?;
    Ok(redaction(sender, target, content))
}

/// Sends an event, or answers what was answered when the client sent it first.
///
/// `path` is what stands before the transaction ID in the request.
pub(super) async fn send_once(call: &Call, room: &Rc<Room>, event: NewEvent, path: String, id: &str) -> Result<Response, Error> {
    let (server, session) = (&call.server, call.caller()?);
    let transaction = match server.transactions.begin(session, path, id).await? {
        Begun::Answered(body) => return Ok(Response::ok(&body)),
        Begun::New(transaction) => transaction,
    };
    presence::note_activity(server, &session.user).await?;
    // Whoever has sent what they typed types no more; readers are woken for both at once.
    server.typing.borrow_mut().set(room.number, session.user.clone(), None);
    let sent_by = (session.device.clone(), id.to_owned());
    let relation = Relation::of_new(&event.content);
    let body = server.rooms.transact_in(room, |draft| {
        match (&event.redacts, &relation) {
            (Some(target), _) => check_redaction(draft, &event.sender, target)?,
            (None, Some(relation)) => check_relation(draft, &event, relation)?,
            (None, None) => {}
        }
        let event_id = draft.add(event.clone(), Some(sent_by.clone()))?;
        let body = json!({ "event_id": event_id });
        transaction.store(&body, draft.rows());
        Ok(body)
    });
    let body = body.await?;
    transaction.remember(body.clone());
    Ok(Response::ok(&body))
}

fn check_relation(draft: &Draft<'_>, event: &NewEvent, relation: &Relation) -> Result<(), Undecided> {
    let view = draft.view();
    // <https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations>
    if let Some(key) = relation.annotated_key(draft.room().number, &event.kind.to_string(), &event.sender)
        && view.row(&key)?.is_some()
    {
        return Err(Error::refused(400, "M_DUPLICATE_ANNOTATION", "You have annotated this event alike before.").into());
    }
    // <https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships>
    if relation.rel_type == "m.thread"
        && let Some(root) = view.event_by_id(&relation.event_id)?
        && Relation::of(root.pdu.content.get()).is_some()
    {
        return Err(Error::refused(400, "M_UNKNOWN", "A thread cannot begin at an event that relates to another.").into());
    }
    Ok(())
}
