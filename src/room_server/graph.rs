//! The graph of authorising events, as far as a conflict reaches into it.
//!
//! An event is numbered after the events that authorise it, so numbers are a topological order: walking from the greatest
//! number down meets every event after all that lead to it, and a walk may stop where nothing below can matter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    number::EventNumber,
    view::{Need, View},
};

/// The sets that reach an event, one bit each. More sets than bits share the last, which no room's forward extremities come near.
type Colours = u64;

/// Events that belong to the authorising chains of some of the sets, but not of all; a set's own events count as its chain's.
///
/// `conflicted` holds each set's own events; `common` are the events that all sets share.
///
/// <https://spec.matrix.org/v1.19/rooms/v2/#definitions> (auth difference)
pub(crate) fn auth_difference(
    view: &View<'_>,
    conflicted: &[BTreeSet<EventNumber>],
    common: &BTreeSet<EventNumber>,
) -> Result<BTreeSet<EventNumber>, Need> {
    let mut walk = Walk { all: 0, queue: BTreeMap::new(), open: 0 };
    walk.all = (0..conflicted.len()).fold(0, |all, set| all | colour(set));
    for (set, events) in conflicted.iter().enumerate() {
        events.iter().for_each(|event| walk.reach(*event, colour(set)));
    }
    let mut common = common.iter().rev().copied().peekable();
    let mut difference = BTreeSet::new();
    while let Some(greatest) = walk.next_open() {
        while let Some(event) = common.next_if(|event| *event >= greatest) {
            walk.reach(event, walk.all);
        }
        let Some((event, colours)) = walk.pop() else { break };
        if colours != walk.all {
            difference.insert(event);
        }
        auth_numbers(view, event)?.into_iter().for_each(|below| walk.reach(below, colours));
    }
    Ok(difference)
}

/// A walk down the graph that paints what it reaches, and is over when nothing in the queue lacks a colour.
struct Walk {
    all: Colours,
    queue: BTreeMap<EventNumber, Colours>,
    /// How many events of the queue lack a colour.
    open: usize,
}

impl Walk {
    fn reach(&mut self, event: EventNumber, colours: Colours) {
        let before = self.queue.get(&event).copied();
        let after = before.unwrap_or(0) | colours;
        self.queue.insert(event, after);
        self.open += usize::from(after != self.all);
        self.open -= usize::from(before.is_some_and(|before| before != self.all));
    }

    /// The greatest event of the queue, while any lacks a colour.
    fn next_open(&self) -> Option<EventNumber> {
        (self.open > 0).then(|| self.queue.last_key_value().map(|(event, _)| *event)).flatten()
    }

    fn pop(&mut self) -> Option<(EventNumber, Colours)> {
        let (event, colours) = self.queue.pop_last()?;
        self.open -= usize::from(colours != self.all);
        Some((event, colours))
    }
}

fn colour(set: usize) -> Colours {
    1 << set.min(63)
}

/// Events on a path between two conflicted events.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution> (conflicted state subgraph)
pub(crate) fn conflicted_subgraph(view: &View<'_>, conflicted: &BTreeSet<EventNumber>) -> Result<BTreeSet<EventNumber>, Need> {
    let Some(lowest) = conflicted.first().copied() else { return Ok(BTreeSet::new()) };
    let mut edges: BTreeMap<EventNumber, Vec<EventNumber>> = BTreeMap::new();
    let mut queue = conflicted.clone();
    while let Some(event) = queue.pop_last() {
        let below: Vec<_> = auth_numbers(view, event)?.into_iter().filter(|auth_event| *auth_event >= lowest).collect();
        queue.extend(below.iter().copied());
        edges.insert(event, below);
    }
    let mut leading: BTreeSet<EventNumber> = BTreeSet::new();
    for (event, below) in edges {
        if conflicted.contains(&event) || below.iter().any(|auth_event| leading.contains(auth_event)) {
            leading.insert(event);
        }
    }
    Ok(leading)
}

/// The numbers of the events that authorise an event.
pub(crate) fn auth_numbers(view: &View<'_>, event: EventNumber) -> Result<Vec<EventNumber>, Need> {
    let event = view.event(event)?;
    let events = view.events_by_id(event.pdu.auth_events.iter())?;
    Ok(events.into_iter().flatten().map(|event| event.number).collect())
}
