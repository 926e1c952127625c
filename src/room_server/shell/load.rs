//! Loading what questions and decisions lack.

use std::{rc::Rc, sync::Arc};

use ruma::OwnedEventId;

use super::RoomServer;
use crate::{
    error::Error,
    event::RoomVersion,
    ordered::OrderedSet,
    room_server::{
        commit::event_id_key,
        number::{EventNumber, RoomNumber},
        relation::aggregated_mark,
        room::Room,
        snapshot::Node,
        stored::StoredEvent,
        view::{Loaded, Need, Needed, View},
    },
    storage::{Key, Table},
};

impl RoomServer {
    /// Those of a room's events that have children which are aggregated, or had some.
    ///
    /// An event that has got one keeps its mark, and a commit says so in memory: what was read is kept where none came between.
    pub(crate) async fn parents(&self, room: &Room, ids: &[OwnedEventId]) -> Result<OrderedSet<OwnedEventId>, Error> {
        let mut parents = OrderedSet::new();
        let mut unknown = Vec::new();
        for id in ids {
            match self.cache.is_parent(room.number, id) {
                Some(true) => drop(parents.insert(id.clone())),
                Some(false) => {}
                None => unknown.push(id),
            }
        }
        let before = room.head();
        let keys: Vec<_> = unknown.iter().map(|id| aggregated_mark(room.number, id)).collect();
        let marks = self.store.get_many(&keys).await?;
        for (id, mark) in unknown.into_iter().zip(marks) {
            if mark.is_some() {
                parents.insert(id.clone());
            }
            if Rc::ptr_eq(&before, &room.head()) {
                self.cache.keep_is_parent(room.number, id.clone(), mark.is_some());
            }
        }
        Ok(parents)
    }

    /// The version of the room that a row's event is in: where two rooms change together, it may be the other one.
    fn version_of(&self, row: &[u8], room: &Room) -> RoomVersion {
        let number = StoredEvent::room_of(row).filter(|number| *number != room.number);
        let other = number.and_then(|number| self.rooms.borrow().by_number.get(&number).cloned());
        other.map_or_else(|| room.version.clone(), |other| other.version.clone())
    }

    pub(super) async fn load(&self, room: &Room, view: &View<'_>, need: &Need) -> Result<(), Error> {
        let unknown: Vec<_> = need.iter().filter(|needed| !self.recall(room, view, needed)).collect();
        let keys: Vec<_> = unknown.iter().map(|needed| key_of(needed, room.number)).collect();
        let rows = self.store.get_many(&keys).await?;
        for (needed, row) in unknown.into_iter().zip(rows) {
            self.keep(room, needed, row, &mut view.loaded())?;
        }
        Ok(())
    }

    /// Gives the view an event's number that is in memory. Events and nodes the view finds there by itself.
    fn recall(&self, room: &Room, view: &View<'_>, needed: &Needed) -> bool {
        let Needed::Number(id) = needed else { return false };
        let number = self.cache.number(room.number, id);
        if number.is_some() {
            view.loaded().ids.insert(id.clone(), number);
        }
        number.is_some()
    }

    /// Keeps a row that was read, for the view and beyond it.
    fn keep(&self, room: &Room, needed: &Needed, row: Option<Vec<u8>>, loaded: &mut Loaded) -> Result<(), Error> {
        match needed {
            Needed::Node(id) => {
                let node = row.as_deref().and_then(Node::decode).ok_or_else(|| Error::bug(format!("state node {id:?} is gone")))?;
                let node = Rc::new(node);
                self.cache.keep_node(*id, Rc::clone(&node));
                loaded.nodes.insert(*id, node);
            }
            Needed::Event(number) => {
                let row = row.ok_or_else(|| Error::bug(format!("event {} is gone", number.0)))?;
                let event = Arc::new(StoredEvent::decode(*number, &row, &self.version_of(&row, room))?);
                self.cache.keep_event(Arc::clone(&event));
                loaded.events.insert(*number, event);
            }
            Needed::Number(id) => drop(loaded.ids.insert(id.clone(), row.as_deref().and_then(EventNumber::from_bytes))),
            Needed::Row(key) => drop(loaded.rows.insert(key.clone(), row)),
        }
        Ok(())
    }
}

fn key_of(needed: &Needed, room: RoomNumber) -> Key {
    match needed {
        Needed::Node(id) => Key::new(Table::StateNodes).raw(id.as_bytes()),
        Needed::Event(number) => key_of_event(*number),
        Needed::Number(id) => event_id_key(id.as_str(), room),
        Needed::Row(key) => key.clone(),
    }
}

pub(super) fn key_of_event(number: EventNumber) -> Key {
    Key::new(Table::Events).number(number.0)
}
