//! Room state as a persistent tree: a snapshot is the hash of a root, nodes are content-addressed and never change.
//!
//! An entry's place follows from a hash of its type and state key, four bits a level. A node with few entries is a leaf. The
//! same state always makes the same tree, so equal roots mean equal states, and two trees differ only where their states do.

use std::rc::Rc;

use ruma::events::StateEventType;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    number::EventNumber,
    view::{ContentQuestion, Need, View},
};
use crate::{ordered::OrderedMap, parse};

/// A type and a state key.
pub(crate) type StateKey = (StateEventType, String);

/// A leaf holds at most this many entries. Small rooms have one node; large ones rewrite a leaf of a few kB for each state event.
const LEAF_ENTRIES: usize = 24;

/// Children of a branch: four bits of the hash.
const FAN_OUT: usize = 16;

/// A node's hash, which is its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId([u8; 16]);

/// A snapshot of a room's state. The default is the empty state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Snapshot(Option<NodeId>);

/// A node of the tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nodes are shared behind a pointer, and a box would be a second one")]
pub enum Node {
    /// Entries in order of hash, type and key.
    #[serde(rename = "l")]
    Leaf(Vec<Entry>),
    /// Children by the next four bits of the hash, and the number of entries below.
    #[serde(rename = "b")]
    Branch([Snapshot; FAN_OUT], u64),
}

/// One entry of a room's state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    hash: u32,
    /// The event's type.
    pub kind: StateEventType,
    /// The state key.
    pub state_key: String,
    /// The event.
    pub event: EventNumber,
}

/// A change: the event that takes the place, or `None` where the place is given up.
pub(crate) type Change = (StateKey, Option<EventNumber>);

/// What differs between two snapshots: the events before and after, by type and state key.
pub(crate) type Difference = OrderedMap<StateKey, (Option<EventNumber>, Option<EventNumber>)>;

impl Entry {
    fn new((kind, state_key): StateKey, event: EventNumber) -> Self {
        let hash = place(&kind, &state_key);
        Self { hash, kind, state_key, event }
    }

    fn key(&self) -> StateKey {
        (self.kind.clone(), self.state_key.clone())
    }

    fn as_change(&self) -> PlacedChange<'_> {
        (self.hash, (&self.kind, &self.state_key), Some(self.event))
    }
}

