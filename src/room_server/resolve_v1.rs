//! State resolution of room version 1.
//!
//! <https://spec.matrix.org/v1.19/rooms/v1/#state-resolution>

use std::{cmp::Reverse, sync::Arc};

use ruma::events::StateEventType;
use sha1::{Digest, Sha1};

use super::{
    auth::allowed_by_state,
    number::EventNumber,
    resolve::Conflicts,
    snapshot::{Change, Snapshot, StateKey},
    stored::StoredEvent,
    view::{Need, View},
};
use crate::{
    arrange::Arrange,
    event::RoomVersion,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
};

/// The places that are resolved first, in this order, since they decide over the others.
const PASSES: [StateEventType; 3] = [StateEventType::RoomPowerLevels, StateEventType::RoomJoinRules, StateEventType::RoomMember];

/// The events that win the places of conflict.
pub(super) fn resolve(
    view: &View<'_>,
    version: &RoomVersion,
    any: Snapshot,
    conflicts: &Conflicts,
) -> Result<OrderedMap<StateKey, EventNumber>, Need> {
    let mut resolution = Resolution { view, version, state: any, winners: OrderedMap::new() };
    let mut disputed: OrderedMap<&StateKey, OrderedSet<EventNumber>> = OrderedMap::new();
    for (key, events) in conflicts {
        let events: OrderedSet<_> = events.iter().flatten().copied().gather();
        resolution.set(key, None)?;
        match events.first() {
            Some(only) if events.len() == 1 => resolution.set(key, Some(*only))?,
            _ => drop(disputed.insert(key, events)),
        }
    }
    for kind in PASSES {
        let of_kind: Vec<_> = disputed.keys().filter(|key| key.0 == kind).copied().collect();
        for key in of_kind {
            resolution.take_in_turn(key, &disputed.remove(key).unwrap_or_default())?;
        }
    }
    for (key, events) in disputed {
        resolution.take_best(key, &events)?;
    }
    Ok(resolution.winners)
}

struct Resolution<'a> {
    view: &'a View<'a>,
    version: &'a RoomVersion,
    /// The result so far.
    state: Snapshot,
    winners: OrderedMap<StateKey, EventNumber>,
}

impl Resolution<'_> {
    fn set(&mut self, key: &StateKey, event: Option<EventNumber>) -> Result<(), Need> {
        let change: Change = (key.clone(), event);
        self.state = self.state.with(self.view, &[change])?;
        if let Some(event) = event {
            self.winners.insert(key.clone(), event);
        }
        Ok(())
    }

    fn allows(&self, event: &StoredEvent) -> Result<bool, Need> {
        Ok(allowed_by_state(self.view, &self.version.rules.authorization, &event.pdu, self.state)?.is_ok())
    }

    /// From the lowest depth up, until one is not allowed.
    fn take_in_turn(&mut self, key: &StateKey, events: &OrderedSet<EventNumber>) -> Result<(), Need> {
        let mut events = self.view.events(events.iter().copied())?;
        events.arrange_by_key(|event| (event.pdu.depth, Reverse(sha1(event))));
        for (index, event) in events.iter().enumerate() {
            if index > 0 && !self.allows(event)? {
                break;
            }
            self.set(key, Some(event.number))?;
        }
        Ok(())
    }

    /// The deepest that is allowed.
    fn take_best(&mut self, key: &StateKey, events: &OrderedSet<EventNumber>) -> Result<(), Need> {
        let mut events: Vec<Arc<StoredEvent>> = self.view.events(events.iter().copied())?;
        events.arrange_by_key(|event| (Reverse(event.pdu.depth), sha1(event)));
        for event in events {
            if self.allows(&event)? {
                return self.set(key, Some(event.number));
            }
        }
        Ok(())
    }
}

fn sha1(event: &StoredEvent) -> [u8; 20] {
    Sha1::digest(event.pdu.event_id.as_str()).into()
}
