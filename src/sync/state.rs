//! The state that goes with a timeline: what the client needs to know beside its events.

use std::sync::Arc;

use ruma::events::StateEventType;
use serde_json::Value;

use super::{timeline::Timeline, window::Window};
use crate::{
    error::Error,
    gather::Gather,
    ordered::OrderedSet,
    room_server::{EventNumber, Need, Room, View, snapshot::Snapshot, stored::StoredEvent, view::collect},
    server::Server,
};

/// Which state is told.
pub(crate) struct Wanted<'a> {
    /// The state that the client knows; `None` for a room that is new to it.
    pub(crate) known: Option<Snapshot>,
    /// The state as of which it is told.
    pub(crate) at: Snapshot,
    pub(crate) timeline: &'a Timeline,
    /// Members that the summary names.
    pub(crate) heroes: &'a [String],
}

/// The state events to tell, in no particular order.
pub(crate) async fn events(server: &Server, room: &Room, window: &Window, wanted: &Wanted<'_>) -> Result<Vec<Arc<StoredEvent>>, Error> {
    let filter = &window.filter.room.state;
    if !filter.allows_room(room.id.as_str()) {
        return Ok(Vec::new());
    }
    let lazy = filter.lazy_load_members.then(|| needed_members(window, wanted));
    server
        .rooms
        .ask(room, |view| {
            let mut numbers = changed(view, wanted, lazy.as_ref())?;
            if let Some(members) = &lazy {
                numbers.extend(members_at(view, wanted.at, members)?);
            }
            if !window.state.is_after() {
                // What the timeline itself tells of is not told twice.
                numbers.retain(|number| !wanted.timeline.events.iter().any(|event| event.number == *number));
            }
            let events = view.events(numbers.into_iter())?;
            let passes = |event: &Arc<StoredEvent>| {
                filter.allows(&event.pdu.kind.to_string(), event.pdu.sender.as_str(), || event.pdu.content_as::<Value>())
            };
            Ok(events.into_iter().filter(passes).collect())
        })
        .await
}

fn changed(view: &View<'_>, wanted: &Wanted<'_>, lazy: Option<&OrderedSet<String>>) -> Result<OrderedSet<EventNumber>, Need> {
    let Some(known) = wanted.known else {
        let entries = wanted.at.entries(view)?.into_iter();
        // A member that is not needed is not even read.
        let needed = |kind: &StateEventType, key: &str| lazy.is_none_or(|lazy| *kind != StateEventType::RoomMember || lazy.contains(key));
        return Ok(entries.filter(|entry| needed(&entry.kind, &entry.state_key)).map(|entry| entry.event).gather());
    };
    Ok(known.difference(wanted.at, view)?.into_values().filter_map(|(_, after)| after).gather())
}

/// Senders in the timeline, the user and the heroes.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>
fn needed_members(window: &Window, wanted: &Wanted<'_>) -> OrderedSet<String> {
    let mut members: OrderedSet<String> = wanted.timeline.events.iter().map(|event| event.pdu.sender.to_string()).gather();
    members.extend(wanted.heroes.iter().cloned());
    if wanted.known.is_none() {
        members.insert(window.user.to_string());
    }
    members
}

fn members_at(view: &View<'_>, at: Snapshot, members: &OrderedSet<String>) -> Result<Vec<EventNumber>, Need> {
    let found = collect(members.iter(), |member| at.event(view, &StateEventType::RoomMember, member))?;
    Ok(found.into_iter().flatten().collect())
}
