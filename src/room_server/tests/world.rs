//! A world for tests: users of several servers, a workshop in which their events are made, and peers to which they are delivered.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId, events::StateEventType, serde::Base64};
use serde_json::{Value, json};

use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Placement, PublicKeys, RawPdu, RoomVersion},
    identity::{Identity, Name},
    log::Log,
    ports::{Clock, Entropy, Store},
    room_server::{
        Draft, Input, InputKind, Room, RoomServer, Undecided, Verdict,
        auth::select_auth_events,
        resolve::resolve,
        snapshot::Snapshot,
        stored::{Status, StoredEvent},
    },
    storage::MemoryStore,
};

/// The servers of the world. Rooms are created by the first.
pub(crate) const SERVERS: [&str; 3] = ["a.example", "b.example", "c.example"];

pub(crate) const ALICE: &str = "@alice:a.example";
pub(crate) const BOB: &str = "@bob:b.example";
pub(crate) const CAROL: &str = "@carol:c.example";
pub(crate) const DAVE: &str = "@dave:b.example";

/// When the world begins.
const BEGINNING: u64 = 1_700_000_000_000;

/// A state as tests compare it: event IDs by type and key.
pub(crate) type State = BTreeMap<(String, String), OwnedEventId>;

pub(crate) struct World {
    pub(crate) version: RoomVersion,
    pub(crate) keys: PublicKeys,
    identities: BTreeMap<String, Rc<Identity>>,
    /// Where events are made: a server that knows them all.
    pub(crate) workshop: Peer,
    events: RefCell<BTreeMap<OwnedEventId, CheckedPdu>>,
    /// Event IDs in the order in which they were made.
    made: RefCell<Vec<OwnedEventId>>,
    serial: Cell<u64>,
}

/// A server with a database of its own.
pub(crate) struct Peer {
    pub(crate) rooms: RoomServer,
    pub(crate) room: Rc<Room>,
    pub(crate) log: Rc<Log>,
    pub(crate) store: Rc<dyn Store>,
    pub(crate) identity: Rc<Identity>,
}

/// An event to be made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    event: NewEvent,
    after: Option<Vec<OwnedEventId>>,
    authorised_by: Option<Vec<OwnedEventId>>,
    authorised_as_after: Option<OwnedEventId>,
    forged_with: Option<OwnedEventId>,
    at: Option<u64>,
}

impl Recipe {
    pub(crate) fn state(sender: &str, kind: &str, state_key: &str, content: Value) -> Self {
        Self::of(NewEvent::state(user(sender), kind, state_key, content))
    }

    pub(crate) fn member(sender: &str, target: &str, membership: &str) -> Self {
        Self::state(sender, "m.room.member", target, json!({ "membership": membership }))
    }

    pub(crate) fn topic(sender: &str, topic: &str) -> Self {
        Self::state(sender, "m.room.topic", "", json!({ "topic": topic }))
    }

    pub(crate) fn message(sender: &str, body: &str) -> Self {
        Self::of(NewEvent::message(user(sender), "m.room.message", json!({ "msgtype": "m.text", "body": body })))
    }

    pub(crate) fn redaction(sender: &str, target: &EventId) -> Self {
        let event = NewEvent::message(user(sender), "m.room.redaction", json!({ "reason": "a test" }));
        Self::of(NewEvent { redacts: Some(target.to_owned()), ..event })
    }

    pub(crate) fn of(event: NewEvent) -> Self {
        Self { event, after: None, authorised_by: None, authorised_as_after: None, forged_with: None, at: None }
    }

    /// Upon these events instead of the workshop's extremities.
    pub(crate) fn after(mut self, events: &[&OwnedEventId]) -> Self {
        self.after = Some(events.iter().copied().cloned().collect());
        self
    }

    /// Authorised by these events instead of those that the state before it gives.
    pub(crate) fn authorised_by(mut self, events: &[&OwnedEventId]) -> Self {
        self.authorised_by = Some(events.iter().copied().cloned().collect());
        self
    }

    /// Authorised by the events that the state after this event gives, wherever it is in the graph.
    pub(crate) fn authorised_as_after(mut self, event: &OwnedEventId) -> Self {
        self.authorised_as_after = Some(event.clone());
        self
    }

