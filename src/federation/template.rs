//! Membership events that another server helps to make: it gives the place in the graph, and this server fills in and signs.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    malformed, read,
    target::{path, with_query},
};
use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Placement, Reference, RoomVersion, STABLE_ROOM_VERSIONS},
    profiles::{self, IN_MEMBER_EVENTS},
    server::Server,
};

/// What a user of this server wants to be in a room.
#[derive(Clone, Copy)]
pub(crate) struct OwnMembership<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) user: &'a UserId,
    pub(crate) membership: &'a str,
    pub(crate) reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Template {
    event: TemplateEvent,
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid>
    #[serde(default = "oldest_version")]
    room_version: String,
}

#[derive(Deserialize)]
struct TemplateEvent {
    #[serde(rename = "type")]
    kind: String,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    state_key: String,
    content: Map<String, Value>,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    depth: u64,
}

fn oldest_version() -> String {
    "1".into()
}

impl OwnMembership<'_> {
    /// Has a server give the event's place, and makes it: `make_join`, `make_knock` or `make_leave`.
    pub(super) async fn make(&self, server: &Server, peer: &ServerName, endpoint: &str) -> Result<(CheckedPdu, RoomVersion), Error> {
        let path = path(&format!("v1/{endpoint}"), &[self.room.as_str(), self.user.as_str()]);
        let target = match endpoint {
            // Who leaves a room is not asked which versions it knows.
            "make_leave" => path,
            _ => with_query(&path, STABLE_ROOM_VERSIONS.iter().map(|version| ("ver", version.as_str()))),
        };
        let answer = server.federation_client.get(peer, &target).await?;
        let template: Template = read(&answer)?;
        let version =
            RoomVersion::parse(&template.room_version).ok_or_else(|| malformed("the room is of a version that was not offered"))?;
        let event = self.fill_in(server, template.event, &version).await?;
        Ok((event, version))
    }

    async fn fill_in(&self, server: &Server, template: TemplateEvent, version: &RoomVersion) -> Result<CheckedPdu, Error> {
        self.check(&template)?;
        let mut content = template.content;
        if self.membership != "leave" {
            let shown = profiles::read(server, self.user).await?;
            content.extend(shown.into_iter().filter(|(field, value)| IN_MEMBER_EVENTS.contains(&field.as_str()) && value.is_string()));
        }
        content.extend(self.reason.map(|reason| ("reason".to_owned(), reason.into())));
        let ids = |references: Vec<Reference>| references.into_iter().map(|reference| reference.into_id(version)).collect::<Result<_, _>>();
        let placement = Placement {
            room_id: Some(self.room.to_owned()),
            prev_events: ids(template.prev_events).map_err(malformed)?,
            auth_events: ids(template.auth_events).map_err(malformed)?,
            depth: template.depth,
            now: server.now(),
            localpart: fresh_localpart(server),
        };
        let event = NewEvent::state(self.user.to_owned(), "m.room.member", self.user.as_str(), content.into());
        event.build(placement, version, &server.identity)
    }

    /// Refuses to sign anything but what was asked for.
    fn check(&self, template: &TemplateEvent) -> Result<(), Error> {
        let is_as_asked = template.kind == "m.room.member"
            && template.room_id == self.room
            && template.sender == self.user
            && template.state_key == self.user.as_str()
            && template.content.get("membership").and_then(Value::as_str) == Some(self.membership);
        if is_as_asked { Ok(()) } else { Err(malformed("the template is not of the event that was asked for")) }
    }
}

/// A part of an event's ID that no other event has, where the room version has IDs that are not hashes.
pub(super) fn fresh_localpart(server: &Server) -> String {
    u128::from_be_bytes(server.random()).to_string()
}

/// The event as the body of a request.
pub(super) fn body_of(event: &CheckedPdu) -> Result<Value, Error> {
    serde_json::from_str(event.pdu().json.get()).map_err(|error| Error::bug(error.to_string()))
}
