//! Relations between events: the rows by which an event's children are found, written and deleted with the children.

use ruma::{EventId, OwnedEventId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{EventNumber, Need, RoomNumber, View, stored::StoredEvent};
use crate::{
    event::Pdu,
    parse,
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
    tokens::TopologicalToken,
};

/// Children are grouped, so that those which are aggregated are found in one range however many others there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// No children, but marks that there are some.
    Mark = 0,
    /// Annotations, and relations of types that this server does not know.
    Other = 1,
    /// `m.replace`
    Replacement = 2,
    /// `m.thread`
    Thread = 3,
    /// `m.reference`
    Reference = 4,
    /// By a hash of sender, type and key: the annotation, of which there is to be no second.
    Annotated = 5,
}

/// An event is in a thread over so many other events at most.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
const MAX_HOPS: u32 = 3;

/// How an event says that it relates to another.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Relation {
    pub(crate) rel_type: String,
    pub(crate) event_id: OwnedEventId,
    /// What an annotation says.
    #[serde(default)]
    key: serde_json::Value,
}

/// What a child's row says, beside its place in the timeline, which is in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RelationRow {
    #[serde(rename = "r")]
    pub(crate) rel_type: String,
    #[serde(rename = "k")]
    pub(crate) kind: String,
    #[serde(rename = "s")]
    pub(crate) sender: OwnedUserId,
}

/// A child as a scan finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) group: Group,
    /// Where in the timeline it is.
    pub(crate) place: TopologicalToken,
    pub(crate) row: RelationRow,
}

impl Group {
    /// The groups that hold children.
    pub(crate) const OF_CHILDREN: [Self; 4] = [Self::Other, Self::Replacement, Self::Thread, Self::Reference];

    /// The group of a relation type.
    pub(crate) fn of(rel_type: &str) -> Self {
        match rel_type {
            "m.replace" => Self::Replacement,
            "m.thread" => Self::Thread,
            "m.reference" => Self::Reference,
            _ => Self::Other,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::OF_CHILDREN.into_iter().find(|group| *group as u8 == byte)
    }
}

impl Relation {
    /// How an event with this content relates to another; `None` where it does not, or not as it should.
    pub(crate) fn of(content: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Relating {
            #[serde(rename = "m.relates_to")]
            relates_to: Relation,
        }
        // What is related to nothing is spared the parsing.
        if !content.contains("m.relates_to") {
            return None;
        }
        serde_json::from_str::<Relating>(content).ok().map(|relating| relating.relates_to)
    }

    /// The same of a content that is about to be sent.
    pub(crate) fn of_new(content: &serde_json::Value) -> Option<Self> {
        Self::deserialize(content.get("m.relates_to")?).ok()
    }

