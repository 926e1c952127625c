//! The keys by which other servers' signatures are verified.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

mod found;
mod server_keys;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};
use inglenook_protocol::key_name::{KEY_ID, verify_key_of};
use ruma::{OwnedServerName, ServerName, serde::Base64};
use serde_json::json;

use self::{
    found::FoundKey,
    server_keys::{KnownKeys, read_answer, read_notary},
};
pub(crate) use self::{found::FoundKeys, server_keys::valid_until};
use crate::{
    error::Error,
    federation_client::FederationClient,
    gather::Gather,
    identity::Identity,
    locks::Locks,
    parse,
    ports::{Clock, Store},
    storage::{Batch, Key, Table},
};

/// How long keys are waited for: what needs them is answered or put aside then, and somebody waits for that.
const PATIENCE_MILLIS: u64 = 10_000;

/// After an attempt a server is not asked again for so long, whatever is signed in its name.
const PAUSE_MILLIS: u64 = 60_000;

/// So many servers are asked at a time.
const AT_A_TIME: usize = 8;

/// So many servers' keys are kept in memory; the others are read again.
const KEPT: usize = 1_000;

/// So many notaries have to say the same of a server that cannot be asked itself: one alone, or a relay on the way, might lie.
const AGREEING_NOTARIES: usize = 2;

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
    known: RefCell<BTreeMap<OwnedServerName, KnownKeys>>,
    /// When servers were asked last.
    asked: RefCell<BTreeMap<OwnedServerName, u64>>,
    asking: Locks<OwnedServerName>,
}

impl KeyRing {
    pub(crate) fn new(
        client: Rc<FederationClient>,
        identity: Rc<Identity>,
        store: Rc<dyn Store>,
        clock: Rc<dyn Clock>,
        notaries: Vec<OwnedServerName>,
    ) -> Self {
        let (known, asked, asking) = Default::default();
        Self { client, identity, store, clock, notaries, known, asked, asking }
    }

    /// What is known of the servers of these keys, from which the keys that were valid at some time can be had.
    pub(crate) async fn find_for_events(&self, wanted: &BTreeSet<WantedKey>) -> FoundKeys {
        let mut by_server: BTreeMap<&ServerName, BTreeSet<&str>> = BTreeMap::new();
        for WantedKey { server, key_id } in wanted {
            by_server.entry(server).or_default().insert(key_id);
        }
        let found =
            stream::iter(by_server).map(async |(server, key_ids)| Some((server.to_string(), self.keys_of(server, &key_ids).await?)));
        let found: Vec<_> = found.buffer_unordered(AT_A_TIME).collect().await;
        FoundKeys::new(found.into_iter().flatten().gather())
    }

    /// One key, if it is valid now.
    pub(crate) async fn key(&self, server: &ServerName, key_id: &str) -> Option<Base64> {
        let keys = self.keys_of(server, &[key_id].into()).await?;
        let key = keys.get(key_id).filter(|key| key.valid_until >= self.clock.now())?;
        Some(key.key.clone())
    }

    /// The keys of a server; `None` where they cannot be had. A name that is made of a key needs no look-up, and has no other.
    async fn keys_of(&self, server: &ServerName, key_ids: &BTreeSet<&str>) -> Option<BTreeMap<String, FoundKey>> {
        let only = |id: &str, key| Some(BTreeMap::from([(id.to_owned(), FoundKey { key, valid_until: u64::MAX })]));
        if server == self.identity.server_name() {
            return only(self.identity.key_id(), Base64::new(self.identity.public_key().to_vec()));
        }
        if let Some(key) = verify_key_of(server) {
            return only(KEY_ID, key);
        }
        let _asking = self.asking.lock(&server.to_owned()).await;
        let now = self.clock.now();
        let known = self.known(server).await;
        let is_enough = |known: &KnownKeys| known.valid_until > now && key_ids.iter().all(|id| known.keys.contains_key(*id));
        if known.as_ref().is_some_and(is_enough) || !self.may_ask(server, now) {
            return known.map(|known| known.keys);
        }
        let known = match self.ask(server, now).await {
            Some(fresh) => Some(self.learn(server, known, fresh).await),
            None => known,
        };
        known.map(|known| known.keys)
    }

    fn may_ask(&self, server: &ServerName, now: u64) -> bool {
        let mut asked = self.asked.borrow_mut();
        asked.retain(|_, at| *at <= now && now - *at < PAUSE_MILLIS);
        let may = !asked.contains_key(server);
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
        let row = self.store.get_many(&[row_key(server)]).await.ok()?.pop()??;
        let known: KnownKeys = parse::json(&row).ok()?;
        self.keep(server, &known);
        Some(known)
    }

    /// Keeps what a server says of its keys. Keys that it does not speak of any more were valid as long as was known.
    async fn learn(&self, server: &ServerName, known: Option<KnownKeys>, mut fresh: KnownKeys) -> KnownKeys {
        for (id, key) in known.into_iter().flat_map(|known| known.keys) {
            fresh.keys.entry(id).or_insert(key);
        }
        let mut batch = Batch::relaxed();
        batch.put_json(row_key(server), &fresh);
        // What is not stored is asked for again after the next start.
        let _ = self.store.commit(batch).await;
        self.keep(server, &fresh);
        fresh
    }

    fn keep(&self, server: &ServerName, known: &KnownKeys) {
        let mut all = self.known.borrow_mut();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(server.to_owned(), known.clone());
    }

    /// Asks the server itself, or else the notaries.
    async fn ask(&self, server: &ServerName, now: u64) -> Option<KnownKeys> {
        let asking = Box::pin(async {
            let own_word = self.client.get(server, "/_matrix/key/v2/server").await;
            match own_word.and_then(|answer| read_answer(server, &answer, now)) {
                Ok(keys) => Some(keys),
                Err(_) => self.ask_notaries(server, now).await,
            }
        });
        match select(asking, self.clock.sleep(PATIENCE_MILLIS)).await {
            Either::Left((keys, _)) => keys,
            Either::Right(_) => None,
        }
    }

    /// <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>
    async fn ask_notaries(&self, server: &ServerName, now: u64) -> Option<KnownKeys> {
        let body = json!({ "server_keys": { server.as_str(): {} } });
        let mut answers: Vec<KnownKeys> = Vec::new();
        for notary in self.notaries.iter().filter(|notary| *notary != server) {
            let answer = self.client.post(notary, "/_matrix/key/v2/query", &body).await;
            let read = answer.and_then(|answer| read_notary(server, &answer, now));
            if let Ok(keys) = read.map_err(|_: Error| ()) {
                answers.push(keys);
            }
        }
        let mut keys = answers.first()?.clone();
        keys.keys.retain(|id, key| {
            answers.iter().filter(|other| other.keys.get(id).is_some_and(|theirs| theirs.key == key.key)).count() >= AGREEING_NOTARIES
        });
        keys.valid_until = answers.iter().map(|other| other.valid_until).min()?;
        (!keys.keys.is_empty()).then_some(keys)
    }
}

fn row_key(server: &ServerName) -> Key {
    Key::new(Table::ServerKeys).text(server.as_str())
}
