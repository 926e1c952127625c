//! Sending message events to a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room>

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

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
    room_server::{Draft, Room, RoomNumber, Undecided, relation::Relation},
    server::Server,
    transactions::{Begun, Transaction},
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
    let message = Message { event, sent_by, transaction, answer: Cell::default() };
    let body = message.send(server, room).await?;
    Ok(Response::ok(&body))
}

/// So many messages are sent to a room in one commit: few enough to be signed while others wait.
const MOST_TOGETHER: usize = 16;

/// Messages that wait for their room, where each costs a commit of the disk. Who comes first sends for all.
#[derive(Default)]
pub(crate) struct Outbox(RefCell<Vec<(RoomNumber, Rc<Message>)>>);

/// A message on its way.
struct Message {
    event: NewEvent,
    sent_by: (String, String),
    transaction: Transaction,
    /// What is to be answered, once somebody has sent it.
    answer: Cell<Option<Value>>,
}

impl Message {
    async fn send(self, server: &Server, room: &Rc<Room>) -> Result<Value, Error> {
        let relation = Relation::of_new(&self.event.content);
        let message = Rc::new(self);
        // What stands by itself can be decided upon with others; what refers to another event may depend on them.
        let stands_alone = message.event.redacts.is_none() && relation.is_none();
        let body = match stands_alone.then(|| server.outbox.add(room.number, &message)) {
            Some(()) => send_waiting(server, room, &message).await?,
            None => None,
        };
        let body = match body {
            Some(body) => body,
            None => server.rooms.transact_in(room, |draft| message.add_to(draft, relation.as_ref())).await?,
        };
        message.transaction.remember(body.clone());
        Ok(body)
    }

    fn add_to(&self, draft: &mut Draft<'_>, relation: Option<&Relation>) -> Result<Value, Undecided> {
        match (&self.event.redacts, relation) {
            (Some(target), _) => check_redaction(draft, &self.event.sender, target)?,
            (None, Some(relation)) => check_relation(draft, &self.event, relation)?,
            (None, None) => {}
        }
        let event_id = draft.add(self.event.clone(), Some(self.sent_by.clone()))?;
        let body = json!({ "event_id": event_id });
        self.transaction.store(&body, draft.rows());
        Ok(body)
    }
}

impl Outbox {
    fn add(&self, room: RoomNumber, message: &Rc<Message>) {
        self.0.borrow_mut().push((room, Rc::clone(message)));
    }

    fn has(&self, message: &Rc<Message>) -> bool {
        self.0.borrow().iter().any(|(_, other)| Rc::ptr_eq(other, message))
    }

    fn remove(&self, message: &Rc<Message>) {
        self.0.borrow_mut().retain(|(_, other)| !Rc::ptr_eq(other, message));
    }

    /// The first messages for a room, as long as this one waits. What others have sent must not be sent again because of those
    /// that came later.
    fn take_with(&self, room: RoomNumber, message: &Rc<Message>) -> Vec<Rc<Message>> {
        let mut taken = Vec::new();
        if !self.has(message) {
            return taken;
        }
        self.0.borrow_mut().retain(|(of, message)| {
            let is_taken = *of == room && taken.len() < MOST_TOGETHER;
            if is_taken {
                taken.push(Rc::clone(message));
            }
            !is_taken
        });
        taken
    }
}

/// Sends what waits for the room in one commit, unless whoever held the room's lock before has done it. `None` where several
/// messages went together and failed together: then each has to go by itself.
async fn send_waiting(server: &Server, room: &Rc<Room>, message: &Rc<Message>) -> Result<Option<Value>, Error> {
    loop {
        let mut together = None;
        let bodies = server.rooms.transact_in(room, |draft| {
            let together = together.get_or_insert_with(|| server.outbox.take_with(room.number, message));
            together.iter().map(|message| message.add_to(draft, None)).collect::<Result<Vec<_>, _>>()
        });
        let bodies = match bodies.await {
            Ok(bodies) => bodies,
            Err(error) => {
                if let Some(body) = message.answer.take() {
                    return Ok(Some(body));
                }
                server.outbox.remove(message);
                // Where others were with it, the fault may be one of theirs.
                let is_own = together.iter().flatten().all(|other| Rc::ptr_eq(other, message));
                return if is_own { Err(error) } else { Ok(None) };
            }
        };
        for (message, body) in together.iter().flatten().zip(bodies) {
            message.answer.set(Some(body));
        }
        let body = message.answer.take();
        // Others may have been before it, more than go together.
        if body.is_some() || !server.outbox.has(message) {
            return Ok(body);
        }
    }
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
