//! Events as clients see them: without what only servers need, with what this server knows beside.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::{borrow::Cow, sync::Arc};

use ruma::{
    EventId, OwnedEventId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use crate::{
    erasure::content_for,
    event::Pdu,
    relations::Relations,
    room_server::{Need, View, stored::StoredEvent},
};

/// What somebody who is not in the room yet is told of it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
pub(crate) const STRIPPED: [StateEventType; 7] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
];

/// Who looks at an event.
#[derive(Clone, Copy)]
pub(crate) struct Viewer<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) device: &'a str,
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) now: u64,
}

/// Whether an event names its room: it does everywhere but in a sync response, which is ordered by room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomId {
    Named,
    Implied,
}

/// An event as a client is told of it. Its content is the JSON that came, and is not read to be told.
pub(crate) struct ClientEvent {
    pub(crate) pdu: Arc<Pdu>,
    pub(crate) room_id: RoomId,
    /// Where it is told otherwise than the event has it.
    content: Option<Box<RawValue>>,
    redacts: Option<String>,
    pub(crate) unsigned: Option<Unsigned>,
}

/// What this server knows of an event, beside what its sender said.
#[derive(Serialize)]
pub(crate) struct Unsigned {
    age: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces_state: Option<OwnedEventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redacted_because: Option<Box<ClientEvent>>,
    /// The event came so late that others had written meanwhile, without knowing of it. A client may place it by its time
    /// instead of its turn, and need not announce it as new; one that does not know of this shows it as it comes.
    #[serde(rename = "im.inglenook.late", skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub(crate) relations: Option<Box<Relations>>,
}

impl ClientEvent {
    /// The same as a value, for what looks into it. It goes by way of its text, so that writing it is compiled once.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_string(self).and_then(|text| serde_json::from_str(&text)).unwrap_or_default()
    }

    /// The event as servers see it, with what a client is told beside: its ID, which most room versions leave out, and
    /// what this server knows of it.
    pub(crate) fn to_federation_format(&self) -> Value {
        let mut pdu = content(&self.pdu.json);
        if let (Some(pdu), Value::Object(told)) = (pdu.as_object_mut(), self.to_value()) {
            pdu.extend(told);
        }
        pdu
    }

    /// Whether it is told alike to everybody, but for what this server knows of it.
    pub(crate) fn is_as_sent(&self) -> bool {
        self.content.is_none()
    }

    pub(crate) fn content(&self) -> &RawValue {
        self.content.as_deref().unwrap_or(&self.pdu.content)
    }
}

impl Serialize for ClientEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            content: &'a RawValue,
            event_id: &'a EventId,
            origin_server_ts: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            redacts: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            room_id: Option<&'a ruma::RoomId>,
            sender: &'a UserId,
            #[serde(skip_serializing_if = "Option::is_none")]
            state_key: Option<&'a str>,
            #[serde(rename = "type")]
            kind: &'a TimelineEventType,
            #[serde(skip_serializing_if = "Option::is_none")]
            unsigned: Option<&'a Unsigned>,
        }
        let pdu = &*self.pdu;
        let fields = Fields {
            content: self.content(),
            event_id: &pdu.event_id,
            origin_server_ts: pdu.origin_server_ts,
            redacts: self.redacts.as_deref(),
            room_id: (self.room_id == RoomId::Named).then_some(&*pdu.room_id),
            sender: &pdu.sender,
            state_key: pdu.state_key.as_deref(),
            kind: &pdu.kind,
            unsigned: self.unsigned.as_ref(),
        };
        fields.serialize(serializer)
    }
}

/// An event as this viewer sees it.
pub(crate) fn client_event(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>, room_id: RoomId) -> Result<ClientEvent, Need> {
    let mut told = state_event(view, event, viewer, room_id)?;
    let membership = membership_at(view, event, viewer.user)?;
    if let Some(unsigned) = &mut told.unsigned {
        unsigned.membership = Some(membership);
    }
    Ok(told)
}

