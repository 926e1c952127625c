//! The order of events among each other: each behind those that it names.

use ruma::{EventId, OwnedEventId};

use crate::{
    event::{CheckedPdu, Pdu},
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
};

/// The events in an order in which each is behind those of them that it builds on or that authorise it. Events that name each
/// other in a circle are in no order: they are left out, and so is what is behind them.
pub(crate) fn in_order<'a>(events: impl Iterator<Item = &'a CheckedPdu>) -> Vec<OwnedEventId> {
    let events: OrderedMap<&EventId, &Pdu> = events.map(|event| (&*event.pdu().event_id, event.pdu())).gather();
    let mut open: OrderedMap<&EventId, usize> = OrderedMap::new();
    let mut named_by: OrderedMap<&EventId, Vec<&EventId>> = OrderedMap::new();
    for (id, pdu) in &events {
        let named: OrderedSet<&EventId> = named(pdu).filter(|named| events.contains_key(named)).gather();
        open.insert(id, named.len());
        named.into_iter().for_each(|named| named_by.entry(named).or_default().push(id));
    }
    // The shallowest first, so that events that do not know of each other come in the order in which they were made.
    let rank = |id: &'a EventId| (events.get(id).map_or(0, |pdu| pdu.depth), id);
    let mut ready: OrderedSet<_> = open.iter().filter(|(_, count)| **count == 0).map(|(id, _)| rank(id)).gather();
    let mut ordered = Vec::with_capacity(events.len());
    while let Some((_, id)) = ready.pop_first() {
        ordered.push(id.to_owned());
        for next in named_by.remove(id).unwrap_or_default() {
            let count = open.entry(next).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.insert(rank(next));
            }
        }
    }
    ordered
}

fn named(pdu: &Pdu) -> impl Iterator<Item = &EventId> {
    pdu.prev_events.iter().chain(&pdu.auth_events).map(|id| &**id)
}
