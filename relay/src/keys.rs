//! The signing keys of ordinary homeservers, asked of themselves, so that nothing is stored in their names that they have not signed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use inglenook_protocol::message::{Headers, collect};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    serde::Base64,
    signatures::{PublicKeySet, verify_json},
};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{clock::Clock, ordinary::Ordinary, origin::WholeRequest, places::Places};

/// What a server answers about its keys: a few hundred old ones at most.
const MAX_ANSWER: usize = 64 * 1024;

/// How many keys a server may have at a time, and how long their IDs may be: each is checked, and kept.
const MAX_KEYS: usize = 32;
const MAX_ID: usize = 255;

const MINUTE_MS: u64 = 60_000;

/// How long keys are believed at most, whatever they say.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>
const VALID_AT_MOST_MS: u64 = 7 * 24 * 60 * MINUTE_MS;

/// How soon a server is asked again for a key that it did not have: whoever claims to be it makes us ask.
const PAUSE_MS: u64 = MINUTE_MS;

/// Of how many servers the keys are kept.
const MAX_KNOWN: usize = 10_000;

/// How long all of it may take, from finding the server to the last byte of its answer: a request waits for it whose sender nobody knows.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many servers are asked at a time: whoever names one makes us ask.
const MAX_ASKED: usize = 256;

/// The keys that are known.
pub(crate) struct Keys {
    clock: Clock,
    known: Mutex<BTreeMap<OwnedServerName, Known>>,
    /// One for each server, so that it is asked once.
    flights: Places<OwnedServerName>,
    asked: Semaphore,
}

#[derive(Clone, Debug, Default)]
struct Known {
    keys: PublicKeySet,
    /// Until when they are believed.
    until: u64,
    asked: u64,
}

#[derive(Deserialize)]
struct Published {
    server_name: OwnedServerName,
    valid_until_ts: u64,
    verify_keys: BTreeMap<String, VerifyKey>,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: Base64,
}

