//! Making events: from what somebody wants to say to a signed PDU at its place in the graph.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    canonical_json::to_canonical_value,
    events::TimelineEventType,
    room_version_rules::EventsReferenceFormatVersion,
    signatures::{self, JsonError},
};
use serde_json::{Value, json};

use super::{
    CheckedPdu, RoomVersion,
    raw::{Unfit, check_format},
};
use crate::{error::Error, identity::Identity};

/// What somebody wants to say in a room.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Who says it.
    pub sender: OwnedUserId,
    /// The event's type.
    pub kind: TimelineEventType,
    /// The state key, for state events.
    pub state_key: Option<String>,
    /// The content.
    pub content: Value,
    /// The event that it redacts, for redactions.
    pub redacts: Option<OwnedEventId>,
}

impl NewEvent {
    /// A message-like event.
    pub fn message(sender: OwnedUserId, kind: &str, content: Value) -> Self {
        Self { sender, kind: kind.into(), state_key: None, content, redacts: None }
    }

    /// A state event.
    pub fn state(sender: OwnedUserId, kind: &str, state_key: impl Into<String>, content: Value) -> Self {
        Self { sender, kind: kind.into(), state_key: Some(state_key.into()), content, redacts: None }
    }
}

/// An event's place in its room's graph.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The room; `None` for a create event whose hash will name the room.
    pub room_id: Option<OwnedRoomId>,
    /// The events before it.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that authorise it.
    pub auth_events: Vec<OwnedEventId>,
    /// Its depth.
    pub depth: u64,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
    /// A part of the event's ID, where the room version has IDs that are not hashes.
    pub localpart: String,
}

impl NewEvent {
    /// Puts the event at its place, hashes and signs it.
    ///
    /// Fails with 400 or 413 where content or size are not what an event may have.
    pub fn build(self, placement: Placement, version: &RoomVersion, identity: &Identity) -> Result<CheckedPdu, Error> {
        let mut object = self.object(placement, version, identity)?;
        signatures::hash_and_sign_event(identity.server_name().as_str(), identity, &mut object, &version.rules.redaction)
            .map_err(|error| unfit(of_signing(error)))?;
        check_format(&mut object, version).map_err(unfit)?;
        CheckedPdu::of(&object, version).map_err(unfit)
    }

    /// Puts the event at its place for another server, which is to hash and sign it: the template, and the event as it would be
    /// if nothing in it were changed.
    pub fn template(
        self,
        placement: Placement,
        version: &RoomVersion,
        identity: &Identity,
    ) -> Result<(CanonicalJsonObject, CheckedPdu), Error> {
        let mut object = self.object(placement, version, identity)?;
        let event = CheckedPdu::of(&object, version).map_err(unfit)?;
        object.remove("event_id");
        object.insert("origin".into(), CanonicalJsonValue::String(identity.server_name().to_string()));
        Ok((object, event))
    }

    fn object(self, placement: Placement, version: &RoomVersion, identity: &Identity) -> Result<CanonicalJsonObject, Error> {
        let mut event = json!({
            "type": self.kind.to_string(),
            "sender": self.sender,
            "origin_server_ts": placement.now,
            "depth": placement.depth,
            "prev_events": references(&placement.prev_events, version),
            "auth_events": references(&placement.auth_events, version),
        });
        let mut set = |name: &str, value: Option<Value>| {
            if let (Some(value), Some(event)) = (value, event.as_object_mut()) {
                event.insert(name.into(), value);
            }
        };
        let mut content = self.content;
        if let Some(redacts) = self.redacts {
            match content.as_object_mut() {
                Some(content) if version.rules.redaction.content_field_redacts => {
                    content.insert("redacts".into(), redacts.as_str().into());
                }
                _ => set("redacts", Some(redacts.as_str().into())),
            }
        }
        set("content", Some(content));
        set("room_id", placement.room_id.as_deref().map(RoomId::as_str).map(Into::into));
        set("state_key", self.state_key.map(Into::into));
        if version.rules.event_format.require_event_id {
            set("event_id", Some(format!("${}:{}", placement.localpart, identity.server_name()).into()));
        }
        match to_canonical_value(&event) {
            Ok(CanonicalJsonValue::Object(object)) => Ok(object),
            Ok(_) => Err(Error::bug("an event is an object")),
            Err(error) => Err(Error::bad_json(format!("Events can hold no such value: {error}."))),
        }
    }
}

fn references(ids: &[OwnedEventId], version: &RoomVersion) -> Value {
    match version.rules.events_reference_format {
        // The hash in such a reference is checked by nobody; it is part of the format all the same.
        EventsReferenceFormatVersion::V1 => ids.iter().map(|id| json!([id, { "sha256": "" }])).collect(),
        _ => ids.iter().map(|id| json!(id)).collect(),
    }
}

fn of_signing(error: JsonError) -> Unfit {
    match error {
        JsonError::PduTooLarge => Unfit::TooLarge(error.to_string()),
        other => Unfit::Format(other.to_string()),
    }
}

fn unfit(unfit: Unfit) -> Error {
    let message = format!("This cannot be made an event: {unfit}.");
    match unfit {
        Unfit::TooLarge(_) => Error::too_large(message),
        Unfit::Json(_) | Unfit::Format(_) | Unfit::Signature(_) => Error::bad_json(message),
    }
}
