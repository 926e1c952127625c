//! A PDU, read once: the fields that rules and readers ask for, beside the JSON they were read from.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt,
    UserId, events::TimelineEventType, room_version_rules::EventsReferenceFormatVersion, state_res::Event,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::RoomVersion;
use crate::error::Error;

/// An event as servers exchange it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#pdus>
#[derive(Clone, Debug)]
pub struct Pdu {
    /// The event's ID.
    pub event_id: OwnedEventId,
    /// The room's ID, also where the event does not spell it out.
    pub room_id: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The event's type.
    pub kind: TimelineEventType,
    /// The state key, for state events.
    pub state_key: Option<String>,
    /// The content.
    pub content: Box<RawValue>,
    /// When its server says it was made, in milliseconds since the Unix epoch.
    pub origin_server_ts: u64,
    /// The events before it.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that authorise it.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the greatest depth before it, as its server says.
    pub depth: u64,
    /// The event that it redacts.
    pub redacts: Option<OwnedEventId>,
    /// The whole event in canonical JSON.
    pub json: Box<RawValue>,
    /// Whether it was refused on receipt; such an event authorises nothing.
    pub rejected: bool,
    names_room: bool,
}

#[derive(Deserialize)]
struct Fields {
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    origin_server_ts: u64,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    depth: u64,
    redacts: Option<OwnedEventId>,
}

/// An event named by another: `$id`, or `["$id", {"sha256": …}]` in room versions 1 and 2.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reference {
    /// The ID alone.
    Id(OwnedEventId),
    /// The ID and what nobody looks at.
    WithHash(OwnedEventId, serde::de::IgnoredAny),
}

impl Reference {
    /// The event's ID, if the reference has the form of the room version.
    pub(crate) fn into_id(self, version: &RoomVersion) -> Result<OwnedEventId, Error> {
        let with_hash = version.rules.events_reference_format == EventsReferenceFormatVersion::V1;
        match self {
            Self::Id(id) if !with_hash => Ok(id),
            Self::WithHash(id, _) if with_hash => Ok(id),
            _ => Err(Error::bad_json("The event names others in the form of another room version.")),
        }
    }
}

#[derive(Deserialize)]
struct RedactionContent {
    redacts: Option<OwnedEventId>,
}

impl Pdu {
    /// Reads an event whose format was checked, under the ID that was computed for it.
    pub fn read(event_id: OwnedEventId, json: Box<RawValue>, version: &RoomVersion) -> Result<Self, Error> {
        let fields: Fields = serde_json::from_str(json.get()).map_err(|error| Error::bad_json(format!("Not an event: {error}.")))?;
        let names_room = fields.room_id.is_some();
        let room_id = match fields.room_id {
            Some(room_id) => room_id,
            None => room_of_create_event(&event_id)?,
        };
        let references =
            |references: Vec<Reference>| references.into_iter().map(|reference| reference.into_id(version)).collect::<Result<Vec<_>, _>>();
        let redacts = redacts(&fields.kind, fields.redacts, &fields.content, version);
        Ok(Self {
            event_id,
            room_id,
            sender: fields.sender,
            kind: fields.kind,
            state_key: fields.state_key,
            content: fields.content,
            origin_server_ts: fields.origin_server_ts,
            prev_events: references(fields.prev_events)?,
            auth_events: references(fields.auth_events)?,
            depth: fields.depth,
            redacts,
            json,
            rejected: false,
            names_room,
        })
    }

    /// The same event with more signatures beside those that it has.
    pub(crate) fn with_signatures(&self, more: CanonicalJsonObject) -> Result<Self, Error> {
        let bug = |error: serde_json::Error| Error::bug(error.to_string());
        let mut object: CanonicalJsonObject = serde_json::from_str(self.json.get()).map_err(bug)?;
        let signatures = object.entry("signatures".into()).or_insert_with(|| CanonicalJsonObject::new().into());
        if let CanonicalJsonValue::Object(signatures) = signatures {
            for (server, keys) in more {
                match (signatures.get_mut(&server), keys) {
                    (Some(CanonicalJsonValue::Object(known)), CanonicalJsonValue::Object(keys)) => known.extend(keys),
                    (_, keys) => drop(signatures.insert(server, keys)),
                }
            }
        }
        Ok(Self { json: serde_json::value::to_raw_value(&object).map_err(bug)?, ..self.clone() })
    }

    /// Whether it is the state event of that type and key.
    pub fn is_state(&self, kind: &str, state_key: &str) -> bool {
        self.state_key.as_deref() == Some(state_key) && self.kind.to_string() == kind
    }

    /// The content as `T`, or its default where the content does not fit.
    pub fn content_as<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_str(self.content.get()).unwrap_or_default()
    }

    /// One string of the content.
    pub fn content_str(&self, field: &str) -> Option<String> {
        let content: serde_json::Value = serde_json::from_str(self.content.get()).ok()?;
        content.get(field)?.as_str().map(str::to_owned)
    }
}

/// <https://spec.matrix.org/v1.19/rooms/v12/#room-ids>
pub(super) fn room_of_create_event(event_id: &EventId) -> Result<OwnedRoomId, Error> {
    let hash = event_id.as_str().trim_start_matches('$');
    RoomId::parse(format!("!{hash}")).map_err(|_| Error::bad_json("The event has no room_id."))
}

fn redacts(kind: &TimelineEventType, top: Option<OwnedEventId>, content: &RawValue, version: &RoomVersion) -> Option<OwnedEventId> {
    if *kind != TimelineEventType::RoomRedaction {
        return None;
    }
    if version.rules.redaction.content_field_redacts {
        return serde_json::from_str::<RedactionContent>(content.get()).ok()?.redacts;
    }
    top
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.names_room.then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::new_saturating(self.origin_server_ts))
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
