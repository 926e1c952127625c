//! A room's head: what the next event builds on.

use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};

use super::{
    number::{EventNumber, Position},
    snapshot::Snapshot,
};
use crate::arrange::Arrange;

/// What the next event of a room builds on, as of the last commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Head {
    /// The forward extremities.
    #[serde(rename = "x")]
    pub extremities: Vec<Extremity>,
    /// The current state.
    #[serde(rename = "s")]
    pub current: Snapshot,
    /// Where in the log the room's last event is.
    #[serde(rename = "p")]
    pub position: Position,
    /// How many users are joined.
    #[serde(rename = "j")]
    pub joined: u64,
    /// How many users are invited.
    #[serde(rename = "i")]
    pub invited: u64,
    /// What is kept though it has soft-failed, of servers that were not in the room when it came, in bytes.
    #[serde(rename = "f", default)]
    pub soft_failed_of_others: u64,
}

/// An event that no other event of the room builds on yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extremity {
    /// The event.
    #[serde(rename = "n")]
    pub event: EventNumber,
    /// Its ID.
    #[serde(rename = "i")]
    pub id: OwnedEventId,
    /// Its depth.
    #[serde(rename = "d")]
    pub depth: u64,
}

/// An event names at most this many previous events.
///
/// <https://spec.matrix.org/v1.19/rooms/v1/#event-format>
const MAX_PREV_EVENTS: usize = 20;

/// Depth is bounded by what canonical JSON can hold.
///
/// <https://spec.matrix.org/v1.19/rooms/v6/#canonical-json>
const MAX_DEPTH: u64 = (1 << 53) - 1;

impl Head {
    /// The extremities that a new event builds on: the deepest.
    pub(crate) fn chosen(&self) -> Vec<&Extremity> {
        let mut extremities: Vec<_> = self.extremities.iter().collect();
        extremities.arrange_by_key(|extremity| std::cmp::Reverse(extremity.depth));
        extremities.truncate(MAX_PREV_EVENTS);
        extremities
    }

    /// The events that a new event names as its previous ones.
    pub(crate) fn prev_events(&self) -> Vec<OwnedEventId> {
        self.chosen().into_iter().map(|extremity| extremity.id.clone()).collect()
    }

    /// The depth of a new event.
    pub(crate) fn next_depth(&self) -> u64 {
        let deepest = self.extremities.iter().map(|extremity| extremity.depth).max().unwrap_or(0);
        (deepest + 1).min(MAX_DEPTH)
    }
}
