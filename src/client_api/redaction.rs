//! Redacting events.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#redactions>

use ruma::{EventId, OwnedEventId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Access, Call, Route, handler, sending::send_once};
use crate::{
    error::Error,
    event::NewEvent,
    gather::Gather,
    http::{Method, Response},
    room_server::{Draft, PowerLevels, Undecided},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Put,
    path: "/_matrix/client/{version}/rooms/{roomId}/redact/{eventId}/{txnId}",
    access: Access::Token,
    handler: handler!(redact),
}];

/// The type of a redaction.
pub(super) const REDACTION: &str = "m.room.redaction";

#[derive(Deserialize)]
struct Redact {
    reason: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>
async fn redact(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let target = call.event_id(1)?;
    let Redact { reason } = call.body()?;
    let content: Map<_, _> = reason.into_iter().map(|reason| ("reason".to_owned(), Value::from(reason))).gather();
    let event = redaction(call.user()?, target.clone(), content);
    let path = format!("rooms/{}/redact/{target}", room.id);
    send_once(&call, &room, event, path, call.param(2)).await
}

/// A redaction of an event.
pub(super) fn redaction(sender: &UserId, target: OwnedEventId, content: Map<String, Value>) -> NewEvent {
    NewEvent { redacts: Some(target), ..NewEvent::message(sender.to_owned(), REDACTION, content.into()) }
}

/// Users redact their own events, and those of others with the power to. Between servers a redaction counts as well if its
/// sender's server sent the target; here one user's server is another's too, so that is not enough.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>
pub(super) fn check_redaction(draft: &Draft<'_>, sender: &UserId, target: &EventId) -> Result<(), Undecided> {
    let unknown = || Error::not_found("There is no such event in this room.");
    let target = draft.view().event_by_id(target)?.filter(|event| event.is_shown()).ok_or_else(unknown)?;
    let levels = PowerLevels::of(draft.view(), &draft.room().version, draft.current())?;
    if target.pdu.sender == sender || levels.user(sender) >= levels.action("redact") {
        return Ok(());
    }
    Err(Error::forbidden("You may redact only what you have sent yourself.").into())
}
