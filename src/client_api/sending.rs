//! Sending message events to a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>

use std::rc::Rc;

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    event::NewEvent,
    http::{Method, Response},
    room_server::{Draft, Room, Undecided},
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
    let event = NewEvent::message(call.user()?.to_owned(), call.param(1), call.json_object()?.into());
    let path = format!("rooms/{}/send/{}", room.id, call.param(1));
    send_once(&call, &room, event, path, call.param(2), |_| Ok(())).await
}

/// Sends an event, or answers what was answered when the client sent it first.
///
/// `check` may refuse it for reasons that the room's own rules do not know.
pub(super) async fn send_once(
    call: &Call,
    room: &Rc<Room>,
    event: NewEvent,
    path: String,
    transaction_id: &str,
    mut check: impl FnMut(&Draft<'_>) -> Result<(), Undecided>,
) -> Result<Response, Error> {
    let (server, session) = (&call.server, call.caller()?);
    let transaction = match server.transactions.begin(session, path, transaction_id).await? {
        Begun::Answered(body) => return Ok(Response::ok(&body)),
        Begun::New(transaction) => transaction,
    };
    // Whoever has sent what they typed types no more; readers are woken for both at once.
    server.typing.borrow_mut().set(room.number, session.user.clone(), None);
    let sent_by = (session.device.clone(), transaction_id.to_owned());
    let body = server.rooms.transact_in(room, |draft| {
        check(draft)?;
        let event_id = draft.add(event.clone(), Some(sent_by.clone()))?;
        let body = json!({ "event_id": event_id });
        transaction.store(&body, draft.rows());
        Ok(body)
    });
    let body = body.await?;
    transaction.remember(body.clone());
    Ok(Response::ok(&body))
}
