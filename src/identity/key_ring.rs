//! The keys by which other servers' signatures are verified.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

mod found;
mod server_keys;
mod vouching;

use std::{cell::RefCell, rc::Rc};

use futures_util::{
    StreamExt,
    future::{Either, LocalBoxFuture, select},
    stream,
};
use inglenook_protocol::key_name::{KEY_ID, verify_key_of};
use ruma::{CanonicalJsonObject, OwnedServerName, RoomId, ServerName, serde::Base64};

use self::{
    found::FoundKey,
    server_keys::{KnownKeys, read_answer},
};
pub(crate) use self::{found::FoundKeys, server_keys::valid_until};
use crate::{
    error::Error,
    federation_client::FederationClient,
    gather::Gather,
    identity::Identity,
    kept_rows::KeptRows,
    locks::Locks,
    ordered::{OrderedMap, OrderedSet},
    parse,
    ports::{Clock, Store},
    storage::{Batch, Key, Table},
};

/// How long keys are waited for: what needs them is answered or put aside then, and somebody waits for that.
const PATIENCE_MILLIS: u64 = 10_000;

/// After an attempt a server is not asked again for so long, whatever is signed in its name.
const PAUSE_MILLIS: u64 = 60_000;

/// The same where a request is: whoever sends one is there again, or somebody says so.
const SHORT_PAUSE_MILLIS: u64 = 10_000;

/// So many servers are asked at a time.
const AT_A_TIME: usize = 8;

/// So many servers' keys are kept in memory; the others are read again.
const KEPT: usize = 1_000;

/// The keys of so many servers are stored that were never seen in a room, of up to 32 kB each.
const KEPT_OF_STRANGERS: u64 = 256;

/// A server, and the IDs of those of its keys that are wanted.
type Wanted<'a> = (&'a ServerName, &'a OrderedSet<&'a str>);

/// A key that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WantedKey {
    /// Whose key.
    pub server: OwnedServerName,
    /// Its ID.
    pub key_id: String,
}

/// What the key ring works with.
pub(crate) struct KeyRing {
    client: Rc<FederationClient>,
    identity: Rc<Identity>,
    store: Rc<dyn Store>,
    clock: Rc<dyn Clock>,
    /// Servers that are asked about others' keys.
    notaries: Vec<OwnedServerName>,
    known: RefCell<OrderedMap<OwnedServerName, KnownKeys>>,
    /// When servers were asked last.
    asked: RefCell<OrderedMap<OwnedServerName, u64>>,
    asking: Locks<OwnedServerName>,
    /// Servers that were found to be in a room since the start.
    in_rooms: RefCell<OrderedSet<OwnedServerName>>,
    strangers: KeptRows,
}

impl KeyRing {
    pub(crate) fn new(
        client: Rc<FederationClient>,
        identity: Rc<Identity>,
        store: Rc<dyn Store>,
        clock: Rc<dyn Clock>,
        notaries: Vec<OwnedServerName>,
    ) -> Self {
        let (known, asked, asking, in_rooms) = Default::default();
        let strangers = KeptRows::new(Rc::clone(&store), Table::ServerKeys, 0, KEPT_OF_STRANGERS, u64::MAX);
        Self { client, identity, store, clock, notaries, known, asked, asking, in_rooms, strangers }
    }

    /// What is known of the servers of these keys, from which the keys that were valid at some time can be had. For servers that were
    /// never met and are away, the one that told a room's events may vouch.
    pub(crate) async fn find_for_events(&self, wanted: &OrderedSet<WantedKey>, room: &RoomId, teller: Option<&ServerName>) -> FoundKeys {
        let mut by_server: OrderedMap<&ServerName, OrderedSet<&str>> = OrderedMap::new();
        for WantedKey { server, key_id } in wanted {
            by_server.entry(server).or_default().insert(key_id);
        }
        let found = stream::iter(&by_server)
            .map(async |(server, key_ids)| Some((server.to_string(), self.keys_of(server, key_ids, PAUSE_MILLIS).await?)));
        let found: Vec<_> = found.buffer_unordered(AT_A_TIME).collect().await;
        let mut found = FoundKeys { keys: found.into_iter().flatten().gather(), ..FoundKeys::default() };
        let unknown: Vec<Wanted<'_>> =
            by_server.iter().filter(|(server, _)| !found.has_any(server.as_str())).map(|(server, ids)| (*server, ids)).collect();
        if !unknown.is_empty() {
            self.find_vouched(&mut found, unknown, room, teller).await;
        }
        found
    }

    /// One key, if it is valid now.
    pub(crate) async fn key(&self, server: &ServerName, key_id: &str) -> Option<Base64> {
        let keys = self.keys_of(server, &[key_id].into(), SHORT_PAUSE_MILLIS).await?;
        let key = keys.get(key_id).filter(|key| key.valid_until >= self.clock.now())?;
        Some(key.key.clone())
    }

    /// The key of this server, or the one that a server's name is made of: that needs no look-up, and there is no other.
    fn keys_by_name(&self, server: &ServerName) -> Option<OrderedMap<String, FoundKey>> {
        let (id, key) = if server == self.identity.server_name() {
            (self.identity.key_id(), Base64::new(self.identity.public_key().to_vec()))
        } else {
            (KEY_ID, verify_key_of(server)?)
        };
        Some([(id.to_owned(), FoundKey { key, valid_until: u64::MAX })].into_iter().gather())
    }

