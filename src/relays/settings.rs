//! Which relays this server uses, as its owner has chosen.

use std::{cell::RefCell, rc::Rc};

use inglenook_protocol::{
    key_name::public_key_of,
    node_record::{MAX_RELAYS, NodeRecord, host_of},
    path::RECORD_HEADER,
};
use ruma::{CanonicalJsonObject, ServerName, serde::Base64};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attachment::Standing;
use crate::{
    error::Error,
    identity::Identity,
    ordered::OrderedMap,
    parse,
    ports::Store,
    signal::Signal,
    storage::{Batch, Key, Table},
};

const ROW: &str = "relays";

/// This server's relays.
pub(crate) struct OwnRelays {
    store: Rc<dyn Store>,
    identity: Rc<Identity>,
    chosen: RefCell<Chosen>,
    standings: RefCell<OrderedMap<String, Standing>>,
    /// What was last left with relays, by kind, and when that was signed first.
    left: RefCell<OrderedMap<String, (Value, u64)>>,
    /// Raised when others were chosen.
    pub(crate) changed: Signal,
    /// Raised when a tunnel stands otherwise.
    pub(crate) moved: Signal,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Chosen {
    urls: Vec<String>,
    seq: u64,
    /// Whether they come with the server's configuration, since its owner has chosen none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    configured: bool,
    /// The one that is the gateway of this server's name: the first that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
}

impl OwnRelays {
    /// Reads what was chosen; `first` where nothing was yet. When those are others than the last time, peers have to learn it.
    pub(crate) async fn open(store: Rc<dyn Store>, identity: Rc<Identity>, first: &[String], now: u64) -> Result<Self, Error> {
        let row = store.get_many(&[Key::new(Table::Meta).text(ROW)]).await?.pop().flatten();
        let chosen = match row {
            Some(row) => parse::json(&row).map_err(|error| Error::bug(format!("the stored relays: {error}")))?,
            None => Chosen { configured: true, ..Chosen::default() },
        };
        let is_outdated = chosen.configured && chosen.urls != first;
        let relays = Self {
            store,
            identity,
            chosen: RefCell::new(chosen),
            standings: RefCell::default(),
            left: RefCell::default(),
            changed: Signal::default(),
            moved: Signal::default(),
        };
        if is_outdated {
            relays.take(first.to_vec(), now, true).await?;
        }
        Ok(relays)
    }

    /// Their base URLs, the first to be tried first.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.chosen.borrow().urls.clone()
    }

    /// Chooses relays. The record that says so is newer than any before, also where this identity was restored elsewhere.
    pub(crate) async fn choose(&self, urls: Vec<String>, now: u64) -> Result<(), Error> {
        // One relay has one URL, by which its tunnel is found.
        let urls: Vec<_> = urls.into_iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        check(&urls)?;
        self.take(urls, now, false).await
    }

    async fn take(&self, urls: Vec<String>, now: u64, configured: bool) -> Result<(), Error> {
        let seq = now.max(self.chosen.borrow().seq + 1);
        let gateway = self.chosen.borrow().gateway.clone().filter(|gateway| urls.contains(gateway));
        self.keep(Chosen { urls, seq, configured, gateway }).await?;
        self.changed.raise();
        Ok(())
    }