fn place(kind: &StateEventType, state_key: &str) -> u32 {
    let digest = Sha256::new().chain_update(kind.to_string()).chain_update([0]).chain_update(state_key).finalize();
    digest.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Which child an entry with this hash belongs to at this level; `None` below the last level.
fn child(hash: u32, level: u32) -> Option<usize> {
    let shift = 28_u32.checked_sub(level * 4)?;
    Some(((hash >> shift) & 0xf) as usize)
}

impl NodeId {
    /// The address as a key's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn of(encoded: &[u8]) -> Self {
        let digest = Sha256::digest(encoded);
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl Node {
    /// The node as it is stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A node as it was stored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        parse::json(bytes).ok()
    }
}

impl Snapshot {
    /// The event in this place.
    pub fn event(self, view: &View<'_>, kind: &StateEventType, state_key: &str) -> Result<Option<EventNumber>, Need> {
        let hash = place(kind, state_key);
        let (mut at, mut level) = (self, 0);
        while let Some(id) = at.0 {
            match &*view.node(id)? {
                Node::Leaf(entries) => {
                    return Ok(entries.iter().find(|entry| entry.kind == *kind && entry.state_key == state_key).map(|entry| entry.event));
                }
                Node::Branch(children, _) => at = child(hash, level).and_then(|child| children.get(child).copied()).unwrap_or_default(),
            }
            level += 1;
        }
        Ok(None)
    }

    /// A string in the content of the event in this place.
    pub(crate) fn content_str(
        self,
        view: &View<'_>,
        kind: &StateEventType,
        state_key: &str,
        field: &'static str,
    ) -> Result<Option<String>, Need> {
        view.content_str(ContentQuestion { state: self, kind: kind.clone(), state_key: state_key.to_owned(), field })
    }

    /// Every entry.
    pub fn entries(self, view: &View<'_>) -> Result<Vec<Entry>, Need> {
        let mut entries = Vec::new();
        let mut level = vec![self];
        while !level.is_empty() {
            let mut below = Vec::new();
            for node in view.nodes(level.iter().filter_map(|snapshot| snapshot.0))? {
                match &*node {
                    Node::Leaf(found) => entries.extend(found.iter().cloned()),
                    Node::Branch(children, _) => below.extend(children.iter().copied().filter(|child| child.0.is_some())),
                }
            }
            level = below;
        }
        Ok(entries)
    }

    /// The number of entries.
    pub fn len(self, view: &View<'_>) -> Result<u64, Need> {
        Ok(match self.0 {
            None => 0,
            Some(id) => match &*view.node(id)? {
                Node::Leaf(entries) => entries.len() as u64,
                Node::Branch(_, count) => *count,
            },
        })
    }

    /// The snapshot with these changes made; its new nodes go into the view.
    pub fn with(self, view: &View<'_>, changes: &[Change]) -> Result<Self, Need> {
        let changes =
            changes.iter().map(|((kind, state_key), event)| (place(kind, state_key), (kind, state_key.as_str()), *event)).collect();
        self.changed(view, changes, 0)
    }

    /// What differs between this snapshot and a later one. The work follows the difference, not the states.
    pub fn difference(self, later: Self, view: &View<'_>) -> Result<Difference, Need> {
        let mut difference = Difference::new();
        self.collect_difference(later, view, &mut difference)?;
        difference.retain(|_, (before, after)| before != after);
        Ok(difference)
    }

    fn collect_difference(self, later: Self, view: &View<'_>, difference: &mut Difference) -> Result<(), Need> {
        if self == later {
            return Ok(());
        }
        if let (Some(Node::Branch(before, _)), Some(Node::Branch(after, _))) = (self.node(view)?.as_deref(), later.node(view)?.as_deref()) {
            let changed = before.iter().zip(after).filter(|(before, after)| before != after);
            // Asks for all the children at once, so that one load serves the level.
            view.nodes(changed.clone().flat_map(|(before, after)| [before.0, after.0]).flatten())?;
            return changed.into_iter().try_for_each(|(before, after)| before.collect_difference(*after, view, difference));
        }
        for entry in self.entries(view)? {
            difference.entry(entry.key()).or_default().0 = Some(entry.event);
        }
        for entry in later.entries(view)? {
            difference.entry(entry.key()).or_default().1 = Some(entry.event);
        }
        Ok(())
    }

    fn node(self, view: &View<'_>) -> Result<Option<Rc<Node>>, Need> {
        self.0.map(|id| view.node(id)).transpose()
    }

    fn changed(self, view: &View<'_>, changes: Vec<PlacedChange<'_>>, level: u32) -> Result<Self, Need> {
        if changes.is_empty() {
            return Ok(self);
        }
        let node = self.node(view)?;
        let entries = match node.as_deref() {
            Some(Node::Branch(children, _)) => return Self::branch(view, *children, changes, level),
            Some(Node::Leaf(entries)) => entries.as_slice(),
            None => &[],
        };
        if changes.len() <= LEAF_ENTRIES || child(0, level).is_none() {
            return Self::of_entries(view, apply(entries.to_vec(), changes), level);
        }
        // Many are parted first: each change is looked for among all entries of a leaf.
        let all = entries.iter().map(Entry::as_change).chain(changes).collect();
        Self::branch(view, [Self(None); FAN_OUT], all, level)
    }

    fn branch(view: &View<'_>, mut children: [Self; FAN_OUT], changes: Vec<PlacedChange<'_>>, level: u32) -> Result<Self, Need> {
        let mut by_child: OrderedMap<usize, Vec<PlacedChange<'_>>> = OrderedMap::new();
        for change in changes {
            by_child.entry(child(change.0, level).unwrap_or_default()).or_default().push(change);
        }
        view.nodes(by_child.keys().filter_map(|index| children.get(*index)?.0))?;
        for (index, changes) in by_child {
            if let Some(child) = children.get_mut(index) {
                *child = child.changed(view, changes, level + 1)?;
            }
        }
        Self::of_children(view, children)
    }

    fn of_children(view: &View<'_>, children: [Self; FAN_OUT]) -> Result<Self, Need> {
        let mut count = 0;
        for child in children {
            count += child.len(view)?;
        }
        if count <= LEAF_ENTRIES as u64 {
            let mut entries = Vec::new();
            for child in children {
                entries.extend(child.entries(view)?);
            }
            entries.sort();
            return Ok(Self::store(view, Node::Leaf(entries)));
        }
        Ok(Self::store(view, Node::Branch(children, count)))
    }

    fn of_entries(view: &View<'_>, entries: Vec<Entry>, level: u32) -> Result<Self, Need> {
        if entries.is_empty() {
            return Ok(Self(None));
        }
        if entries.len() <= LEAF_ENTRIES || child(0, level).is_none() {
            return Ok(Self::store(view, Node::Leaf(entries)));
        }
        let mut parts: [Vec<Entry>; FAN_OUT] = Default::default();
        for entry in entries {
            if let Some(part) = child(entry.hash, level).and_then(|index| parts.get_mut(index)) {
                part.push(entry);
            }
        }
        let mut children = [Self(None); FAN_OUT];
        for (child, part) in children.iter_mut().zip(parts) {
            *child = Self::of_entries(view, part, level + 1)?;
        }
        Self::of_children(view, children)
    }

    fn store(view: &View<'_>, node: Node) -> Self {
        if matches!(&node, Node::Leaf(entries) if entries.is_empty()) {
            return Self(None);
        }
        let encoded = node.encode();
        let id = NodeId::of(&encoded);
        view.add_node(id, node, encoded);
        Self(Some(id))
    }
}

type PlacedChange<'a> = (u32, (&'a StateEventType, &'a str), Option<EventNumber>);

fn apply(mut entries: Vec<Entry>, changes: Vec<PlacedChange<'_>>) -> Vec<Entry> {
    for (_, (kind, state_key), event) in changes {
        entries.retain(|entry| entry.kind != *kind || entry.state_key != state_key);
        entries.extend(event.map(|event| Entry::new((kind.clone(), state_key.to_owned()), event)));
    }
    entries.sort();
    entries
}

impl Serialize for Snapshot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.map_or_else(String::new, |id| format!("{:032x}", u128::from_be_bytes(id.0)));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let id = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(Some(NodeId(id.to_be_bytes()))))
    }
}

