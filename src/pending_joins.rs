//! Joins for which nobody is there now: kept, and tried again until somebody is. Also those that are under way: another server may
//! have let the user in before this one has heard of it, or has kept what it heard.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use futures_util::future::select;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    client_api::join_located,
    error::Error,
    federation::{Located, is_away},
    federation_sender::Backoff,
    gather::Gather,
    ordered::OrderedMap,
    parse,
    ports::Store,
    server::Server,
    signal::Signal,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// So many joins are tried at a time: one that takes long does not hold up the others, and the servers that they ask are many.
const AT_A_TIME: usize = 4;

/// A join that waits, or that was refused in the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PendingJoin {
    #[serde(rename = "v")]
    pub(crate) servers: Vec<OwnedServerName>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Since when it waits, in milliseconds since the Unix epoch.
    #[serde(rename = "t")]
    pub(crate) since: u64,
    /// Why it is tried no more.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
}

impl PendingJoin {
    fn new(server: &Server, located: &Located, reason: Option<&str>) -> Self {
        Self { servers: located.servers.clone(), reason: reason.map(str::to_owned), since: server.now(), refused: None }
    }
}

type Id = (OwnedUserId, OwnedRoomId);

/// The joins that wait, and when each is tried.
pub(crate) struct PendingJoins {
    waiting: RefCell<OrderedMap<Id, Waiting>>,
    woken: Signal,
}

#[derive(Default)]
struct Waiting {
    servers: Vec<OwnedServerName>,
    backoff: Backoff,
    /// When it was last tried, and whether it is being tried now.
    tried_at: u64,
    is_running: bool,
}

impl PendingJoins {
    /// Reads what waits since earlier, to be tried at once.
    pub(crate) async fn open(store: &dyn Store) -> Result<Self, Error> {
        let rows = store.scan(&Scan::prefix(Key::new(Table::PendingJoins))).await?;
        let waiting = rows.iter().filter_map(|row| read(&row.key, &row.value)).filter(|(_, join)| join.refused.is_none());
        let waiting = waiting.map(|(id, join)| (id, Waiting { servers: join.servers, ..Waiting::default() })).gather();
        Ok(Self { waiting: RefCell::new(waiting), woken: Signal::default() })
    }

    /// Something was heard from a server: what waits for it is tried at once.
    pub(crate) fn heard_from(&self, name: &ServerName) {
        let mut waiting = self.waiting.borrow_mut();
        let of_server: Vec<_> = waiting.values_mut().filter(|join| join.servers.iter().any(|server| server == name)).collect();
        if !of_server.is_empty() {
            of_server.into_iter().for_each(|join| join.backoff.reset());
            self.woken.raise();
        }
    }

    /// Makes the task look what is due.
    pub(crate) fn wake(&self) {
        self.woken.raise();
    }

    /// Whether somebody waits to be let into a room.
    pub(crate) fn is_pending(&self, room: &RoomId) -> bool {
        self.waiting.borrow().keys().any(|(_, pending)| pending == room)
    }

    /// The join to be tried next, which counts as running from here on: the one that was tried longest ago.
    fn begin(&self, now: u64) -> Option<Id> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.values().filter(|join| join.is_running).count() >= AT_A_TIME {
            return None;
        }
        let due = waiting.iter_mut().filter(|(_, join)| !join.is_running && join.backoff.deadline(now).is_none());
        let (id, join) = due.min_by_key(|(_, join)| join.tried_at)?;
        (join.is_running, join.tried_at) = (true, now);
        Some(id.clone())
    }

    fn next_deadline(&self, now: u64) -> Option<u64> {
        self.waiting.borrow().values().filter(|join| !join.is_running).filter_map(|join| join.backoff.deadline(now)).min()
    }
}

/// Asks other servers to let a user in, so that what they have done is not lost here, whenever this server stops or its storage
/// fails: then the join is tried again, which does no harm where it was made.
pub(crate) async fn attempted<T>(
    server: &Server,
    user: &UserId,
    located: &Located,
    reason: Option<&str>,
    join: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let id = (user.to_owned(), located.room_id.clone());
    if server.pending_joins.waiting.borrow().contains_key(&id) {
        return join.await;
    }
    write(server, &id, &PendingJoin::new(server, located, reason)).await?;
    let joined = join.await;
    // Where nobody was there, whoever asked for it decides whether it is kept.
    let has_failed_here = matches!(joined, Err(Error::Storage(_) | Error::Bug(_)));
    if has_failed_here || forget(server, &id).await.is_err() {
        wait(server, id, located.servers.clone());
    }
    joined
}

/// Keeps a join that nobody was there for.
pub(crate) async fn keep(server: &Server, user: &UserId, located: &Located, reason: Option<&str>) -> Result<(), Error> {
    let id = (user.to_owned(), located.room_id.clone());
    write(server, &id, &PendingJoin::new(server, located, reason)).await?;
    wait(server, id, located.servers.clone());
    Ok(())
}