/// An event of some state as this viewer sees it: without the viewer's membership at the time of the event, since each event
/// of a state is of another time, and the state of each of those times would have to be read.
pub(crate) fn state_event(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>, room_id: RoomId) -> Result<ClientEvent, Need> {
    Ok(ClientEvent { unsigned: Some(unsigned(view, event, viewer)?), ..bare_event(view, event, viewer, room_id)? })
}

fn unsigned(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Unsigned, Need> {
    let sent_by = event.decided.transaction.as_ref();
    let sent_from_here = sent_by.filter(|(device, _)| *event.pdu.sender == *viewer.user && device == viewer.device);
    let replaced = event.decided.replaces.map(|replaced| view.event(replaced)).transpose()?;
    let prev_content = replaced.as_ref().map(|replaced| content_for(view, replaced, viewer.user)).transpose()?;
    let redaction = event.decided.redacted_by.map(|redaction| view.event(redaction)).transpose()?;
    let redacted_because = redaction.map(|redaction| bare_event(view, &redaction, viewer, RoomId::Named)).transpose()?;
    Ok(Unsigned {
        age: viewer.now.saturating_sub(event.pdu.origin_server_ts),
        membership: None,
        transaction_id: sent_from_here.map(|(_, transaction)| transaction.clone()),
        prev_content: prev_content.map(Cow::into_owned),
        replaces_state: replaced.map(|replaced| replaced.pdu.event_id.clone()),
        redacted_because: redacted_because.map(Box::new),
        late: event.decided.late,
        relations: None,
    })
}

/// The membership of the viewer at the time of the event; the event's own, if it is about the viewer.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-event-format> (`unsigned.membership`)
fn membership_at(view: &View<'_>, event: &StoredEvent, user: &UserId) -> Result<String, Need> {
    let membership = event.decided.after.content_str(view, &StateEventType::RoomMember, user.as_str(), "membership")?;
    Ok(membership.unwrap_or_else(|| "leave".into()))
}

/// A state event in the form that invitations and knocks carry.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>
pub(crate) fn stripped_event(event: &Arc<StoredEvent>) -> Value {
    stripped(&event.pdu)
}

/// The same of an event that is not stored.
pub(crate) fn stripped(pdu: &Pdu) -> Value {
    json!({ "type": pdu.kind.to_string(), "state_key": pdu.state_key, "sender": pdu.sender, "content": content(&pdu.content) })
}

/// An event without what this server knows of it.
pub(crate) fn bare_event(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>, room_id: RoomId) -> Result<ClientEvent, Need> {
    let redacts = redacts(event);
    let content = match (content_for(view, event, viewer.user)?, &redacts) {
        // At both places, whichever the room version has, for clients of all ages.
        (content, Some(redacts)) => Some(with_redacts(&content, redacts)),
        (Cow::Owned(content), None) => Some(content),
        (Cow::Borrowed(_), None) => None,
    };
    Ok(ClientEvent { pdu: Arc::clone(&event.pdu), room_id, content, redacts, unsigned: None })
}

fn with_redacts(raw: &RawValue, redacts: &str) -> Box<RawValue> {
    let mut content = content(raw);
    if let Some(content) = content.as_object_mut() {
        content.insert("redacts".into(), redacts.into());
    }
    to_raw_value(&content).unwrap_or_default()
}

fn redacts(event: &StoredEvent) -> Option<String> {
    #[derive(Deserialize)]
    struct Redaction {
        redacts: Option<String>,
    }
    event.pdu.redacts.as_ref().map(ToString::to_string).or_else(|| {
        // A redaction that was redacted itself keeps naming its target where the room version keeps the field.
        let is_redaction = event.pdu.kind.to_string() == "m.room.redaction";
        is_redaction.then(|| serde_json::from_str::<Redaction>(event.pdu.json.get()).ok()?.redacts).flatten()
    })
}

fn content(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