impl Snapshot {
    /// The snapshot as sixteen bytes; zeros for the empty state.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.map_or([0; 16], |id| id.0)
    }

    /// The snapshot of sixteen bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = *bytes.first_chunk()?;
        Some(Self((bytes != [0; 16]).then_some(NodeId(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use crate::ordered::OrderedMap;

    use proptest::prelude::*;

    use super::*;
    use crate::room_server::cache::Cache;

    fn change() -> impl Strategy<Value = Change> {
        (0_u16..120, proptest::option::weighted(0.8, 1_u64..50))
            .prop_map(|(key, event)| ((StateEventType::from(format!("t{}", key % 3)), key.to_string()), event.map(EventNumber)))
    }

    proptest! {
        #[test]
        fn the_same_state_makes_the_same_tree(changes in proptest::collection::vec(change(), 0..200), more in proptest::collection::vec(change(), 0..60)) {
            let cache = Cache::default();
            let view = View::new(&cache);
            let mut model = OrderedMap::new();
            let mut one_by_one = Snapshot::default();
            for change in &changes {
                one_by_one = one_by_one.with(&view, std::slice::from_ref(change)).unwrap();
                model.insert(change.0.clone(), change.1);
            }
            model.retain(|_, event| event.is_some());
            let at_once: Vec<Change> = model.clone().into_iter().collect();
            prop_assert_eq!(one_by_one, Snapshot::default().with(&view, &at_once).unwrap());
            prop_assert_eq!(one_by_one.len(&view).unwrap(), model.len() as u64);
            for ((kind, key), event) in &model {
                prop_assert_eq!(one_by_one.event(&view, kind, key).unwrap(), *event);
            }

            let later = one_by_one.with(&view, &more).unwrap();
            let mut model_later = model.clone();
            model_later.extend(more);
            model_later.retain(|_, event| event.is_some());
            let difference = one_by_one.difference(later, &view).unwrap();
            for key in model.keys().chain(model_later.keys()) {
                let (before, after) = (model.get(key).copied().flatten(), model_later.get(key).copied().flatten());
                prop_assert_eq!(difference.get(key).copied(), (before != after).then_some((before, after)));
            }
            prop_assert_eq!(later.entries(&view).unwrap().len(), model_later.len());
        }
    }
}
