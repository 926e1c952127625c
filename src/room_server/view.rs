//! What a decision can see: an in-memory view of stored rows, which says what it lacks instead of fetching it.

use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, events::StateEventType};

use super::{
    cache::Cache,
    number::EventNumber,
    snapshot::{Node, NodeId, Snapshot},
    stored::{Status, StoredEvent},
};
use crate::{
    erasure::Erasures,
    error::Error,
    ordered::{OrderedMap, OrderedSet},
    storage::Key,
};

/// Something that must be loaded before a question can be answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needed {
    /// A node of a state tree.
    Node(NodeId),
    /// An event by number.
    Event(EventNumber),
    /// The number of an event by ID, in the view's room.
    Number(OwnedEventId),
    /// Another row.
    Row(Key),
}

/// All that must be loaded before the same question can be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need(OrderedSet<Needed>);

impl Need {
    fn of(needed: Needed) -> Self {
        let mut need = Self::default();
        need.0.insert(needed);
        need
    }

    /// Adds what another question needs.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is needed, each kind by itself.
    pub fn iter(&self) -> impl Iterator<Item = &Needed> {
        self.0.iter()
    }
}

/// Why a decision could not be made.
#[derive(Debug)]
pub enum Undecided {
    /// Something must be loaded first; then the decision is made again.
    Need(Need),
    /// It will not be done.
    Refused(Error),
}

impl From<Need> for Undecided {
    fn from(need: Need) -> Self {
        Self::Need(need)
    }
}

impl From<Error> for Undecided {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A view of the database, with what a decision has made on top.
pub struct View<'a> {
    cache: &'a Cache,
    loaded: RefCell<Loaded>,
    fresh: RefCell<Fresh>,
    contents: RefCell<VecDeque<(ContentQuestion, Option<String>)>>,
}

/// Asks for a string in the content of a state event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentQuestion {
    pub(crate) state: Snapshot,
    pub(crate) kind: StateEventType,
    pub(crate) state_key: String,
    pub(crate) field: &'static str,
}

/// So many of the last answers are kept: readers ask the same few things of each event in turn, and most events leave the
/// state as it was.
const KEPT_CONTENTS: usize = 6;

/// What was loaded for this view, pinned until the decision is made.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) nodes: OrderedMap<NodeId, Rc<Node>>,
    pub(crate) events: OrderedMap<EventNumber, Arc<StoredEvent>>,
    pub(crate) ids: OrderedMap<OwnedEventId, Option<EventNumber>>,
    pub(crate) rows: OrderedMap<Key, Option<Vec<u8>>>,
}

/// What the decision has made and its commit must write.
#[derive(Default)]
pub(crate) struct Fresh {
    pub(crate) nodes: OrderedMap<NodeId, (Rc<Node>, Vec<u8>)>,
    pub(crate) events: OrderedMap<EventNumber, Arc<StoredEvent>>,
    pub(crate) ids: OrderedMap<OwnedEventId, EventNumber>,
}

impl<'a> View<'a> {
    /// A view that has loaded nothing yet.
    pub fn new(cache: &'a Cache) -> Self {
        Self { cache, loaded: RefCell::default(), fresh: RefCell::default(), contents: RefCell::default() }
    }

    /// Who was erased.
    pub(crate) fn erasures(&self) -> &Erasures {
        &self.cache.erasures
    }

    /// A node of a state tree.
    pub fn node(&self, id: NodeId) -> Result<Rc<Node>, Need> {
        if let Some((node, _)) = self.fresh.borrow().nodes.get(&id) {
            return Ok(Rc::clone(node));
        }
        if let Some(node) = self.loaded.borrow().nodes.get(&id) {
            return Ok(Rc::clone(node));
        }
        let node = self.cache.node(id).ok_or_else(|| Need::of(Needed::Node(id)))?;
        // What the cache has may be gone from it when the question is asked again, for what was loaded in between.
        self.loaded.borrow_mut().nodes.insert(id, Rc::clone(&node));
        Ok(node)
    }

    /// Several nodes, asking for all that are missing at once.
    pub fn nodes(&self, ids: impl Iterator<Item = NodeId>) -> Result<Vec<Rc<Node>>, Need> {
        collect(ids, |id| self.node(id))
    }