impl Keys {
    /// None yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default(), flights: Places::new(1), asked: Semaphore::new(MAX_ASKED) }
    }

    /// A server's key of that ID, if it has one that holds.
    pub(crate) async fn key(&self, ordinary: &Ordinary, server: &ServerName, id: &str) -> Option<Base64> {
        if let Some(answer) = self.known_key(server, id) {
            return answer;
        }
        let _flight = self.flights.take(&server.to_owned()).await;
        // Who was here before may have asked.
        if let Some(answer) = self.known_key(server, id) {
            return answer;
        }
        let asked = tokio::time::timeout(PATIENCE, self.ask(ordinary, server)).await;
        let learnt = asked.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let known = self.known().get(server).cloned().unwrap_or_default();
        let (keys, until) = learnt.unwrap_or_else(|error| {
            tracing::debug!(%server, %error, "no keys");
            // What was known holds as long as it did.
            (known.keys, known.until)
        });
        let now = self.clock.now();
        let held = keys.get(id).filter(|_| now < until).cloned();
        self.keep(server, Known { keys, until, asked: now });
        held
    }

    /// What is known of a key; `None` where the server has to be asked.
    fn known_key(&self, server: &ServerName, id: &str) -> Option<Option<Base64>> {
        let (all, now) = (self.known(), self.clock.now());
        let known = all.get(server)?;
        let held = known.keys.get(id).filter(|_| now < known.until).cloned();
        (held.is_some() || now < known.asked + PAUSE_MS).then_some(held)
    }

    fn keep(&self, server: &ServerName, known: Known) {
        let mut all = self.known();
        if all.len() >= MAX_KNOWN {
            let now = self.clock.now();
            all.retain(|_, known| now < known.until.max(known.asked + PAUSE_MS));
        }
        if all.len() >= MAX_KNOWN {
            all.pop_first();
        }
        all.insert(server.to_owned(), known);
    }

    async fn ask(&self, ordinary: &Ordinary, server: &ServerName) -> io::Result<(PublicKeySet, u64)> {
        let request = WholeRequest {
            method: "GET".into(),
            authority: server.to_string(),
            uri: "/_matrix/key/v2/server".into(),
            headers: Headers::default(),
            body: Vec::new(),
        };
        let _place = self.asked.acquire().await.map_err(io::Error::other)?;
        let response = ordinary.ask(server, request).await?;
        if response.status != 200 {
            return Err(io::Error::other(format!("the answer is {}", response.status)));
        }
        let published: CanonicalJsonObject = serde_json::from_slice(&collect(response.body, MAX_ANSWER).await?)?;
        let (keys, valid_until) = read(&published, server).ok_or_else(|| io::Error::other("these are not its keys"))?;
        Ok((keys, valid_until.min(self.clock.now() + VALID_AT_MOST_MS)))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<OwnedServerName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that a server publishes, as far as each has signed the publication, and until when they are valid.
fn read(object: &CanonicalJsonObject, server: &ServerName) -> Option<(PublicKeySet, u64)> {
    let published: Published = serde_json::from_value(CanonicalJsonValue::Object(object.clone()).into()).ok()?;
    let is_bounded = published.verify_keys.len() <= MAX_KEYS && published.verify_keys.keys().all(|id| id.len() <= MAX_ID);
    if published.server_name != server || !is_bounded {
        return None;
    }
    let keys = published.verify_keys.into_iter().map(|(id, key)| (id, key.key));
    let keys: PublicKeySet = keys.filter(|(id, key)| has_signed(object, server, id, key)).collect();
    (!keys.is_empty()).then_some((keys, published.valid_until_ts))
}

fn has_signed(object: &CanonicalJsonObject, server: &ServerName, id: &str, key: &Base64) -> bool {
    let signatures = object.get("signatures").and_then(|all| all.as_object()?.get(server.as_str())?.as_object());
    let Some(signature) = signatures.and_then(|signatures| signatures.get(id)) else { return false };
    let mut object = object.clone();
    let by_server = CanonicalJsonValue::Object(BTreeMap::from([(id.to_owned(), signature.clone())]));
    object.insert("signatures".into(), CanonicalJsonValue::Object(BTreeMap::from([(server.to_string(), by_server)])));
    let keys = BTreeMap::from([(server.to_string(), BTreeMap::from([(id.to_owned(), key.clone())]))]);
    verify_json(&keys, &object).is_ok()
}

#[cfg(test)]
mod tests {
    use ruma::signatures::sign_json;

    use super::*;
    use crate::identity::Identity;

    fn published(identity: &Identity) -> CanonicalJsonObject {
        serde_json::from_value(identity.keys(1_000)).unwrap()
    }

    #[test]
    fn a_key_counts_when_it_has_signed_its_own_publication() {
        let server = Identity::of([1; 32]).unwrap();
        let object = published(&server);
        let (keys, until) = read(&object, server.name()).unwrap();
        assert_eq!((keys.len(), until > 1_000), (1, true));
        // Of another server, with another's key slipped in, and without a signature.
        let other = Identity::of([2; 32]).unwrap();
        assert!(read(&object, other.name()).is_none());
        let mut forged = object.clone();
        forged.insert("verify_keys".into(), published(&other).get("verify_keys").unwrap().clone());
        assert!(read(&forged, server.name()).is_none());
        let mut unsigned = object.clone();
        unsigned.remove("signatures");
        assert!(read(&unsigned, server.name()).is_none());
    }

    #[test]
    fn a_server_has_so_many_keys() {
        let server = Identity::of([1; 32]).unwrap();
        let with_keys = |ids: &[String]| {
            let mut object = published(&server);
            let keys = object.get_mut("verify_keys").unwrap().as_object_mut().unwrap();
            let key = keys.values().next().unwrap().clone();
            keys.extend(ids.iter().map(|id| (id.clone(), key.clone())));
            object.remove("signatures");
            sign_json(server.name().as_str(), &server, &mut object).unwrap();
            read(&object, server.name()).map(|(keys, _)| keys.len())
        };
        let ids = |count: usize| (0..count).map(|number| format!("ed25519:old{number}")).collect::<Vec<_>>();
        // Those that have not signed do not count, but have to be looked at.
        assert_eq!(with_keys(&ids(MAX_KEYS - 1)), Some(1));
        assert_eq!(with_keys(&ids(MAX_KEYS)), None);
        assert_eq!(with_keys(&["x".repeat(MAX_ID + 1)]), None);
    }
}
