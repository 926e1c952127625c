//! Events as clients see them: without what only servers need, with what this server knows beside.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-event-format>

use std::sync::Arc;

use ruma::{UserId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    erasure::content_for,
    event::Pdu,
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

/// In `unsigned`: the event came so late that others had written meanwhile, without knowing of it. A client may place it by
/// its time instead of its turn, and need not announce it as new; one that does not know of this shows it as it comes.
const LATE: &str = "im.inglenook.late";

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

/// An event as this viewer sees it.
pub(crate) fn client_event(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>, room_id: RoomId) -> Result<Value, Need> {
    let mut unsigned = unsigned(view, event, viewer)?;
    unsigned.insert("membership".into(), membership_at(view, event, viewer.user)?.into());
    with_unsigned(view, event, viewer, room_id, unsigned)
}

/// An event of some state as this viewer sees it: without the viewer's membership at the time of the event, since each event
/// of a state is of another time, and the state of each of those times would have to be read.
pub(crate) fn state_event(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>, room_id: RoomId) -> Result<Value, Need> {
    with_unsigned(view, event, viewer, room_id, unsigned(view, event, viewer)?)
}

fn with_unsigned(
    view: &View<'_>,
    event: &StoredEvent,
    viewer: Viewer<'_>,
    room_id: RoomId,
    unsigned: Map<String, Value>,
) -> Result<Value, Need> {
    let mut value = bare_event(event, room_id, content_for(view, event, viewer.user)?);
    value.insert("unsigned".into(), unsigned.into());
    Ok(value.into())
}

fn unsigned(view: &View<'_>, event: &StoredEvent, viewer: Viewer<'_>) -> Result<Map<String, Value>, Need> {
    let mut unsigned = Map::new();
    unsigned.insert("age".into(), viewer.now.saturating_sub(event.pdu.origin_server_ts).into());
    if let Some((device, transaction)) = &event.decided.transaction
        && *event.pdu.sender == *viewer.user
        && device == viewer.device
    {
        unsigned.insert("transaction_id".into(), transaction.as_str().into());
    }
    if let Some(replaced) = event.decided.replaces {
        let replaced = view.event(replaced)?;
        unsigned.insert("replaces_state".into(), replaced.pdu.event_id.as_str().into());
        unsigned.insert("prev_content".into(), content_for(view, &replaced, viewer.user)?);
    }
    if let Some(redaction) = event.decided.redacted_by {
        let redaction = view.event(redaction)?;
        let redaction = bare_event(&redaction, RoomId::Named, content_for(view, &redaction, viewer.user)?);
        unsigned.insert("redacted_because".into(), redaction.into());
    }
    if event.decided.late {
        unsigned.insert(LATE.into(), true.into());
    }
    Ok(unsigned)
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

fn bare_event(event: &StoredEvent, room_id: RoomId, content: Value) -> Map<String, Value> {
    let pdu = &event.pdu;
    let mut value = Map::new();
    value.insert("type".into(), pdu.kind.to_string().into());
    value.insert("event_id".into(), pdu.event_id.as_str().into());
    value.insert("sender".into(), pdu.sender.as_str().into());
    value.insert("origin_server_ts".into(), pdu.origin_server_ts.into());
    value.insert("content".into(), content);
    if let Some(state_key) = &pdu.state_key {
        value.insert("state_key".into(), state_key.as_str().into());
    }
    if room_id == RoomId::Named {
        value.insert("room_id".into(), pdu.room_id.as_str().into());
    }
    if let Some(redacts) = redacts(event) {
        // At both places, whichever the room version has, for clients of all ages.
        if let Some(content) = value.get_mut("content").and_then(Value::as_object_mut) {
            content.insert("redacts".into(), redacts.clone().into());
        }
        value.insert("redacts".into(), redacts.into());
    }
    value
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