    /// Authorised by this event as well, in the place of the one of its type and key, whether that is right or not.
    pub(crate) fn forged_with(mut self, event: &OwnedEventId) -> Self {
        self.forged_with = Some(event.clone());
        self
    }

    /// So many milliseconds after the beginning, instead of one after the last event.
    pub(crate) fn at(mut self, millis: u64) -> Self {
        self.at = Some(millis);
        self
    }
}

impl World {
    /// A world with a room that Alice has created; nobody has joined it.
    pub(crate) fn empty(version: &str) -> Self {
        Self::created_with(version, json!({}))
    }

    pub(crate) fn created_with(version: &str, more: Value) -> Self {
        let version = RoomVersion::parse(version).unwrap();
        let identities: BTreeMap<_, _> = (1..).zip(SERVERS).map(|(seed, name)| (name.to_owned(), identity(seed, name))).collect();
        let keys = identities.iter().map(|(name, identity)| (name.clone(), key_of(identity))).collect();
        let create = create_event(&version, &identities[SERVERS[0]], "0", more);
        let workshop = Peer::new(&version, create.pdu().room_id.clone(), Rc::clone(&identities[SERVERS[0]]));
        let (events, made, serial) = (RefCell::default(), RefCell::default(), Cell::new(1));
        let world = Self { version, keys, identities, workshop, events, made, serial };
        assert_eq!(world.workshop.receive(&create, InputKind::New), Verdict::Stored(Status::Accepted));
        world.remember(create);
        world
    }

    /// A world with a public room: Alice has created and joined it and has all power; levels for moderation are the defaults.
    pub(crate) fn new(version: &str) -> Self {
        let world = Self::empty(version);
        world.make(Recipe::member(ALICE, ALICE, "join"));
        world.make(Recipe::state(ALICE, "m.room.power_levels", "", world.power_levels(&[])));
        world.make(Recipe::state(ALICE, "m.room.join_rules", "", json!({ "join_rule": "public" })));
        world
    }

    /// One of the servers goes by this identity from here on.
    pub(crate) fn adopt(&mut self, identity: Rc<Identity>) {
        let name = identity.server_name().to_string();
        self.keys.insert(name.clone(), key_of(&identity));
        self.identities.insert(name, identity);
    }

    /// The identity of a server.
    pub(crate) fn identity(&self, server: &str) -> Rc<Identity> {
        Rc::clone(&self.identities[server])
    }

    /// The content of a power levels event in which these users have a level beside Alice.
    pub(crate) fn power_levels(&self, users: &[(&str, i64)]) -> Value {
        let mut levels: BTreeMap<&str, i64> = users.iter().copied().collect();
        if !self.version.rules.authorization.explicitly_privilege_room_creators {
            levels.insert(ALICE, 100);
        }
        json!({ "users": levels })
    }

    pub(crate) fn power(&self, sender: &str, users: &[(&str, i64)]) -> Recipe {
        Recipe::state(sender, "m.room.power_levels", "", self.power_levels(users))
    }

    /// The create event.
    pub(crate) fn create(&self) -> OwnedEventId {
        self.made.borrow()[0].clone()
    }

    /// A create event of the same room and creator that is not the room's.
    pub(crate) fn another_create(&self) -> CheckedPdu {
        create_event(&self.version, &self.identities[SERVERS[0]], "another", json!({ "another": true }))
    }

    /// Makes an event, which the workshop must accept.
    #[track_caller]
    pub(crate) fn make(&self, recipe: Recipe) -> OwnedEventId {
        let (id, verdict) = self.try_make(recipe);
        assert_eq!(verdict, Verdict::Stored(Status::Accepted), "{}", self.event(&id).pdu().json);
        id
    }

    /// Makes an event whatever the workshop says to it.
    pub(crate) fn try_make(&self, recipe: Recipe) -> (OwnedEventId, Verdict) {
        let event = self.build(recipe);
        let verdict = self.workshop.receive(&event, InputKind::New);
        (self.remember(event), verdict)
    }

