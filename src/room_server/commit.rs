//! From decided drafts to the rows of one batch.

use std::sync::Arc;

use ruma::{OwnedServerName, OwnedUserId, UserId, events::TimelineEventType};
use serde::{Deserialize, Serialize};

use super::{
    draft::{Appended, Draft, MemberChange},
    head::Head,
    memberships,
    number::{EventNumber, Position, RoomNumber},
    relation,
    room_log::LogRow,
    snapshot::{Difference, Node, NodeId, Snapshot},
    stored::StoredEvent,
};
use crate::{
    gather::Gather,
    log::{Federated, Output, Positions},
    ordered::OrderedMap,
    storage::{Batch, Key, KeyReader, Row, Table},
};

/// A local user's membership of a room, as the user's own list of rooms holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRoom {
    /// The membership.
    #[serde(rename = "m")]
    pub membership: String,
    /// The membership event.
    #[serde(rename = "e")]
    pub event: EventNumber,
    /// Where in the log it came about.
    #[serde(rename = "p")]
    pub position: Position,
    /// Whether the user has asked to forget the room after leaving it.
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

/// What a commit leaves behind in memory once it is durable.
pub(super) struct Committed {
    head: Head,
    log: Vec<LogRow>,
    events: Vec<Arc<StoredEvent>>,
    nodes: Vec<(NodeId, std::rc::Rc<Node>)>,
    /// Local users of whose rooms something was written.
    users: Vec<OwnedUserId>,
}

impl Draft<'_> {
    /// Assigns positions and writes all rows.
    pub(super) fn write(&mut self, positions: &mut Positions, batch: &mut Batch) -> Committed {
        let room = self.room.number;
        let fresh = self.view.take_fresh();
        let is_new_room = self.room.head().extremities.is_empty();
        let (users, joined) = (self.local_users(), self.joined_elsewhere());
        let mut places = OrderedMap::new();
        let mut log = Vec::new();
        for appended in &self.appended {
            if let Some((difference, current)) = &appended.output {
                let users = users.get(&appended.event).cloned().unwrap_or_default();
                let joined = joined.get(&appended.event).cloned().unwrap_or_default();
                let federated = fresh.events.get(&appended.event).map(|event| self.federated(event, joined)).unwrap_or_default();
                let position = positions.assign(output(room, appended.event, difference, users, federated));
                self.head.position = position;
                places.insert(appended.event, position);
                log.push(LogRow { position, event: appended.event, after: *current });
                batch.put(room_log_key(room, position), room_log_row(appended.event, *current));
            }
        }
        self.write_outside(positions, batch);
        let events: Vec<_> = fresh.events.into_values().map(|event| placed(event, &places)).collect();
        let nodes = fresh.nodes.into_iter().map(|(id, (node, encoded))| {
            batch.put(Key::new(Table::StateNodes).raw(id.as_bytes()), encoded);
            (id, node)
        });
        let nodes = nodes.collect();
        self.write_events(&events, batch);
        self.write_members(&places, batch);
        if is_new_room {
            batch.put_json(Key::new(Table::Rooms).text(self.room.id.as_str()), &self.room.row());
        }
        batch.put_json(Key::new(Table::Heads).number(room.0), &self.head);
        batch.append(std::mem::take(&mut self.rows));
        Committed { head: std::mem::take(&mut self.head), log, events, nodes, users: memberships::changed(batch) }
    }

    fn write_events(&self, events: &[Arc<StoredEvent>], batch: &mut Batch) {
        let appended: OrderedMap<EventNumber, &Appended> = self.appended.iter().map(|appended| (appended.event, appended)).gather();
        for event in events {
            let room = self.room.number;
            batch.put(Key::new(Table::Events).number(event.number.0), event.encode());
            batch.put(event_id_key(event.pdu.event_id.as_str(), room), event.number.0.to_be_bytes());
            if appended.get(&event.number).is_some_and(|appended| appended.in_timeline) {
                batch.put(timeline_key(room, event.pdu.depth, event.number), []);
                relation::write(batch, room, &event.pdu, event.number);
                if event.decided.gap {
                    batch.put(gap_key(room, event.pdu.depth, event.number), []);
                }
            }
        }
    }

    fn write_members(&self, places: &OrderedMap<EventNumber, Position>, batch: &mut Batch) {
        for (user, MemberChange { before, after, cause }) in &self.members {
            if let Some(before) = before {
                batch.delete(member_key(self.room.number, before, user));
            }
            if let Some((membership, event)) = after {
                batch.put(member_key(self.room.number, membership, user), event.0.to_be_bytes());
            }
            if self.is_local(user) {
                // Who has no membership in the current state any more is out of the room, by the event that made it so.
                let (membership, event) = after.clone().unwrap_or_else(|| ("leave".into(), *cause));
                let position = places.get(cause).copied().unwrap_or(self.head.position);
                let row = UserRoom { membership, event, position, forgotten: false };
                batch.put_json(user_room_key(user, self.room.number), &row);
            }
        }
    }

    /// The local users whose membership each event changes.
    fn local_users(&self) -> OrderedMap<EventNumber, Vec<OwnedUserId>> {
        let mut users: OrderedMap<EventNumber, Vec<OwnedUserId>> = OrderedMap::new();
        for (user, change) in self.members.iter().filter(|(user, _)| self.is_local(user)) {
            users.entry(change.cause).or_default().push(user.clone());
        }
        users
    }

    /// How many more users of other servers are joined because of each event.
    fn joined_elsewhere(&self) -> OrderedMap<EventNumber, OrderedMap<OwnedServerName, i64>> {
        let mut joined: OrderedMap<EventNumber, OrderedMap<OwnedServerName, i64>> = OrderedMap::new();
        for (user, change) in self.members.iter().filter(|(user, _)| !self.is_local(user)) {
            let was = change.before.as_deref() == Some("join");
            let is = change.after.as_ref().is_some_and(|(membership, _)| membership == "join");
            if was != is {
                let of_event = joined.entry(change.cause).or_default();
                *of_event.entry(user.server_name().to_owned()).or_default() += if is { 1 } else { -1 };
            }
        }
        joined
    }

    fn federated(&self, event: &StoredEvent, joined: OrderedMap<OwnedServerName, i64>) -> Box<Federated> {
        let pdu = &event.pdu;
        // Whom an invitation is for gets it by a request of its own.
        let ends = pdu.kind == TimelineEventType::RoomMember && matches!(pdu.content_str("membership").as_deref(), Some("leave" | "ban"));
        let member = pdu.state_key.as_deref().filter(|_| ends);
        let target = member.and_then(|user| UserId::parse(user).ok()).filter(|user| !self.is_local(user));
        Box::new(Federated {
            outgoing: self.is_local(&pdu.sender) || self.passed_on.contains(&pdu.event_id),
            target: target.map(|user| user.server_name().to_owned()),
            joined,
        })
    }

    fn is_local(&self, user: &UserId) -> bool {
        user.server_name() == self.context.identity.server_name()
    }
}

