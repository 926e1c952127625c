//! What is hot, kept in memory with a bound: events and nodes of state trees, neither of which ever changes under its key
//! but by a redaction, which replaces the event here as well. And who was erased, all of them.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use ruma::{EventId, OwnedEventId};

use crate::{erasure::Erasures, ordered::OrderedMap};

use super::{
    memberships::KnownMemberships,
    number::{EventNumber, RoomNumber},
    snapshot::{Node, NodeId},
    stored::StoredEvent,
};

/// Each half of the cache holds this many entries: at about 2 kB each, some 16 MB of events at the most.
const GENERATION: usize = 4_000;

/// The cache.
#[derive(Default)]
pub struct Cache {
    pub(super) erasures: Erasures,
    pub(super) memberships: KnownMemberships,
    nodes: RefCell<Generations<NodeId, Rc<Node>>>,
    events: RefCell<Generations<EventNumber, Arc<StoredEvent>>>,
    ids: RefCell<Generations<(RoomNumber, OwnedEventId), EventNumber>>,
    /// Whether events have children that are aggregated.
    parents: RefCell<Generations<(RoomNumber, OwnedEventId), bool>>,
}

impl Cache {
    pub(super) fn of(erasures: Erasures) -> Self {
        Self { erasures, ..Self::default() }
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<Rc<Node>> {
        self.nodes.borrow_mut().find(&id)
    }

    pub(crate) fn event(&self, number: EventNumber) -> Option<Arc<StoredEvent>> {
        self.events.borrow_mut().find(&number)
    }

    pub(crate) fn number(&self, room: RoomNumber, id: &EventId) -> Option<EventNumber> {
        self.ids.borrow_mut().find(&(room, id.to_owned()))
    }

    /// Whether an event has children that are aggregated, if that is known.
    pub(crate) fn is_parent(&self, room: RoomNumber, id: &EventId) -> Option<bool> {
        self.parents.borrow_mut().find(&(room, id.to_owned()))
    }

    pub(crate) fn keep_is_parent(&self, room: RoomNumber, id: OwnedEventId, is_parent: bool) {
        self.parents.borrow_mut().keep((room, id), is_parent);
    }

    pub(crate) fn keep_node(&self, id: NodeId, node: Rc<Node>) {
        self.nodes.borrow_mut().keep(id, node);
    }

    pub(crate) fn keep_event(&self, event: Arc<StoredEvent>) {
        self.ids.borrow_mut().keep((event.room, event.pdu.event_id.clone()), event.number);
        self.events.borrow_mut().keep(event.number, event);
    }
}

/// Two generations: what is used moves to the young one; when that is full, it becomes the old one and the old one goes.
struct Generations<K, V> {
    young: OrderedMap<K, V>,
    old: OrderedMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: OrderedMap::new(), old: OrderedMap::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Generations<K, V> {
    fn find(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.keep(key, value.clone());
        Some(value)
    }

    fn keep(&mut self, key: K, value: V) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut cache = Generations::default();
        for key in 0..10 * GENERATION {
            cache.keep(key, key);
            assert_eq!(cache.find(&0), Some(0), "used at every step, so kept");
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        assert_eq!(cache.find(&1), None, "never used, so gone");
    }

    #[test]
    fn a_replaced_value_never_comes_back() {
        let mut cache = Generations::default();
        cache.keep(1, "before");
        for key in 2..2 + GENERATION {
            cache.keep(key, "other");
        }
        cache.keep(1, "after");
        assert_eq!(cache.find(&1), Some("after"));
        assert!(!cache.old.contains_key(&1));
    }
}