    /// Builds an event without anybody receiving it.
    pub(crate) fn build(&self, recipe: Recipe) -> CheckedPdu {
        let identity = &self.identities[recipe.event.sender.server_name().as_str()];
        let serial = self.serial.replace(self.serial.get() + 1);
        let placed = self.workshop.transact(|draft| {
            let prev_events = recipe.after.clone().unwrap_or_else(|| draft.head.prev_events());
            let before: Vec<_> = draft.view.events_by_id(prev_events.iter())?.into_iter().flatten().collect();
            let state = match &recipe.after {
                Some(_) => resolve(&draft.view, &self.version, &before.iter().map(|event| event.decided.after).collect())?,
                None => draft.current(),
            };
            let state = match &recipe.authorised_as_after {
                Some(other) => draft.view.event_by_id(other)?.map_or(state, |event| event.decided.after),
                None => state,
            };
            let mut auth_events = match &recipe.authorised_by {
                Some(events) => events.clone(),
                None => select_auth_events(&draft.view, &self.version, state, &recipe.event)?,
            };
            if let Some(forged) = recipe.forged_with.as_ref().filter(|forged| !auth_events.contains(forged)) {
                let of = |id: &OwnedEventId| (self.event(id).pdu().kind.clone(), self.event(id).pdu().state_key.clone());
                auth_events.retain(|id| of(id) != of(forged));
                auth_events.push(forged.clone());
            }
            let depth = 1 + before.iter().map(|event| event.pdu.depth).max().unwrap_or(0);
            let now = BEGINNING + recipe.at.unwrap_or(serial);
            Ok(Placement { room_id: Some(draft.room.id.clone()), prev_events, auth_events, depth, now, localpart: serial.to_string() })
        });
        recipe.event.build(placed.unwrap(), &self.version, identity).unwrap()
    }

    /// Builds an event after one that nobody knows, authorised as at the head.
    pub(crate) fn build_after_unknown(&self, recipe: Recipe, unknown: &OwnedEventId) -> CheckedPdu {
        let head = self.workshop.extremities();
        let placed = self.build(recipe.clone().after(&head.iter().collect::<Vec<_>>()));
        self.build_at(recipe, &[unknown], &placed.pdu().auth_events, placed.pdu().depth + 1, None)
    }

    /// An ID as the first room versions spell it, before there is an event.
    pub(crate) fn spelt(&self, sender: &str, localpart: &str) -> OwnedEventId {
        EventId::parse(format!("${localpart}:{}", user(sender).server_name())).unwrap()
    }

    /// Builds an event of the first room versions under this ID, after others that need not be there, authorised as after `at`.
    pub(crate) fn circular(&self, recipe: Recipe, id: &OwnedEventId, at: &[&OwnedEventId]) -> CheckedPdu {
        let placed = self.build(recipe.clone().after(at));
        let prev_events = recipe.after.clone().unwrap();
        let localpart = id.as_str().trim_start_matches('$').split(':').next().unwrap().to_owned();
        let prev_events: Vec<_> = prev_events.iter().collect();
        self.build_at(recipe, &prev_events, &placed.pdu().auth_events, placed.pdu().depth, Some(localpart))
    }

    fn build_at(
        &self,
        recipe: Recipe,
        prev_events: &[&OwnedEventId],
        auth_events: &[OwnedEventId],
        depth: u64,
        localpart: Option<String>,
    ) -> CheckedPdu {
        let identity = &self.identities[recipe.event.sender.server_name().as_str()];
        let serial = self.serial.replace(self.serial.get() + 1);
        let placement = Placement {
            room_id: Some(self.workshop.room.id.clone()),
            prev_events: prev_events.iter().map(|id| (*id).clone()).collect(),
            auth_events: auth_events.to_vec(),
            depth,
            now: BEGINNING + serial,
            localpart: localpart.unwrap_or_else(|| serial.to_string()),
        };
        recipe.event.build(placement, &self.version, identity).unwrap()
    }

    pub(crate) fn remember(&self, event: CheckedPdu) -> OwnedEventId {
        let id = event.pdu().event_id.clone();
        if self.events.borrow_mut().insert(id.clone(), event).is_none() {
            self.made.borrow_mut().push(id.clone());
        }
        id
    }