    /// The keys of a server; `None` where they cannot be had.
    async fn keys_of(&self, server: &ServerName, key_ids: &OrderedSet<&str>, pause: u64) -> Option<OrderedMap<String, FoundKey>> {
        if let Some(keys) = self.keys_by_name(server) {
            return Some(keys);
        }
        let _asking = self.asking.lock(&server.to_owned()).await;
        let now = self.clock.now();
        let known = self.known(server).await;
        let is_enough = |known: &KnownKeys| known.valid_until > now && key_ids.iter().all(|id| known.keys.contains_key(*id));
        if known.as_ref().is_some_and(is_enough) || !self.may_ask(server, now, pause) {
            return known.map(|known| known.keys);
        }
        let fresh = match self.own_word(server, now).await {
            None => self.ask_notaries(server, key_ids, now).await,
            own_word => own_word,
        };
        let known = match fresh {
            Some(fresh) => Some(self.learn(server, known, fresh).await),
            None => known,
        };
        known.map(|known| known.keys)
    }

    /// What a server has published of its keys, as it signed it, if that was ever heard; and until when it is valid.
    pub(crate) async fn published(&self, server: &ServerName) -> Option<(CanonicalJsonObject, u64)> {
        let known = self.known(server).await?;
        Some((parse::json(known.published?.as_bytes()).ok()?, known.valid_until))
    }

    fn may_ask(&self, server: &ServerName, now: u64, pause: u64) -> bool {
        let mut asked = self.asked.borrow_mut();
        asked.retain(|_, at| *at <= now && now - *at < PAUSE_MILLIS);
        let may = asked.get(server).is_none_or(|at| now - *at >= pause);
        if may {
            asked.insert(server.to_owned(), now);
        }
        may
    }

    async fn known(&self, server: &ServerName) -> Option<KnownKeys> {
        let in_memory = self.known.borrow().get(server).cloned();
        if in_memory.is_some() {
            return in_memory;
        }
        // What cannot be read can be asked for.
        let rows = self.store.get_many(&[row_key(server), stranger_key(server)]).await.ok()?;
        let known: KnownKeys = parse::json(&rows.into_iter().flatten().next()?).ok()?;
        self.keep(server, &known);
        Some(known)
    }

    /// Keeps what a server says of its keys. Keys that it does not speak of any more were valid as long as was known.
    async fn learn(&self, server: &ServerName, known: Option<KnownKeys>, mut fresh: KnownKeys) -> KnownKeys {
        if let Some(known) = known {
            fresh.add(known.keys);
        }
        // What is not stored is asked for again after the next start.
        let _ = self.store(server, &fresh).await;
        self.keep(server, &fresh);
        fresh
    }

    /// Anybody can make servers: what is stored of all that were never seen in a room is bounded.
    async fn store(&self, server: &ServerName, keys: &KnownKeys) -> Result<(), Error> {
        let mut batch = Batch::relaxed();
        let rows = self.rows_of(server).await?;
        if matches!(rows.as_slice(), [Some(_), ..]) || self.in_rooms.borrow().contains(server) {
            batch.put_json(row_key(server), keys);
        } else {
            if matches!(rows.as_slice(), [_, None]) {
                self.strangers.add(&stranger_key(server), self.clock.now(), &mut batch).await?;
            }
            batch.put_json(stranger_key(server), keys);
        }
        Ok(self.store.commit(batch).await?)
    }

    /// What a commit adds that keeps the keys of servers that were seen in a room: what they have written is to be read when they are gone.
    pub(crate) async fn kept_for_good(&self, servers: OrderedSet<&ServerName>) -> Result<Batch, Error> {
        let mut batch = Batch::relaxed();
        for server in servers.into_iter().filter(|server| self.keys_by_name(server).is_none()) {
            let is_new = self.in_rooms.borrow_mut().insert(server.to_owned());
            if is_new && let [None, Some(keys)] = self.rows_of(server).await?.as_slice() {
                batch.put(row_key(server), keys.as_slice());
                batch.delete(stranger_key(server));
            }
        }
        Ok(batch)
    }

    async fn rows_of(&self, server: &ServerName) -> Result<Vec<Option<Vec<u8>>>, Error> {
        Ok(self.store.get_many(&[row_key(server), stranger_key(server)]).await?)
    }

    fn keep(&self, server: &ServerName, known: &KnownKeys) {
        let mut all = self.known.borrow_mut();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(server.to_owned(), known.clone());
    }

    /// Asks the server itself.
    async fn own_word(&self, server: &ServerName, now: u64) -> Option<KnownKeys> {
        let asking = Box::pin(self.client.get(server, "/_matrix/key/v2/server"));
        read_answer(server, &self.in_time(asking, PATIENCE_MILLIS).await?, now).ok()
    }

    /// What was asked for, if it comes in time.
    async fn in_time(&self, asking: LocalBoxFuture<'_, Result<Vec<u8>, Error>>, millis: u64) -> Option<Vec<u8>> {
        match select(asking, self.clock.sleep(millis)).await {
            Either::Left((answer, _)) => answer.ok(),
            Either::Right(_) => None,
        }
    }
}

/// Where the keys of a server stand that was never seen in a room. What is vouched for stands behind the names of rooms.
fn stranger_key(server: &ServerName) -> Key {
    row_key(server).text("")
}

fn row_key(server: &ServerName) -> Key {
    Key::new(Table::ServerKeys).text(server.as_str())
}
