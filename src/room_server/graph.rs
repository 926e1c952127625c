//! The graph of authorising events, as far as a conflict reaches into it.
//!
//! An event is numbered after the events that authorise it, so numbers are a topological order: walking from the greatest
//! number down meets every event after all that lead to it, and a walk may stop where nothing below can matter.

use super::{
    number::EventNumber,
    view::{Need, View},
};
use crate::{
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
};

/// The sets that reach an event, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Colours(Vec<u64>);

impl Colours {
    fn of(set: usize) -> Self {
        let mut bits = vec![0; set / 64];
        bits.push(1 << (set % 64));
        Self(bits)
    }

    fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }
}

/// What all sets share beside their own events.
pub(crate) trait Shared {
    /// Whether the sets share this event.
    fn contains(&self, event: EventNumber) -> Result<bool, Need>;

    /// Every event that the sets share. Asked for only where the chains of these decide.
    fn all(&self) -> Result<OrderedSet<EventNumber>, Need>;
}

/// The sets' own events, and those that belong to the authorising chains of some of the sets, but not of all; an event of a
/// set counts as part of its chain.
///
/// `conflicted` holds each set's own events.
///
/// <https://spec.matrix.org/v1.19/rooms/v2/#definitions> (auth difference)
pub(crate) fn auth_difference(
    view: &View<'_>,
    conflicted: &[OrderedSet<EventNumber>],
    shared: &impl Shared,
) -> Result<OrderedSet<EventNumber>, Need> {
    let mut walk = Walk::new(conflicted);
    let own: OrderedSet<_> = conflicted.iter().flatten().copied().gather();
    let mut rest: Option<OrderedSet<EventNumber>> = None;
    let mut difference = own.clone();
    while let Some((event, is_open)) = walk.greatest() {
        if is_open && !own.contains(&event) {
            if shared.contains(event)? {
                walk.reach_by_all(event);
            } else {
                // A shared event above may lead here, and then all sets do.
                let mut below = rest.map_or_else(|| shared.all(), Ok)?;
                let above = below.split_off(&event);
                rest = Some(below);
                if !above.is_empty() {
                    above.into_iter().for_each(|event| walk.reach_by_all(event));
                    continue;
                }
                difference.insert(event);
            }
        }
        let colours = walk.pop(event);
        auth_numbers(view, event)?.into_iter().for_each(|below| walk.reach(below, &colours));
    }
    Ok(difference)
}

/// A walk down the graph that paints what it reaches, and is over when nothing in the queue lacks a colour.
struct Walk {
    all: Colours,
    queue: OrderedMap<EventNumber, Colours>,
    /// How many events of the queue lack a colour.
    open: usize,
}

impl Walk {
    fn new(sets: &[OrderedSet<EventNumber>]) -> Self {
        let mut walk = Self { all: Colours::default(), queue: OrderedMap::new(), open: 0 };
        (0..sets.len()).for_each(|set| walk.all.merge(&Colours::of(set)));
        for (set, events) in sets.iter().enumerate() {
            events.iter().for_each(|event| walk.reach(*event, &Colours::of(set)));
        }
        walk
    }

    fn reach(&mut self, event: EventNumber, colours: &Colours) {
        let before = self.queue.get(&event).map(|before| *before != self.all);
        let reached = self.queue.entry(event).or_default();
        reached.merge(colours);
        self.open += usize::from(*reached != self.all);
        self.open -= usize::from(before == Some(true));
    }

    fn reach_by_all(&mut self, event: EventNumber) {
        self.reach(event, &self.all.clone());
    }

    /// The greatest event of the queue and whether it lacks a colour; `None` when none does.
    fn greatest(&self) -> Option<(EventNumber, bool)> {
        let (event, colours) = self.queue.last_key_value().filter(|_| self.open > 0)?;
        Some((*event, *colours != self.all))
    }

    fn pop(&mut self, event: EventNumber) -> Colours {
        let colours = self.queue.remove(&event).unwrap_or_default();
        self.open -= usize::from(colours != self.all);
        colours
    }
}

/// Events on a path between two conflicted events.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution> (conflicted state subgraph)
pub(crate) fn conflicted_subgraph(view: &View<'_>, conflicted: &OrderedSet<EventNumber>) -> Result<OrderedSet<EventNumber>, Need> {
    let Some(lowest) = conflicted.first().copied() else { return Ok(OrderedSet::new()) };
    let mut edges: OrderedMap<EventNumber, Vec<EventNumber>> = OrderedMap::new();
    let mut queue = conflicted.clone();
    while let Some(event) = queue.pop_last() {
        let below: Vec<_> = auth_numbers(view, event)?.into_iter().filter(|auth_event| *auth_event >= lowest).collect();
        queue.extend(below.iter().copied());
        edges.insert(event, below);
    }
    let mut leading: OrderedSet<EventNumber> = OrderedSet::new();
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