fn wait(server: &Server, id: Id, servers: Vec<OwnedServerName>) {
    let mut backoff = Backoff::default();
    backoff.fail(server.now(), 0, u64::from_be_bytes(server.random()));
    server.pending_joins.waiting.borrow_mut().insert(id, Waiting { servers, backoff, ..Waiting::default() });
    server.pending_joins.wake();
}

/// The joins of a user that wait or were refused, without those that are under way.
pub(crate) async fn of_user(server: &Server, user: &UserId) -> Result<Vec<(OwnedRoomId, PendingJoin)>, Error> {
    let rows = server.ports.store.scan(&Scan::prefix(Key::new(Table::PendingJoins).text(user.as_str()))).await?;
    let waiting = server.pending_joins.waiting.borrow();
    let is_shown = |(id, join): &(Id, PendingJoin)| join.refused.is_some() || waiting.contains_key(id);
    let shown = rows.iter().filter_map(|row| read(&row.key, &row.value)).filter(is_shown);
    Ok(shown.map(|((_, room), join)| (room, join)).collect())
}

/// Gives a join up, and says whether there was one.
pub(crate) async fn give_up(server: &Server, user: &UserId, room: &RoomId) -> Result<bool, Error> {
    let id = (user.to_owned(), room.to_owned());
    let exists = find(server, &id).await?.is_some();
    if exists {
        forget(server, &id).await?;
    }
    Ok(exists)
}

/// Tries joins when they are due, for as long as the server lives.
pub(crate) async fn run(server: Weak<Server>) {
    loop {
        let (woken, clock, deadline) = {
            let Some(server) = server.upgrade().filter(|server| !server.is_stopping()) else { return };
            let woken = server.pending_joins.woken.raised();
            while let Some(id) = server.pending_joins.begin(server.now()) {
                server.spawn(attempt(Rc::clone(&server), id));
            }
            let now = server.now();
            let deadline = server.pending_joins.next_deadline(now).map(|deadline| deadline.saturating_sub(now));
            (woken, Rc::clone(&server.ports.clock), deadline)
        };
        match deadline {
            Some(millis) => drop(select(Box::pin(woken), clock.sleep(millis)).await),
            None => woken.await,
        }
    }
}

async fn attempt(server: Rc<Server>, id: Id) {
    let tried = try_again(&server, &id).await;
    let (now, random) = (server.now(), u64::from_be_bytes(server.random()));
    let mut waiting = server.pending_joins.waiting.borrow_mut();
    match tried {
        Ok(true) => drop(waiting.remove(&id)),
        // Somebody is away still, or the storage failed and may work again.
        Ok(false) | Err(_) => {
            if let Some(join) = waiting.get_mut(&id) {
                join.backoff.fail(now, 0, random);
                join.is_running = false;
            }
        }
    }
    server.pending_joins.wake();
}

/// Tries a join again, and says whether that was the last time.
async fn try_again(server: &Server, id: &Id) -> Result<bool, Error> {
    let (user, room_id) = id;
    let Some(join) = find(server, id).await? else { return Ok(true) };
    let located = Located { room_id: room_id.clone(), servers: join.servers.clone() };
    match join_located(server, &located, user, join.reason.as_deref()).await {
        Ok(()) => forget(server, id).await.map(|()| true),
        Err(error @ (Error::Storage(_) | Error::Bug(_))) => Err(error),
        Err(error) if is_away(&error) => Ok(false),
        Err(error) => write(server, id, &PendingJoin { refused: Some(error.to_string()), ..join }).await.map(|()| true),
    }
}

async fn find(server: &Server, id: &Id) -> Result<Option<PendingJoin>, Error> {
    let row = server.ports.store.get_many(&[key(id)]).await?.pop().flatten();
    Ok(row.and_then(|row| parse::json(&row).ok()))
}

async fn write(server: &Server, id: &Id, join: &PendingJoin) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.put_json(key(id), join);
    Ok(server.ports.store.commit(batch).await?)
}

async fn forget(server: &Server, id: &Id) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.delete(key(id));
    server.ports.store.commit(batch).await?;
    server.pending_joins.waiting.borrow_mut().remove(id);
    Ok(())
}

fn key((user, room): &Id) -> Key {
    Key::new(Table::PendingJoins).text(user.as_str()).text(room.as_str())
}

fn read(key: &[u8], value: &[u8]) -> Option<(Id, PendingJoin)> {
    let mut key = KeyReader::new(key);
    let user = UserId::parse(key.text()?).ok()?;
    Some(((user, RoomId::parse(key.text()?).ok()?), parse::json(value).ok()?))
}
