//! The room server's shell: locks, loads, lets the drafts be decided, and commits.

mod load;
mod rooms;

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
};

use futures_util::{future::try_join3, lock::MutexGuard};
use ruma::{EventId, OwnedUserId};

use self::rooms::Rooms;
use super::{
    auth::allowed_by_state,
    cache::Cache,
    draft::{Context, Draft},
    number::{EventNumber, Position},
    policy::{Policy, PolicyServers},
    residents::KnownResidents,
    room::Room,
    stored::StoredEvent,
    view::{Need, Undecided, View},
};
use crate::{
    arrange::Arrange,
    erasure::Erasures,
    error::Error,
    event::{CheckedPdu, Pdu, RoomVersion},
    identity::Identity,
    log::{Log, Publish},
    ports::{Clock, Store},
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// The room server.
pub struct RoomServer {
    pub(super) store: Rc<dyn Store>,
    log: Rc<Log>,
    identity: Rc<Identity>,
    clock: Rc<dyn Clock>,
    pub(super) cache: Rc<Cache>,
    rooms: Rc<RefCell<Rooms>>,
    next_room: Cell<u64>,
    next_event: Cell<u64>,
    pub(super) residents: KnownResidents,
    policy_servers: OnceCell<Rc<dyn PolicyServers>>,
}

/// A decision, without the type of its answer: what waits for stores is compiled once for all decisions and questions.
type Decide<'a> = &'a mut dyn FnMut(&mut [Draft<'_>]) -> Result<(), Undecided>;

/// A question, without the type of its answer.
type Question<'a> = &'a mut dyn FnMut(&View<'_>) -> Result<(), Need>;

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
            residents: KnownResidents::default(),
            policy_servers: OnceCell::new(),
        })
    }

    /// Keeps what a user sent from those who come later than this, once that is committed.
    pub(crate) fn erase(&self, user: OwnedUserId, position: Position) -> Publish {
        let cache = Rc::clone(&self.cache);
        Box::new(move || cache.erasures.remember(user, position))
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
        if rooms.iter().any(|room| room.is_replaced.get()) {
            return Err(Error::refused(503, "M_UNKNOWN", "The room turned out to be of another version; try again."));
        }
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
        self.recommend_own(&drafts).await?;
        self.commit(rooms, drafts).await
    }

    /// Has policy servers recommend what was made here, as their rooms want it before it is told to anybody.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#asking-for-a-policy-server-signature-on-an-event>
    async fn recommend_own(&self, drafts: &[Draft<'_>]) -> Result<(), Error> {
        for draft in drafts.iter().filter(|draft| !draft.made.is_empty()) {
            let Some(policy) = &draft.policy else { continue };
            if !self.residents_under_lock(draft.room).await?.contains_key(policy.via()) {
                continue;
            }
            let version = &draft.room.version;
            for number in &draft.made {
                let Ok(event) = draft.view.event(*number) else { continue };
                if !policy.recommends(&event.pdu, version)
                    && let Some(signed) = self.recommend(policy, &event.pdu, version).await?
                {
                    draft.view.add_event(StoredEvent { pdu: Arc::new(signed), ..(*event).clone() });
                }
            }
        }
        Ok(())
    }

    /// The room's policy server, if it has named one that is in the room.
    pub(crate) async fn policy(&self, room: &Room) -> Result<Option<Policy>, Error> {
        let current = room.head().current;
        let Some(policy) = self.ask(room, |view| Policy::of(view, current)).await? else { return Ok(None) };
        let is_enabled = self.is_resident(room, policy.via()).await?;
        Ok(Some(policy).filter(|_| is_enabled))
    }

    /// Which of the events, each behind those that it names, the room's state does not allow, so that they are accepted of nobody. What
    /// comes behind a state event that it allows may be allowed by that.
    pub(crate) async fn shut_out(&self, room: &Room, events: &[CheckedPdu]) -> Result<Vec<bool>, Error> {
        let (current, rules) = (room.head().current, &room.version.rules.authorization);
        let question = |view: &View<'_>| {
            let mut may_change = false;
            let is_shut_out = |event: &CheckedPdu| {
                let is_allowed = allowed_by_state(view, rules, event.pdu(), current)?.is_ok();
                may_change |= is_allowed && event.pdu().state_key.is_some();
                Ok(!is_allowed && !may_change)
            };
            events.iter().map(is_shut_out).collect()
        };
        self.ask(room, question).await
    }

    /// The event with the recommendation of a policy server; `None` where nobody is there to ask for it.
    pub(crate) async fn recommend(&self, policy: &Policy, pdu: &Pdu, version: &RoomVersion) -> Result<Option<Pdu>, Error> {
        match self.policy_servers.get() {
            Some(servers) => servers.recommend(policy, pdu, version).await.map(Some),
            None => Ok(None),
        }
    }

    /// Has policy servers asked in this way.
    pub(crate) fn ask_policy_servers(&self, servers: Rc<dyn PolicyServers>) {
        // A server is started once.
        let _ = self.policy_servers.set(servers);
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
}

/// Locks in the order of the rooms' numbers, so that no two tasks wait for each other.
async fn lock_all<'a>(rooms: &[&'a Rc<Room>]) -> Vec<MutexGuard<'a, ()>> {
    let mut sorted = rooms.to_vec();
    sorted.arrange_by_key(|room| room.number);
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
