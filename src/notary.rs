//! The notary: what other servers publish of their keys, kept as they signed it, for those who cannot ask them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>

use std::cell::RefCell;

use futures_util::future::{Either, select};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName};

use crate::{error::Error, identity::key_ring::valid_until, locks::Locks, ordered::OrderedMap, parse, server::Server};

/// So many servers' keys are kept. They are kept in memory: anybody may ask for anybody's, and those that this server needs itself are
/// in its key ring.
const KEPT: usize = 1_000;

/// A server is not asked again for so long after it was, whoever wants its keys.
const PAUSE_MILLIS: u64 = 60_000;

/// How long a server may take to answer: whoever has asked the notary waits as well.
const PATIENCE_MILLIS: u64 = 10_000;

/// What is kept of servers' keys.
#[derive(Default)]
pub(crate) struct Notary {
    published: RefCell<OrderedMap<OwnedServerName, Published>>,
    asking: Locks<OwnedServerName>,
}

/// What a server has published.
#[derive(Clone, Debug, Default)]
struct Published {
    /// As it was signed; `None` where the server has never answered.
    keys: Option<CanonicalJsonObject>,
    /// When the server was asked last.
    asked: u64,
    fetched: u64,
    valid_until: u64,
}

impl Published {
    /// Whether the server need not be asked: the keys are valid as long as is wanted and, where that is not over, for half of their time.
    fn is_fresh(&self, now: u64, wanted_until: u64) -> bool {
        let half_life = self.fetched + self.valid_until.saturating_sub(self.fetched) / 2;
        self.keys.is_some() && wanted_until <= self.valid_until && (wanted_until < now || now < half_life)
    }

    fn may_ask(&self, now: u64) -> bool {
        self.asked == 0 || now >= self.asked.saturating_add(PAUSE_MILLIS)
    }
}

/// The keys that a server publishes, with its own signature; `None` where they cannot be had.
pub(crate) async fn published(server: &Server, name: &ServerName, wanted_until: u64) -> Option<CanonicalJsonObject> {
    let _asking = server.notary.asking.lock(&name.to_owned()).await;
    let mut known = server.notary.published.borrow().get(name).cloned().unwrap_or_default();
    if known.keys.is_none()
        && let Some((keys, valid_until)) = server.keys.published(name).await
    {
        known = Published { keys: Some(keys), valid_until, ..known };
    }
    let now = server.now();
    if known.is_fresh(now, wanted_until) || !known.may_ask(now) {
        return known.keys;
    }
    known.asked = now;
    if let Ok((keys, valid_until)) = ask(server, name, now).await {
        known = Published { keys: Some(keys), asked: now, fetched: now, valid_until };
    }
    let mut published = server.notary.published.borrow_mut();
    if published.len() >= KEPT {
        published.clear();
    }
    published.insert(name.to_owned(), known.clone());
    known.keys
}

/// Asks a server for its keys, and verifies them by themselves.
async fn ask(server: &Server, name: &ServerName, now: u64) -> Result<(CanonicalJsonObject, u64), Error> {
    let asking = Box::pin(server.federation_client.get(name, "/_matrix/key/v2/server"));
    let answer = match select(asking, server.ports.clock.sleep(PATIENCE_MILLIS)).await {
        Either::Left((answer, _)) => answer?,
        Either::Right(_) => return Err(Error::not_found("The server does not answer.")),
    };
    let valid_until = valid_until(name, &answer, now)?;
    let keys = parse::json(&answer).map_err(|error| Error::bad_json(error.to_string()))?;
    Ok((keys, valid_until))
}
