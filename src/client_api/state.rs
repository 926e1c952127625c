//! Room state: reading and setting it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room>

mod canonical_alias;

use std::rc::Rc;

use ruma::{OwnedEventId, OwnedUserId, UserId, events::StateEventType};
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler, membership, readable_state::readable_state};
use crate::{
    client_event::{RoomId, client_event, state_event},
    erasure::content_for,
    error::Error,
    event::NewEvent,
    federation::{self, for_client},
    http::{Method, Response},
    room_server::{Draft, Need, PowerLevels, Room, Undecided, View, stored::StoredEvent, view::collect},
};

const WITH_KEY: &str = "/_matrix/client/{version}/rooms/{roomId}/state/{eventType}/{stateKey}";
const WITHOUT_KEY: &str = "/_matrix/client/{version}/rooms/{roomId}/state/{eventType}";

pub(super) const ROUTES: &[Route] = &[
    route(Method::Get, "/_matrix/client/{version}/rooms/{roomId}/state", handler!(all_state)),
    route(Method::Get, WITH_KEY, handler!(state)),
    route(Method::Get, WITHOUT_KEY, handler!(state)),
    route(Method::Put, WITH_KEY, handler!(set_state)),
    route(Method::Put, WITHOUT_KEY, handler!(set_state)),
];

const fn route(method: Method, path: &'static str, handler: super::Handler) -> Route {
    Route { method, path, access: Access::Token, handler }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate>
async fn all_state(call: Call) -> Result<Response, Error> {
    let room = call.room_of_member(0).await?;
    let state = readable_state(&call.server, &room, call.user()?).await?;
    let viewer = call.viewer()?;
    let render = |view: &View<'_>| {
        let events = view.events(state.entries(view)?.iter().map(|entry| entry.event))?;
        collect(events.iter(), |event| state_event(view, event, viewer, RoomId::Named))
    };
    Ok(Response::ok(&call.server.rooms.ask(&room, render).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey>
async fn state(call: Call) -> Result<Response, Error> {
    let whole_event = match call.query("format") {
        None | Some("content") => false,
        Some("event") => true,
        Some(other) => return Err(Error::invalid_param(format!("{other:?} is no format of an event."))),
    };
    let room = call.room_of_member(0).await?;
    let state = readable_state(&call.server, &room, call.user()?).await?;
    let (kind, viewer) = (StateEventType::from(call.param(1)), call.viewer()?);
    let find = |view: &View<'_>| {
        let Some(number) = state.event(view, &kind, call.param(2))? else { return Ok(None) };
        let event = view.event(number)?;
        let found = if whole_event {
            Response::ok(&client_event(view, &event, viewer, RoomId::Named)?)
        } else {
            Response::ok(&content_for(view, &event, viewer.user)?)
        };
        Ok(Some(found))
    };
    let found = call.server.rooms.ask(&room, find).await?;
    found.ok_or_else(|| Error::not_found("The room has no such state."))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>
async fn set_state(call: Call) -> Result<Response, Error> {
    let content = call.json_object()?;
    let room = call.room_of_member(0).await?;
    let change = Change { kind: call.param(1), state_key: call.param(2), content: &content };
    change.check()?;
    let event_id = match change.invited().filter(|invited| invited.server_name() != call.server.name()) {
        Some(invited) => change.make_with_server_of(&invited, &room, &call).await?,
        None => call.server.rooms.transact_in(&room, |draft| change.make(draft, &call)).await?,
    };
    Ok(Response::ok(&json!({ "event_id": event_id })))
}

struct Change<'a> {
    kind: &'a str,
    state_key: &'a str,
    content: &'a Map<String, Value>,
}

impl Change<'_> {
    fn check(&self) -> Result<(), Error> {
        if self.kind == "m.room.create" {
            return Err(Error::forbidden("A room's creation cannot be changed."));
        }
        Ok(())
    }

    /// Whom the change invites.
    fn invited(&self) -> Option<OwnedUserId> {
        let invites = self.kind == "m.room.member" && self.content.get("membership").and_then(Value::as_str) == Some("invite");
        UserId::parse(self.state_key).ok().filter(|_| invites)
    }

    fn make(&self, draft: &mut Draft<'_>, call: &Call) -> Result<OwnedEventId, Undecided> {
        let user = call.user()?;
        let current = draft.state(&StateEventType::from(self.kind), self.state_key)?;
        if let Some(current) = &current
            && self.repeats(current, user)
            && may_send(draft, user, self.kind)?
        {
            return Ok(current.pdu.event_id.clone());
        }
        let event_id = draft.add(NewEvent::state(user.to_owned(), self.kind, self.state_key, Value::Object(self.content.clone())), None)?;
        if self.kind == "m.room.canonical_alias" {
            let before = current.map(|event| event.pdu.content_as()).unwrap_or_default();
            canonical_alias::check(draft, call.server.identity.server_name(), &before, self.content)?;
        }
        if let Some(invited) = self.invited() {
            membership::check_invitation(draft, user, &invited)?;
        }
        Ok(event_id)
    }

    /// Makes the invitation of another server's user, who is asked by that server.
    async fn make_with_server_of(&self, invited: &UserId, room: &Rc<Room>, call: &Call) -> Result<OwnedEventId, Error> {
        let user = call.user()?;
        let decide = |draft: &mut Draft<'_>| {
            let current = draft.state(&StateEventType::RoomMember, self.state_key)?;
            if current.is_some_and(|current| self.repeats(&current, user)) {
                return Ok(None);
            }
            Ok(Some(NewEvent::state(user.to_owned(), self.kind, self.state_key, Value::Object(self.content.clone()))))
        };
        match federation::invite(&call.server, room, invited, decide).await.map_err(for_client)? {
            Some(event_id) => Ok(event_id),
            None => call.server.rooms.transact_in(room, |draft| self.make(draft, call)).await,
        }
    }

    /// What is so already, by the same hand, need not be said again.
    fn repeats(&self, current: &StoredEvent, user: &UserId) -> bool {
        current.pdu.sender == user && current.pdu.content_as::<Map<String, Value>>() == *self.content
    }
}

fn may_send(draft: &Draft<'_>, user: &UserId, kind: &str) -> Result<bool, Need> {
    let levels = PowerLevels::of(draft.view(), &draft.room().version, draft.current())?;
    Ok(draft.membership(user)?.as_deref() == Some("join") && levels.user(user) >= levels.event(kind, true))
}