    /// An event as it was made.
    pub(crate) fn event(&self, id: &EventId) -> CheckedPdu {
        self.events.borrow()[id].clone()
    }

    /// All events in the order in which they were made.
    pub(crate) fn made(&self) -> Vec<OwnedEventId> {
        self.made.borrow().clone()
    }

    /// A server that knows nothing of the room yet.
    pub(crate) fn peer(&self) -> Peer {
        Peer::new(&self.version, self.workshop.room.id.clone(), identity(99, "peer.example"))
    }

    /// The same by the name of one of the world's servers, so that some of the users are its own.
    pub(crate) fn peer_of(&self, server: &str) -> Peer {
        Peer::new(&self.version, self.workshop.room.id.clone(), Rc::clone(&self.identities[server]))
    }

    /// A server that has received everything that was made so far, in that order.
    pub(crate) fn informed_peer(&self) -> Peer {
        self.informed_peer_of(self.made().iter())
    }

    /// The same but for one event.
    pub(crate) fn informed_peer_but(&self, unknown: &EventId) -> Peer {
        self.informed_peer_of(self.made().iter().filter(|id| *id != unknown))
    }

    fn informed_peer_of<'a>(&self, events: impl Iterator<Item = &'a OwnedEventId>) -> Peer {
        let peer = self.peer();
        events.for_each(|id| drop(peer.receive(&self.event(id), InputKind::New)));
        peer
    }

    /// An event sent over the wire: parsed and checked anew.
    pub(crate) fn checked(&self, json: &Value) -> Result<CheckedPdu, crate::event::Unfit> {
        RawPdu::parse(json.to_string().as_bytes())?.check(&self.version, &self.keys)
    }
}

impl Peer {
    pub(crate) fn new(version: &RoomVersion, room_id: OwnedRoomId, identity: Rc<Identity>) -> Self {
        Self::over(Rc::new(MemoryStore::new()), version, room_id, identity)
    }

    pub(crate) fn over(store: Rc<dyn Store>, version: &RoomVersion, room_id: OwnedRoomId, identity: Rc<Identity>) -> Self {
        let log = Rc::new(block_on(Log::open(Rc::clone(&store))).unwrap());
        let rooms = block_on(RoomServer::open(Rc::clone(&store), Rc::clone(&log), Rc::clone(&identity), Rc::new(StandingClock))).unwrap();
        let room = block_on(rooms.room(&room_id)).unwrap().unwrap_or_else(|| rooms.new_room(room_id, version.clone()));
        Self { rooms, room, log, store, identity }
    }

    /// The same server after a restart.
    pub(crate) fn reopened(&self) -> Self {
        Self::over(Rc::clone(&self.store), &self.room.version, self.room.id.clone(), Rc::clone(&self.identity))
    }

