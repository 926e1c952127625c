//! Receipts and read markers.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#receipts>

use std::{cell::Cell, rc::Rc, sync::Arc};

use ruma::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    account_data,
    error::Error,
    http::{Method, Response},
    presence,
    receipts::{self, MAIN, NewReceipt, READ, READ_PRIVATE},
    room_server::{Room, relation::thread_of, stored::StoredEvent},
    sight::Sight,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/rooms/{roomId}/receipt/{receiptType}/{eventId}",
        access: Access::Token,
        handler: handler!(receipt),
    },
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/rooms/{roomId}/read_markers",
        access: Access::Token,
        handler: handler!(read_markers),
    },
];

/// The type of the account data that holds the fully read marker.
const FULLY_READ: &str = "m.fully_read";

#[derive(Deserialize)]
struct ReadMarkers {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<String>,
    #[serde(rename = "m.read")]
    read: Option<String>,
    #[serde(rename = "m.read.private")]
    read_private: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid>
async fn receipt(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let (kind, event_id) = (call.param(1), call.event_id(2)?);
    let thread = thread_id(call.json_object()?.get("thread_id"))?;
    let reader = Reader::of(&call, &room).await?;
    let event = reader.event(&event_id).await?;
    let kind = match kind {
        READ => READ,
        READ_PRIVATE => READ_PRIVATE,
        FULLY_READ if thread.is_none() => {
            reader.mark_fully_read(&event).await?;
            return Ok(Response::empty());
        }
        FULLY_READ => return Err(Error::invalid_param("m.fully_read is for the whole room, not for a thread.")),
        _ => return Err(Error::invalid_param(format!("{kind:?} is no type of receipt."))),
    };
    if let Some(thread) = &thread {
        reader.check_thread(&event, thread).await?;
    }
    presence::note_activity(&call.server, call.user()?).await?;
    receipts::add(&call.server, &room, call.user()?, vec![NewReceipt::of(kind, thread, &event)]).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>
async fn read_markers(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let markers: ReadMarkers = call.body()?;
    let reader = Reader::of(&call, &room).await?;
    let mut receipts = Vec::new();
    for (kind, event_id) in [(READ, markers.read), (READ_PRIVATE, markers.read_private)] {
        if let Some(event_id) = event_id {
            receipts.push(NewReceipt::of(kind, None, &*reader.event(&parse(&event_id)?).await?));
        }
    }
    if let Some(event_id) = markers.fully_read {
        let event = reader.event(&parse(&event_id)?).await?;
        reader.mark_fully_read(&event).await?;
    }
    if !receipts.is_empty() {
        receipts::add(&call.server, &room, call.user()?, receipts).await?;
    }
    Ok(Response::empty())
}

fn parse(event_id: &str) -> Result<OwnedEventId, Error> {
    EventId::parse(event_id).map_err(|_| Error::invalid_param(format!("{event_id:?} is no event ID.")))
}

fn thread_id(given: Option<&Value>) -> Result<Option<String>, Error> {
    match given {
        None => Ok(None),
        Some(Value::String(thread)) if !thread.is_empty() => Ok(Some(thread.clone())),
        Some(_) => Err(Error::invalid_param("thread_id must be a string that is not empty.")),
    }
}

/// A member of a room who reads.
struct Reader<'a> {
    call: &'a Call,
    room: &'a Rc<Room>,
    sight: Sight<'a>,
}

impl<'a> Reader<'a> {
    async fn of(call: &'a Call, room: &'a Rc<Room>) -> Result<Self, Error> {
        let sight = Sight::of(&call.server, room, call.user()?).await?;
        if sight.is_joined() { Ok(Self { call, room, sight }) } else { Err(Error::forbidden("You are not in that room.")) }
    }

    async fn event(&self, id: &EventId) -> Result<Arc<StoredEvent>, Error> {
        let found = self.call.server.rooms.ask(self.room, |view| {
            let Some(event) = view.event_by_id(id)? else { return Ok(None) };
            Ok(self.sight.sees(view, &event)?.then_some(event))
        });
        found.await?.ok_or_else(|| Error::not_found("There is no such event in this room."))
    }

    /// A thread's root is in the main timeline; as the thread's first event it may be read in the thread as well.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
    async fn check_thread(&self, event: &StoredEvent, thread: &str) -> Result<(), Error> {
        let root = self.call.server.rooms.ask(self.room, |view| thread_of(view, event)).await?;
        let fits = match &root {
            Some(root) => root == thread,
            None => thread == MAIN || event.pdu.event_id == thread,
        };
        if fits { Ok(()) } else { Err(Error::invalid_param("The event is not in that thread.")) }
    }

    /// Moves the fully read marker, if that is forward.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers>
    async fn mark_fully_read(&self, event: &StoredEvent) -> Result<(), Error> {
        let (server, user, room) = (&self.call.server, self.call.user()?, Some(&*self.room.id));
        loop {
            let marked = account_data::read(server, user, room, FULLY_READ).await?;
            if self.is_behind(event, marked.as_ref()).await? {
                return Ok(());
            }
            // Where another request has moved the marker meanwhile, it is looked at again.
            let is_same = Cell::new(false);
            let move_on = |content: Option<Value>| {
                is_same.set(content == marked);
                Ok(is_same.get().then(|| json!({ "event_id": event.pdu.event_id })))
            };
            account_data::change(server, user, room, FULLY_READ, move_on).await?;
            if is_same.get() {
                return Ok(());
            }
        }
    }

    /// Whether the event is no further on than the marker that there is.
    async fn is_behind(&self, event: &StoredEvent, marked: Option<&Value>) -> Result<bool, Error> {
        let Some(id) = marked.and_then(|content| EventId::parse(content.get("event_id")?.as_str()?).ok()) else { return Ok(false) };
        let marked = self.call.server.rooms.event_by_id(self.room, &id).await?;
        Ok(marked.is_some_and(|marked| marked.decided.position >= event.decided.position))
    }
}