    /// The row that keeps a user from annotating twice alike.
    pub(crate) fn annotated_key(&self, room: RoomNumber, kind: &str, sender: &UserId) -> Option<Key> {
        let key = self.key.as_str().filter(|_| self.rel_type == "m.annotation")?;
        let mut hash = Sha256::new();
        for part in [sender.as_str(), kind, key] {
            // The same on machines of every width.
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        Some(group_prefix(room, &self.event_id, Group::Annotated).raw(&hash.finalize()))
    }
}

/// The root of the thread that an event is in, by its own word or that of an event that it relates to over some hops.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
pub(crate) fn thread_of(view: &View<'_>, event: &StoredEvent) -> Result<Option<OwnedEventId>, Need> {
    let mut relation = Relation::of(event.pdu.content.get());
    for _ in 0..=MAX_HOPS {
        let Some(found) = relation else { return Ok(None) };
        if Group::of(&found.rel_type) == Group::Thread {
            return Ok(Some(found.event_id));
        }
        relation = view.event_by_id(&found.event_id)?.and_then(|parent| Relation::of(parent.pdu.content.get()));
    }
    Ok(None)
}

/// Writes the rows of an event's relation.
pub(super) fn write(batch: &mut Batch, room: RoomNumber, pdu: &Pdu, event: EventNumber) {
    let Some(relation) = Relation::of(pdu.content.get()) else { return };
    let kind = pdu.kind.to_string();
    let group = Group::of(&relation.rel_type);
    batch.put(parent_mark(room, &relation.event_id), []);
    if group != Group::Other {
        batch.put(aggregated_mark(room, &relation.event_id), []);
    }
    if group == Group::Thread {
        batch.put(thread_log_key(room, pdu.depth, event), relation.event_id.as_bytes());
    }
    if let Some(key) = relation.annotated_key(room, &kind, &pdu.sender) {
        batch.put(key, event.0.to_be_bytes());
    }
    let key = child_key(room, &relation.event_id, group, pdu.depth, event);
    batch.put_json(key, &RelationRow { rel_type: relation.rel_type, kind, sender: pdu.sender.clone() });
}

/// The event that has this one among its aggregated children.
pub(super) fn aggregated_parent(pdu: &Pdu) -> Option<OwnedEventId> {
    let relation = Relation::of(pdu.content.get())?;
    (Group::of(&relation.rel_type) != Group::Other).then_some(relation.event_id)
}

/// Deletes the rows of a relation that a redaction takes away.
pub(super) fn delete(batch: &mut Batch, room: RoomNumber, pdu: &Pdu, event: EventNumber) {
    let Some(relation) = Relation::of(pdu.content.get()) else { return };
    let group = Group::of(&relation.rel_type);
    if group == Group::Thread {
        batch.delete(thread_log_key(room, pdu.depth, event));
    }
    if let Some(key) = relation.annotated_key(room, &pdu.kind.to_string(), &pdu.sender) {
        batch.delete(key);
    }
    batch.delete(child_key(room, &relation.event_id, group, pdu.depth, event));
}

/// The row that is there if an event may have children.
pub(crate) fn parent_mark(room: RoomNumber, parent: &EventId) -> Key {
    group_prefix(room, parent, Group::Mark).byte(0)
}

/// The row that is there if an event may have children which are aggregated.
pub(crate) fn aggregated_mark(room: RoomNumber, parent: &EventId) -> Key {
    group_prefix(room, parent, Group::Mark).byte(1)
}

/// All children of an event.
pub(crate) fn all_children(room: RoomNumber, parent: &EventId) -> Scan {
    Scan::range(group_prefix(room, parent, Group::Other), group_prefix(room, parent, Group::Annotated))
}

/// All children of an event which are aggregated.
pub(crate) fn aggregated_children(room: RoomNumber, parent: &EventId) -> Scan {
    Scan::range(group_prefix(room, parent, Group::Replacement), group_prefix(room, parent, Group::Annotated))
}

/// A child's row.
pub(crate) fn child_key(room: RoomNumber, parent: &EventId, group: Group, depth: u64, event: EventNumber) -> Key {
    group_prefix(room, parent, group).number(depth).number(event.0)
}

/// The row of an event in a thread, by its place in the timeline.
pub(crate) fn thread_log_key(room: RoomNumber, depth: u64, event: EventNumber) -> Key {
    Key::new(Table::Threads).number(room.0).number(depth).number(event.0)
}

fn group_prefix(room: RoomNumber, parent: &EventId, group: Group) -> Key {
    Key::new(Table::Relations).number(room.0).text(parent.as_str()).byte(group as u8)
}

/// A child of a row.
pub(crate) fn read_child(row: &Row) -> Option<Child> {
    let mut key = KeyReader::new(&row.key);
    key.number()?;
    key.text()?;
    let group = Group::from_byte(key.byte()?)?;
    let place = TopologicalToken { depth: key.number()?, event: EventNumber(key.number()?) };
    Some(Child { group, place, row: parse::json(&row.value).ok()? })
}
