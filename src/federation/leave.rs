//! Leaving a room that this server is not in: declining an invitation, or taking back a knock.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>

use std::{rc::Rc, sync::Arc};

use ruma::ServerName;
use serde_json::json;

use super::{
    Candidates, OwnMembership,
    candidates::is_unrecognized,
    target::path,
    template::{body_of, fresh_localpart},
};
use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Placement},
    room_server::{Room, stored::StoredEvent},
    server::Server,
};

/// Leaves a room that this server is not in, and has a server that is in it say so there.
///
/// Who wants to leave has left, whether or not anybody is there to be told: then the event is known here alone.
pub(crate) async fn leave(
    server: &Server,
    own: OwnMembership<'_>,
    room: &Rc<Room>,
    last: &StoredEvent,
    candidates: &Candidates,
) -> Result<(), Error> {
    let event = match candidates.first_to_help(async |peer| leave_through(server, own, peer).await).await {
        Ok(event) => event,
        Err(error @ Error::Storage(_)) => return Err(error),
        Err(_) => untold(server, own, room, last)?,
    };
    server.rooms.transact_in(room, |draft| draft.note_from_outside(&event, &[])).await
}

async fn leave_through(server: &Server, own: OwnMembership<'_>, peer: &ServerName) -> Result<CheckedPdu, Error> {
    let (event, _) = own.make(server, peer, "make_leave").await?;
    let (pdu, body) = (event.pdu(), body_of(&event)?);
    let parameters = [pdu.room_id.as_str(), pdu.event_id.as_str()];
    match server.federation_client.put(peer, &path("v2/send_leave", &parameters), &body).await {
        Err(error) if is_unrecognized(&error) => {
            drop(server.federation_client.put(peer, &path("v1/send_leave", &parameters), &body).await?)
        }
        answer => drop(answer?),
    }
    Ok(event)
}

/// The event of leaving, built on nothing but the one that it answers.
fn untold(server: &Server, own: OwnMembership<'_>, room: &Room, last: &StoredEvent) -> Result<CheckedPdu, Error> {
    let last = Arc::clone(&last.pdu);
    let mut content = json!({ "membership": own.membership });
    if let (Some(reason), Some(content)) = (own.reason, content.as_object_mut()) {
        content.insert("reason".into(), reason.into());
    }
    let placement = Placement {
        room_id: Some(room.id.clone()),
        prev_events: vec![last.event_id.clone()],
        auth_events: last.auth_events.iter().cloned().chain([last.event_id.clone()]).collect(),
        depth: last.depth + 1,
        now: server.now(),
        localpart: fresh_localpart(server),
    };
    NewEvent::state(own.user.to_owned(), "m.room.member", own.user.as_str(), content).build(placement, &room.version, &server.identity)
}