    async fn keep(&self, chosen: Chosen) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.put_json(Key::new(Table::Meta).text(ROW), &chosen);
        self.store.commit(batch).await?;
        *self.chosen.borrow_mut() = chosen;
        Ok(())
    }

    /// Whether a relay that says it is the gateway of a domain is the one through which ordinary servers are reached. Another that says the
    /// same later might lie: the first counts for as long as it is among the relays.
    pub(super) async fn is_gateway(&self, url: &str, says: Option<&str>) -> bool {
        let own = self.identity.server_name().as_str().split_once('.').map(|(_, domain)| domain);
        if own.is_none() || own != says || public_key_of(self.identity.server_name()).is_none() {
            return false;
        }
        let chosen = self.chosen.borrow().clone();
        if let Some(gateway) = &chosen.gateway {
            return gateway == url;
        }
        // Where it cannot be kept, it is asked again after the next start.
        let _ = self.keep(Chosen { gateway: Some(url.to_owned()), ..chosen }).await;
        true
    }

    /// The number of the record that tells others; zero where nothing was ever chosen.
    pub(crate) fn seq(&self) -> u64 {
        self.chosen.borrow().seq
    }

    /// Notes how the tunnel to a relay stands.
    /// Whether one of them goes by this name: its server name, or the host by which this server knows it.
    pub(crate) fn any_is_called(&self, name: &ServerName) -> bool {
        self.standings().iter().any(|(url, standing)| {
            host_of(url).is_some_and(|host| host == *name) || matches!(standing, Standing::Attached { relay, .. } if relay == name)
        })
    }

    pub(super) fn note(&self, url: &str, standing: Standing) {
        self.standings.borrow_mut().insert(url.to_owned(), standing);
        self.moved.raise();
    }

    /// The time that stands in a deposit: the same with every relay until it changes or is so old, since who has seen one of a later time
    /// believes none before it.
    pub(super) fn time_of_deposit(&self, kind: &str, deposit: &Value, now: u64, renewed_after: u64) -> u64 {
        let mut left = self.left.borrow_mut();
        match left.get(kind) {
            Some((known, ts)) if known == deposit && now < ts + renewed_after => *ts,
            _ => {
                left.insert(kind.into(), (deposit.clone(), now));
                now
            }
        }
    }

    /// Each relay, and how the tunnel to it stands.
    pub(crate) fn standings(&self) -> Vec<(String, Standing)> {
        let standings = self.standings.borrow();
        self.urls().into_iter().map(|url| (url.clone(), standings.get(&url).cloned().unwrap_or_default())).collect()
    }

    /// The header that shows the record to whoever gets a request.
    pub(crate) fn header(&self) -> Option<(String, String)> {
        let record = self.record().filter(|_| !self.chosen.borrow().urls.is_empty())?;
        let bytes = serde_json::to_vec(&record).ok()?;
        Some((RECORD_HEADER.into(), <Base64>::new(bytes).encode()))
    }

    /// The record that tells others. A server whose name is made of no key has none: it is found by its name.
    pub(crate) fn record(&self) -> Option<CanonicalJsonObject> {
        let Chosen { urls, seq, .. } = self.chosen.borrow().clone();
        NodeRecord { name: self.identity.server_name().clone(), relays: urls, seq }.sign(&*self.identity).ok()
    }
}

fn check(urls: &[String]) -> Result<(), Error> {
    if urls.len() > MAX_RELAYS {
        return Err(Error::invalid_param(format!("A server may have {MAX_RELAYS} relays.")));
    }
    match urls.iter().find(|url| host_of(url).is_none()) {
        Some(url) => Err(Error::invalid_param(format!("{url:?} is no relay's URL; it should look like https://relay.example.org."))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_executor::block_on;

    use super::*;
    use crate::{identity::Name, storage::MemoryStore, support::SeededEntropy};

    fn opened(store: &Rc<dyn Store>, first: &[&str], now: u64) -> OwnRelays {
        let identity = Rc::new(block_on(Identity::load_or_make(&**store, &SeededEntropy::new(1), Name::OfKey)).unwrap());
        let first: Vec<_> = first.iter().map(|url| (*url).to_owned()).collect();
        block_on(OwnRelays::open(Rc::clone(store), identity, &first, now)).unwrap()
    }

    fn told(relays: &OwnRelays) -> (Vec<String>, u64) {
        (relays.urls(), relays.chosen.borrow().seq)
    }

    #[test]
    fn configured_relays_are_told_anew_when_they_change_until_others_are_chosen() {
        let store: Rc<dyn Store> = Rc::new(MemoryStore::new());
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(told(&opened(&store, &[a], 100)), (vec![a.into()], 100));
        assert_eq!(told(&opened(&store, &[a], 200)), (vec![a.into()], 100), "what has not changed is no news");
        assert_eq!(told(&opened(&store, &[b], 50)), (vec![b.into()], 101), "later holds, whatever the clock says");
        block_on(opened(&store, &[b], 300).choose(vec![a.into()], 300)).unwrap();
        assert_eq!(told(&opened(&store, &[b], 400)), (vec![a.into()], 300));
    }
}
