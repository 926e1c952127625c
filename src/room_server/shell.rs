//! The room server's shell: locks, loads, lets the drafts be decided, and commits.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::{Rc, Weak},
    sync::Arc,
};

use futures_util::{future::try_join3, lock::MutexGuard};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};

use super::{
    cache::Cache,
    commit::event_id_key,
    draft::{Context, Draft},
    head::Head,
    number::{EventNumber, Position, RoomNumber},
    relation::aggregated_mark,
    room::{Room, RoomRow},
    snapshot::Node,
    stored::StoredEvent,
    view::{Loaded, Need, Needed, Undecided, View},
};
use crate::{
    erasure::Erasures,
    error::Error,
    event::RoomVersion,
    identity::Identity,
    log::{Log, Publish},
    ports::{Clock, Store},
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// The room server.
pub struct RoomServer {
    store: Rc<dyn Store>,
    log: Rc<Log>,
    identity: Rc<Identity>,
    clock: Rc<dyn Clock>,
    cache: Rc<Cache>,
    rooms: Rc<RefCell<Rooms>>,
    next_room: Cell<u64>,
    next_event: Cell<u64>,
}

/// A decision, without the type of its answer: what waits for stores is compiled once for all decisions and questions.
type Decide<'a> = &'a mut dyn FnMut(&mut [Draft<'_>]) -> Result<(), Undecided>;

/// A question, without the type of its answer.
type Question<'a> = &'a mut dyn FnMut(&View<'_>) -> Result<(), Need>;

#[derive(Default)]
struct Rooms {
    by_id: BTreeMap<OwnedRoomId, Rc<Room>>,
    by_number: BTreeMap<RoomNumber, Rc<Room>>,
    /// Rooms that somebody is about to take in and that have no row yet.
    expected: BTreeMap<OwnedRoomId, Weak<Room>>,
}

impl Rooms {
    /// Keeps a room, or gives back the one that another task has kept meanwhile: there must be one lock.
    fn keep(&mut self, room: Rc<Room>) -> Rc<Room> {
        self.expected.remove(&room.id);
        let room = Rc::clone(self.by_id.entry(room.id.clone()).or_insert(room));
        self.by_number.insert(room.number, Rc::clone(&room));
        room
    }
}

impl RoomServer {
    /// Opens the room server on a store.
    pub async fn open(store: Rc<dyn Store>, log: Rc<Log>, identity: Rc<Identity>, clock: Rc<dyn Clock>) -> Result<Self, Error> {
        let (last_room, last_event) = (last_number(&*store, Table::Heads), last_number(&*store, Table::Events));
        let (last_room, last_event, erasures) = try_join3(last_room, last_event, Erasures::load(&*store)).await?;
        Ok(Self {
            store,
            log,
            identity,
            clock,
            cache: Rc::new(Cache::of(erasures)),
            rooms: Rc::default(),
            next_room: Cell::new(last_room + 1),
            next_event: Cell::new(last_event + 1),
        })
    }

    /// Keeps what a user sent from those who come later than this, once that is committed.
    pub(crate) fn erase(&self, user: OwnedUserId, position: Position) -> Publish {
        let cache = Rc::clone(&self.cache);
        Box::new(move || cache.erasures.remember(user, position))
    }

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
        let head =
            serde_json::from_slice(head.unwrap_or_default()).map_err(|error| Error::bug(format!("the head of room {id}: {error}")))?;
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

    /// Decides drafts of these rooms under their locks and commits them together, or changes nothing.
    ///
    /// `decide` may be called several times, and must do nothing but ask and add to the drafts.
    pub async fn transact<T>(
        &self,
        rooms: &[&Rc<Room>],
        mut decide: impl FnMut(&mut [Draft<'_>]) -> Result<T, Undecided>,
    ) -> Result<T, Error> {
        let mut answer = None;
        let mut keep_answer = |drafts: &mut [Draft<'_>]| {
            answer = Some(decide(drafts)?);
            Ok(())
        };
        self.decide_and_commit(rooms, &mut keep_answer).await?;
        answer.ok_or_else(|| Error::bug("nothing was decided"))
    }

    async fn decide_and_commit(&self, rooms: &[&Rc<Room>], decide: Decide<'_>) -> Result<(), Error> {
        let _locks = lock_all(rooms).await;
        let context = Context { identity: &self.identity, now: self.clock.now(), next_event: &self.next_event };
        let mut drafts: Vec<_> = rooms.iter().map(|room| Draft::new(room, context, View::new(&self.cache))).collect();
        while let Err(undecided) = decide(&mut drafts) {
            let need = match undecided {
                Undecided::Refused(error) => return Err(error),
                Undecided::Need(need) => need,
            };
            for draft in &mut drafts {
                self.load(draft.room, &draft.view, &need).await?;
                draft.restart();
            }
        }
        if drafts.iter().all(Draft::is_empty) {
            return Ok(());
        }
        self.commit(rooms, drafts).await
    }

    async fn commit(&self, rooms: &[&Rc<Room>], mut drafts: Vec<Draft<'_>>) -> Result<(), Error> {
        let appending = self.log.append_and_publish(|positions| {
            let mut batch = Batch::new();
            let committed: Vec<_> = drafts.iter_mut().map(|draft| draft.write(positions, &mut batch)).collect();
            let rooms: Vec<_> = rooms.iter().map(|room| Rc::clone(room)).collect();
            let (cache, known) = (Rc::clone(&self.cache), Rc::clone(&self.rooms));
            let publish = move || {
                for (room, committed) in rooms.into_iter().zip(committed) {
                    committed.publish(&room, &cache);
                    known.borrow_mut().keep(room);
                }
            };
            (batch, Box::new(publish))
        });
        appending.await
    }

    /// [`RoomServer::transact`] for one room.
    pub async fn transact_in<T>(
        &self,
        room: &Rc<Room>,
        mut decide: impl FnMut(&mut Draft<'_>) -> Result<T, Undecided>,
    ) -> Result<T, Error> {
        self.transact(&[room], |drafts| match drafts {
            [draft] => decide(draft),
            _ => Err(Error::bug("one room makes one draft").into()),
        })
        .await
    }

    /// Asks a question of a room's stored state, loading what it needs.
    pub async fn ask<T>(&self, room: &Room, mut question: impl FnMut(&View<'_>) -> Result<T, Need>) -> Result<T, Error> {
        let mut answer = None;
        let mut keep_answer = |view: &View<'_>| {
            answer = Some(question(view)?);
            Ok(())
        };
        self.load_until_answered(room, &mut keep_answer).await?;
        answer.ok_or_else(|| Error::bug("a question has no answer"))
    }

    async fn load_until_answered(&self, room: &Room, question: Question<'_>) -> Result<(), Error> {
        let view = View::new(&self.cache);
        while let Err(need) = question(&view) {
            self.load(room, &view, &need).await?;
        }
        Ok(())
    }

    /// Several events of a room.
    pub async fn events(&self, room: &Room, numbers: &[EventNumber]) -> Result<Vec<Arc<StoredEvent>>, Error> {
        self.ask(room, |view| view.events(numbers.iter().copied())).await
    }

    /// An event of a room by ID.
    pub async fn event_by_id(&self, room: &Room, id: &EventId) -> Result<Option<Arc<StoredEvent>>, Error> {
        self.ask(room, |view| view.event_by_id(id)).await
    }

    /// Those of a room's events that have children which are aggregated, or had some.
    ///
    /// An event that has got one keeps its mark, and a commit says so in memory: what was read is kept where none came between.
    pub(crate) async fn parents(&self, room: &Room, ids: &[OwnedEventId]) -> Result<BTreeSet<OwnedEventId>, Error> {
        let mut parents = BTreeSet::new();
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

    async fn row(&self, key: Key) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.get_many(&[key]).await?.pop().flatten())
    }

    /// The version of the room that a row's event is in: where two rooms change together, it may be the other one.
    fn version_of(&self, row: &[u8], room: &Room) -> RoomVersion {
        let number = StoredEvent::room_of(row).filter(|number| *number != room.number);
        let other = number.and_then(|number| self.rooms.borrow().by_number.get(&number).cloned());
        other.map_or_else(|| room.version.clone(), |other| other.version.clone())
    }

    async fn load(&self, room: &Room, view: &View<'_>, need: &Need) -> Result<(), Error> {
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

fn key_of_event(number: EventNumber) -> Key {
    Key::new(Table::Events).number(number.0)
}

fn room_key(id: &RoomId) -> Key {
    Key::new(Table::Rooms).text(id.as_str())
}

fn head_key(room: RoomNumber) -> Key {
    Key::new(Table::Heads).number(room.0)
}

fn read_room_row(id: &RoomId, row: &[u8]) -> Result<RoomRow, Error> {
    serde_json::from_slice(row).map_err(|error| Error::bug(format!("the row of room {id}: {error}")))
}

/// Locks in the order of the rooms' numbers, so that no two tasks wait for each other.
async fn lock_all<'a>(rooms: &[&'a Rc<Room>]) -> Vec<MutexGuard<'a, ()>> {
    let mut sorted = rooms.to_vec();
    sorted.sort_by_key(|room| room.number);
    let mut locks = Vec::new();
    for room in sorted {
        locks.push(room.lock.lock().await);
    }
    locks
}

async fn last_number(store: &dyn Store, table: Table) -> Result<u64, Error> {
    let rows = store.scan(&Scan::prefix(Key::new(table)).reversed().limited(1)).await?;
    Ok(rows.first().and_then(|row| KeyReader::new(&row.key).number()).unwrap_or(0))
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
    let row: Row = serde_json::from_slice(row).ok()?;
    row.e.room_id.or_else(|| RoomId::parse(row.i.replacen('$', "!", 1)).ok())
}