    /// An event by number.
    pub fn event(&self, number: EventNumber) -> Result<Arc<StoredEvent>, Need> {
        if let Some(event) = self.fresh.borrow().events.get(&number) {
            return Ok(Arc::clone(event));
        }
        if let Some(event) = self.loaded.borrow().events.get(&number) {
            return Ok(Arc::clone(event));
        }
        let event = self.cache.event(number).ok_or_else(|| Need::of(Needed::Event(number)))?;
        self.loaded.borrow_mut().events.insert(number, Arc::clone(&event));
        Ok(event)
    }

    /// Several events, asking for all that are missing at once.
    pub fn events(&self, numbers: impl Iterator<Item = EventNumber>) -> Result<Vec<Arc<StoredEvent>>, Need> {
        collect(numbers, |number| self.event(number))
    }

    /// The number of an event of the room, or `None` where it is not stored.
    pub fn number(&self, id: &EventId) -> Result<Option<EventNumber>, Need> {
        if let Some(number) = self.fresh.borrow().ids.get(id) {
            return Ok(Some(*number));
        }
        let loaded = self.loaded.borrow().ids.get(id).copied();
        loaded.ok_or_else(|| Need::of(Needed::Number(id.to_owned())))
    }

    /// An event of the room by ID, or `None` where it is not stored, or was not judged.
    pub fn event_by_id(&self, id: &EventId) -> Result<Option<Arc<StoredEvent>>, Need> {
        let event = self.number(id)?.map(|number| self.event(number)).transpose()?;
        Ok(event.filter(|event| event.decided.status != Status::Unjudged))
    }

    /// Several events of the room by ID, asking for all that are missing at once.
    pub fn events_by_id<'b>(&self, ids: impl Iterator<Item = &'b OwnedEventId>) -> Result<Vec<Option<Arc<StoredEvent>>>, Need> {
        collect(ids, |id| self.event_by_id(id))
    }

    /// Any other row, as it was before this decision.
    pub fn row(&self, key: &Key) -> Result<Option<Vec<u8>>, Need> {
        let row = self.loaded.borrow().rows.get(key).cloned();
        row.ok_or_else(|| Need::of(Needed::Row(key.clone())))
    }

    /// A string in the content of a state event, by its place and field.
    pub(crate) fn content_str(&self, question: ContentQuestion) -> Result<Option<String>, Need> {
        if let Some((_, answer)) = self.contents.borrow().iter().find(|(kept, _)| *kept == question) {
            return Ok(answer.clone());
        }
        let number = question.state.event(self, &question.kind, &question.state_key)?;
        let event = number.map(|number| self.event(number)).transpose()?;
        let answer = event.and_then(|event| event.pdu.content_str(question.field));
        let mut contents = self.contents.borrow_mut();
        contents.truncate(KEPT_CONTENTS - 1);
        contents.push_front((question, answer.clone()));
        Ok(answer)
    }

    pub(crate) fn add_node(&self, id: NodeId, node: Node, encoded: Vec<u8>) {
        self.fresh.borrow_mut().nodes.insert(id, (Rc::new(node), encoded));
    }

    pub(crate) fn add_event(&self, event: StoredEvent) {
        // It may be an event that is known already, as a redaction leaves it.
        self.contents.borrow_mut().clear();
        let mut fresh = self.fresh.borrow_mut();
        fresh.ids.insert(event.pdu.event_id.clone(), event.number);
        fresh.events.insert(event.number, Arc::new(event));
    }

    /// What was loaded, to be added to.
    pub(crate) fn loaded(&self) -> RefMut<'_, Loaded> {
        self.loaded.borrow_mut()
    }

    /// Forgets what a decision has made, before it is made again.
    pub(crate) fn forget_fresh(&self) {
        *self.fresh.borrow_mut() = Fresh::default();
        self.contents.borrow_mut().clear();
    }

    pub(crate) fn has_fresh_events(&self) -> bool {
        !self.fresh.borrow().events.is_empty()
    }

    pub(crate) fn take_fresh(&self) -> Fresh {
        self.fresh.take()
    }
}

/// What is found for each key; where something is missing, all that is missing at once, so that one load serves them all.
pub(crate) fn collect<K, T>(keys: impl Iterator<Item = K>, find: impl Fn(K) -> Result<T, Need>) -> Result<Vec<T>, Need> {
    let mut found = Vec::new();
    let mut need = Need::default();
    for key in keys {
        match find(key) {
            Ok(value) => found.push(value),
            Err(more) => need.merge(more),
        }
    }
    if need.is_empty() { Ok(found) } else { Err(need) }
}
