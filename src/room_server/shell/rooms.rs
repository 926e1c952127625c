//! The rooms that are in memory, and how others get there.

use std::rc::{Rc, Weak};

use ruma::{OwnedRoomId, RoomId};

use super::{RoomServer, load::key_of_event};
use crate::{
    error::Error,
    event::RoomVersion,
    ordered::OrderedMap,
    parse,
    room_server::{
        head::Head,
        number::{EventNumber, RoomNumber},
        room::{Room, RoomRow},
    },
    storage::{Batch, Key, Table},
};

/// Rooms by ID and by number.
#[derive(Default)]
pub(super) struct Rooms {
    by_id: OrderedMap<OwnedRoomId, Rc<Room>>,
    pub(super) by_number: OrderedMap<RoomNumber, Rc<Room>>,
    /// Rooms that somebody is about to take in and that have no row yet.
    expected: OrderedMap<OwnedRoomId, Weak<Room>>,
}

impl Rooms {
    /// Keeps a room, or gives back the one that another task has kept meanwhile: there must be one lock.
    pub(super) fn keep(&mut self, room: Rc<Room>) -> Rc<Room> {
        self.expected.remove(&room.id);
        let room = Rc::clone(self.by_id.entry(room.id.clone()).or_insert(room));
        self.by_number.insert(room.number, Rc::clone(&room));
        room
    }

    /// Puts a room in the place of the one of its ID.
    fn replace(&mut self, room: &Rc<Room>) {
        self.expected.remove(&room.id);
        self.by_id.insert(room.id.clone(), Rc::clone(room));
        self.by_number.insert(room.number, Rc::clone(room));
    }
}

impl RoomServer {
    /// The room of that ID, if this server knows it.
    pub async fn room(&self, id: &RoomId) -> Result<Option<Rc<Room>>, Error> {
        if let Some(room) = self.rooms.borrow().by_id.get(id) {
            return Ok(Some(Rc::clone(room)));
        }
        let Some(row) = self.row(room_key(id)).await? else { return Ok(None) };
        let row = read_room_row(id, &row)?;
        let head = self.row(head_key(row.number)).await?;
        self.keep_room(id, &row, head.as_deref()).map(Some)
    }

    /// The rooms of these numbers, each by an event of it.
    pub async fn rooms_by_number(&self, wanted: &[(RoomNumber, EventNumber)]) -> Result<Vec<Rc<Room>>, Error> {
        let unknown: Vec<_> = wanted.iter().filter(|(number, _)| !self.rooms.borrow().by_number.contains_key(number)).collect();
        let events: Vec<_> = unknown.iter().map(|(_, event)| key_of_event(*event)).collect();
        let mut ids = Vec::new();
        for ((number, event), row) in unknown.iter().zip(self.store.get_many(&events).await?) {
            let id = row.as_deref().and_then(room_id_of_event);
            ids.push(id.ok_or_else(|| Error::bug(format!("event {} of room {} is gone", event.0, number.0)))?);
        }
        let keys: Vec<_> = ids.iter().map(|id| room_key(id)).chain(unknown.iter().map(|(number, _)| head_key(*number))).collect();
        let rows = self.store.get_many(&keys).await?;
        let (rooms, heads) = rows.split_at(ids.len());
        for ((id, row), head) in ids.iter().zip(rooms).zip(heads) {
            let row = read_room_row(id, row.as_deref().unwrap_or_default())?;
            self.keep_room(id, &row, head.as_deref())?;
        }
        let rooms = self.rooms.borrow();
        let found = wanted.iter().map(|(number, _)| rooms.by_number.get(number).cloned());
        found.collect::<Option<_>>().ok_or_else(|| Error::bug("a room has another number than its events say"))
    }

    /// The room of this number, by an event of it.
    pub async fn room_by_number(&self, number: RoomNumber, event: EventNumber) -> Result<Rc<Room>, Error> {
        let rooms = self.rooms_by_number(&[(number, event)]).await?;
        rooms.into_iter().next().ok_or_else(|| Error::bug(format!("room {} is gone", number.0)))
    }

    fn keep_room(&self, id: &RoomId, row: &RoomRow, head: Option<&[u8]>) -> Result<Rc<Room>, Error> {
        let version = RoomVersion::parse(&row.version).ok_or_else(|| Error::bug(format!("room {id} has version {}", row.version)))?;
        let head = parse::json(head.unwrap_or_default()).map_err(|error| Error::bug(format!("the head of room {id}: {error}")))?;
        Ok(self.rooms.borrow_mut().keep(Rc::new(Room::new(row.number, id.to_owned(), version, head))))
    }

    /// A room that does not exist until its first event is committed.
    pub fn new_room(&self, id: OwnedRoomId, version: RoomVersion) -> Rc<Room> {
        let number = RoomNumber(self.next_room.get());
        self.next_room.set(number.0 + 1);
        Rc::new(Room::new(number, id, version, Head::default()))
    }

    /// The room of that ID. One that this server does not know exists for those alone who ask for it by this, until its first
    /// event is committed.
    pub(crate) async fn room_or_new(&self, id: &RoomId, version: &RoomVersion) -> Result<Rc<Room>, Error> {
        if let Some(room) = self.room(id).await? {
            return Ok(room);
        }
        if let Some(room) = self.rooms.borrow().expected.get(id).and_then(Weak::upgrade) {
            return Ok(room);
        }
        let room = self.new_room(id.to_owned(), version.clone());
        let mut rooms = self.rooms.borrow_mut();
        rooms.expected.retain(|_, room| room.strong_count() > 0);
        rooms.expected.insert(id.to_owned(), Rc::downgrade(&room));
        Ok(room)
    }

    /// The room as one of this version. One that this server has never been in may have been told to have another.
    pub(crate) async fn room_of_version(&self, id: &RoomId, version: &RoomVersion) -> Result<Rc<Room>, Error> {
        let room = self.room_or_new(id, version).await?;
        if room.version.id == version.id {
            return Ok(room);
        }
        let _lock = room.lock.lock().await;
        if room.is_entered() || room.is_replaced.get() {
            return Err(Error::refused(502, "M_UNKNOWN", format!("{id} is of room version {}.", room.version.id)));
        }
        let other = Rc::new(Room::new(room.number, id.to_owned(), version.clone(), (*room.head()).clone()));
        let mut batch = Batch::new();
        batch.put_json(room_key(id), &other.row());
        batch.put_json(head_key(room.number), &*room.head());
        self.store.commit(batch).await?;
        room.is_replaced.set(true);
        self.rooms.borrow_mut().replace(&other);
        Ok(other)
    }

    async fn row(&self, key: Key) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.get_many(&[key]).await?.pop().flatten())
    }
}

fn room_key(id: &RoomId) -> Key {
    Key::new(Table::Rooms).text(id.as_str())
}

fn head_key(room: RoomNumber) -> Key {
    Key::new(Table::Heads).number(room.0)
}

fn read_room_row(id: &RoomId, row: &[u8]) -> Result<RoomRow, Error> {
    parse::json(row).map_err(|error| Error::bug(format!("the row of room {id}: {error}")))
}

fn room_id_of_event(row: &[u8]) -> Option<OwnedRoomId> {
    #[derive(serde::Deserialize)]
    struct Row {
        i: String,
        e: InEvent,
    }
    #[derive(serde::Deserialize)]
    struct InEvent {
        room_id: Option<OwnedRoomId>,
    }
    let row: Row = parse::json(row).ok()?;
    row.e.room_id.or_else(|| RoomId::parse(row.i.replacen('$', "!", 1)).ok())
}