impl Committed {
    /// Shows the commit to readers.
    pub(super) fn publish(self, room: &super::room::Room, cache: &super::cache::Cache) {
        for event in self.events {
            if let Some(parent) = relation::aggregated_parent(&event.pdu) {
                cache.keep_is_parent(event.room, parent, true);
            }
            cache.keep_event(event);
        }
        for (id, node) in self.nodes {
            cache.keep_node(id, node);
        }
        if !self.users.is_empty() {
            cache.memberships.forget(&self.users);
        }
        room.advance(self.head, self.log);
    }
}

fn placed(event: Arc<StoredEvent>, places: &OrderedMap<EventNumber, Position>) -> Arc<StoredEvent> {
    match places.get(&event.number) {
        Some(position) => {
            let mut event = (*event).clone();
            event.decided.position = *position;
            Arc::new(event)
        }
        None => event,
    }
}

fn output(room: RoomNumber, event: EventNumber, difference: &Difference, users: Vec<OwnedUserId>, federated: Box<Federated>) -> Output {
    let added = difference.values().filter_map(|(_, after)| *after).collect();
    let removed = difference.values().filter_map(|(before, _)| *before).collect();
    Output::Event { room, event, added, removed, users, federated }
}

fn room_log_row(event: EventNumber, current: Snapshot) -> Vec<u8> {
    [event.0.to_be_bytes().as_slice(), &current.to_bytes()].concat()
}

/// The event of a row of the room's log, and the current state behind it.
pub(crate) fn read_room_log_row(row: &[u8]) -> Option<(EventNumber, Snapshot)> {
    let (number, state) = row.split_first_chunk::<8>()?;
    Some((EventNumber(u64::from_be_bytes(*number)), Snapshot::from_bytes(state)?))
}

pub(crate) fn room_log_key(room: RoomNumber, position: Position) -> Key {
    Key::new(Table::RoomLog).number(room.0).number(position.0)
}

pub(crate) fn timeline_key(room: RoomNumber, depth: u64, event: EventNumber) -> Key {
    Key::new(Table::Timeline).number(room.0).number(depth).number(event.0)
}

pub(crate) fn gap_key(room: RoomNumber, depth: u64, event: EventNumber) -> Key {
    Key::new(Table::Gaps).number(room.0).number(depth).number(event.0)
}

pub(crate) fn event_id_key(event_id: &str, room: RoomNumber) -> Key {
    event_id_prefix(event_id).number(room.0)
}

/// The events of that ID in all rooms.
pub(crate) fn event_id_prefix(event_id: &str) -> Key {
    Key::new(Table::EventIds).text(event_id)
}

/// The room of a row that holds an event's ID.
pub(crate) fn room_of_event_id(row: &Row) -> Option<RoomNumber> {
    let mut key = KeyReader::new(&row.key);
    key.text()?;
    key.number().map(RoomNumber)
}

pub(crate) fn member_key(room: RoomNumber, membership: &str, user: &UserId) -> Key {
    members_prefix(room, membership).text(user.as_str())
}

pub(crate) fn members_prefix(room: RoomNumber, membership: &str) -> Key {
    Key::new(Table::Members).number(room.0).text(membership)
}

pub(crate) fn user_room_key(user: &UserId, room: RoomNumber) -> Key {
    Key::new(Table::UserRooms).text(user.as_str()).number(room.0)
}
