//! Auth chains: what authorises an event, what authorises that, and so on to the room's beginning.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorisation-information>

use std::{rc::Rc, sync::Arc};

use ruma::{EventId, OwnedEventId};

use super::{
    Access, Call, Route, handler,
    pdus::{CHUNK, ObjectWriter},
};
use crate::{
    error::Error,
    http::{Method, Response},
    ordered::OrderedSet,
    room_server::{Room, stored::StoredEvent},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/federation/v1/event_auth/{roomId}/{eventId}",
    access: Access::Signed,
    handler: handler!(event_auth),
}];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid>
async fn event_auth(call: Call) -> Result<Response, Error> {
    let room = call.shared_room(0).await?;
    let event = call.server.rooms.event_by_id(&room, &call.event_id(1)?).await?;
    let event = event.filter(|event| !event.pdu.rejected).ok_or_else(|| Error::not_found("This server does not know that event."))?;
    let mut chain = AuthChain::default();
    chain.follow(&event, &room);
    let mut body = ObjectWriter::new();
    chain.write_events(&call.server, &room, &mut body).await?;
    Ok(Response::bytes(200, "application/json", body.finish()))
}

/// The auth chain of some events, read piece by piece.
#[derive(Default)]
pub(super) struct AuthChain {
    /// All that was reached, and what is left out of the chain.
    reached: OrderedSet<OwnedEventId>,
    /// What was reached and not read yet.
    waiting: Vec<OwnedEventId>,
}

impl AuthChain {
    /// Makes what authorises this event part of the chain.
    pub(super) fn follow(&mut self, event: &StoredEvent, room: &Room) {
        let implied = implied_create_event(event, room);
        for id in event.pdu.auth_events.iter().cloned().chain(implied) {
            if self.reached.insert(id.clone()) {
                self.waiting.push(id);
            }
        }
    }

    /// Leaves an event out of the chain, though not what authorises it.
    pub(super) fn leave_out(&mut self, id: &EventId) {
        self.reached.insert(id.to_owned());
        self.waiting.retain(|waiting| waiting != id);
    }

    /// Further events of the chain; none when all were read.
    pub(super) async fn next(&mut self, server: &Server, room: &Rc<Room>) -> Result<Vec<Arc<StoredEvent>>, Error> {
        while !self.waiting.is_empty() {
            let ids = self.waiting.split_off(self.waiting.len().saturating_sub(CHUNK));
            let events = server.rooms.ask(room, |view| view.events_by_id(ids.iter())).await?;
            let events: Vec<_> = events.into_iter().flatten().filter(|event| !event.pdu.rejected).collect();
            events.iter().for_each(|event| self.follow(event, room));
            if !events.is_empty() {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Writes the rest of the chain as `auth_chain`.
    pub(super) async fn write_events(mut self, server: &Server, room: &Rc<Room>, body: &mut ObjectWriter) -> Result<(), Error> {
        body.begin_events("auth_chain");
        loop {
            let events = self.next(server, room).await?;
            if events.is_empty() {
                break;
            }
            events.iter().for_each(|event| body.event(&event.pdu.json));
        }
        body.end_events();
        Ok(())
    }
}

/// The create event, which rooms whose ID is its hash do not list among the authorising events.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules>
fn implied_create_event(event: &StoredEvent, room: &Room) -> Option<OwnedEventId> {
    if !room.version.room_id_is_create_hash() || event.pdu.is_state("m.room.create", "") {
        return None;
    }
    EventId::parse(format!("${}", event.pdu.room_id.strip_sigil())).ok()
}
