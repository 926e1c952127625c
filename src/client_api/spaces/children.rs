//! The rooms that a space names as its children.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName, events::StateEventType};
use serde_json::Value;

use crate::{
    arrange::Arrange,
    client_api::published_rooms_chunk::content_of,
    client_event::stripped_event,
    room_server::{Need, Room, View},
};

/// An order of children must be this short.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#mspacechild>
const MAX_ORDER_CHARS: usize = 50;

/// A space's valid children in their order; none in a room that is no space.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space>
pub(crate) struct SpaceChildren(Vec<SpaceChild>);

/// A child of a space.
pub(crate) struct SpaceChild {
    pub(super) room: OwnedRoomId,
    /// Servers that may tell of it.
    pub(super) via: Vec<OwnedServerName>,
    /// The event that names it, as strangers are told of it.
    stripped: Value,
    place: Place,
}

/// What children are ordered by: those with an order first, then by it, by age and by room.
type Place = (bool, Option<String>, u64, OwnedRoomId);

impl SpaceChildren {
    /// The children of a room that this server is in.
    pub(crate) fn of(view: &View<'_>, room: &Room, suggested_only: bool) -> Result<Self, Need> {
        let current = room.head().current;
        let create = content_of(view, current, &StateEventType::RoomCreate)?;
        if create.get("type").and_then(Value::as_str) != Some("m.space") {
            return Ok(Self(Vec::new()));
        }
        let entries = current.entries(view)?.into_iter().filter(|entry| entry.kind == StateEventType::SpaceChild);
        let events = view.events(entries.map(|entry| entry.event))?;
        let stripped = events.iter().map(|event| {
            let mut child = stripped_event(event);
            if let Some(child) = child.as_object_mut() {
                child.insert("origin_server_ts".into(), event.pdu.origin_server_ts.into());
            }
            child
        });
        Ok(Self::read(stripped, suggested_only))
    }

    /// The children that these events name.
    pub(super) fn read(stripped: impl Iterator<Item = Value>, suggested_only: bool) -> Self {
        let children = stripped.filter_map(SpaceChild::read);
        let mut children: Vec<_> = children.filter(|child| child.is_suggested() || !suggested_only).collect();
        children.arrange_by_key(|child| child.place.clone());
        Self(children)
    }

    /// The children.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SpaceChild> {
        self.0.iter()
    }

    /// The rooms.
    pub(crate) fn rooms(&self) -> Vec<OwnedRoomId> {
        self.0.iter().map(|child| child.room.clone()).collect()
    }

    /// The events that name them, as strangers are told of them.
    pub(crate) fn stripped(&self) -> Vec<Value> {
        self.0.iter().map(|child| child.stripped.clone()).collect()
    }
}

impl SpaceChild {
    /// The child that an event names, if it names one at all.
    fn read(stripped: Value) -> Option<Self> {
        let text = |name: &str| stripped.get(name).and_then(Value::as_str);
        if text("type") != Some("m.space.child") || text("sender").is_none() {
            return None;
        }
        let room = RoomId::parse(text("state_key")?).ok()?;
        let content = stripped.get("content")?;
        let via = content.get("via")?.as_array()?;
        let via = via.iter().filter_map(|name| ServerName::parse(name.as_str()?).ok()).collect();
        let order = content.get("order").and_then(Value::as_str).filter(|order| is_order(order)).map(str::to_owned);
        let place = (order.is_none(), order, stripped.get("origin_server_ts")?.as_u64()?, room.clone());
        Some(Self { room, via, place, stripped })
    }

    fn is_suggested(&self) -> bool {
        self.stripped.pointer("/content/suggested") == Some(&Value::Bool(true))
    }
}

fn is_order(order: &str) -> bool {
    order.len() <= MAX_ORDER_CHARS && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}