    pub(crate) fn transact<T>(&self, decide: impl FnMut(&mut Draft<'_>) -> Result<T, Undecided>) -> Result<T, Error> {
        block_on(self.rooms.transact_in(&self.room, decide))
    }

    pub(crate) fn receive(&self, event: &CheckedPdu, kind: InputKind) -> Verdict {
        self.receive_input(&Input { event: event.clone(), kind, state_before: None })
    }

    pub(crate) fn receive_input(&self, input: &Input) -> Verdict {
        self.transact(|draft| draft.receive(input)).unwrap()
    }

    pub(crate) fn server_name(&self) -> String {
        self.identity.server_name().to_string()
    }

    pub(crate) fn find(&self, id: &EventId) -> Option<Arc<StoredEvent>> {
        block_on(self.rooms.event_by_id(&self.room, id)).unwrap()
    }

    #[track_caller]
    pub(crate) fn stored(&self, id: &EventId) -> Arc<StoredEvent> {
        self.find(id).unwrap_or_else(|| panic!("{id} is not stored"))
    }

    pub(crate) fn status(&self, id: &EventId) -> Status {
        self.stored(id).decided.status
    }

    pub(crate) fn state(&self, snapshot: Snapshot) -> State {
        let entries = block_on(self.rooms.ask(&self.room, |view| {
            let entries = snapshot.entries(view)?;
            let events = view.events(entries.iter().map(|entry| entry.event))?;
            Ok(entries.into_iter().zip(events).collect::<Vec<_>>())
        }));
        let entry = |(entry, event): (_, Arc<StoredEvent>)| {
            let entry: crate::room_server::snapshot::Entry = entry;
            ((entry.kind.to_string(), entry.state_key), event.pdu.event_id.clone())
        };
        entries.unwrap().into_iter().map(entry).collect()
    }

    /// The state before an event.
    pub(crate) fn before(&self, id: &EventId) -> State {
        self.state(self.stored(id).decided.before)
    }

    /// The room's current state.
    pub(crate) fn current(&self) -> State {
        self.state(self.room.head().current)
    }

    /// The current event of that type and key.
    pub(crate) fn current_event(&self, kind: &str, state_key: &str) -> Option<OwnedEventId> {
        self.current().remove(&(kind.to_owned(), state_key.to_owned()))
    }

    pub(crate) fn membership(&self, user: &str) -> Option<String> {
        let kind = StateEventType::RoomMember;
        self.transact(|draft| Ok(draft.state(&kind, user)?.and_then(|event| event.pdu.content_str("membership")))).unwrap()
    }

    pub(crate) fn extremities(&self) -> BTreeSet<OwnedEventId> {
        self.room.head().extremities.iter().map(|extremity| extremity.id.clone()).collect()
    }

    /// The state that the states after these events resolve to.
    pub(crate) fn resolved_after(&self, events: &[OwnedEventId]) -> State {
        let snapshot = self.transact(|draft| {
            let events = draft.view.events_by_id(events.iter())?;
            let states = events.iter().flatten().map(|event| event.decided.after).collect();
            let resolved = resolve(&draft.view, &draft.room.version, &states)?;
            let entries = resolved.entries(&draft.view)?;
            let events = draft.view.events(entries.iter().map(|entry| entry.event))?;
            let key = |entry: &crate::room_server::snapshot::Entry| (entry.kind.to_string(), entry.state_key.clone());
            Ok(entries.iter().zip(events).map(|(entry, event)| (key(entry), event.pdu.event_id.clone())).collect())
        });
        snapshot.unwrap()
    }

    /// The content of a stored event.
    pub(crate) fn content(&self, id: &EventId) -> Value {
        serde_json::from_str(self.stored(id).pdu.content.get()).unwrap()
    }
}

pub(crate) fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

/// The identity of a server whose key is made of this byte.
pub(crate) fn identity(seed: u8, name: &str) -> Rc<Identity> {
    Rc::new(Identity::make(&SameBytes(seed), Name::Given(name)).unwrap())
}

fn key_of(identity: &Identity) -> BTreeMap<String, Base64> {
    BTreeMap::from([(crate::identity::KEY_ID.to_owned(), Base64::new(identity.public_key().to_vec()))])
}

fn create_event(version: &RoomVersion, identity: &Identity, localpart: &str, more: Value) -> CheckedPdu {
    let mut content = more;
    content["room_version"] = version.id.as_str().into();
    if !version.rules.authorization.use_room_create_sender {
        content["creator"] = ALICE.into();
    }
    let named = !version.room_id_is_create_hash();
    let room_id = named.then(|| ruma::RoomId::parse(format!("!room:{}", SERVERS[0])).unwrap());
    let placement = Placement { room_id, depth: 1, now: BEGINNING, localpart: localpart.into(), ..Placement::default() };
    NewEvent::state(user(ALICE), "m.room.create", "", content).build(placement, version, identity).unwrap()
}

struct SameBytes(u8);

impl Entropy for SameBytes {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

/// A clock that is never moved: what is built here has its time from its recipe.
pub(crate) struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> u64 {
        BEGINNING
    }

    fn sleep(&self, _: u64) -> LocalBoxFuture<'_, ()> {
        futures_util::future::pending().boxed_local()
    }
}

/// Runs what a store in memory lets run to its end, also within a test's executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory answers at once")
}
