//! The keys by which other servers' signatures are verified.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use inglenook_protocol::key_name::{KEY_ID, verify_key_of};
use ruma::{OwnedServerName, ServerName, serde::Base64, signatures};
use serde::Deserialize;

use crate::{error::Error, event::PublicKeys, federation_client::FederationClient, gather::Gather, identity::Identity};

/// A key that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WantedKey {
    /// Whose key.
    pub server: OwnedServerName,
    /// Its ID.
    pub key_id: String,
}

/// The key ring.
pub(crate) struct KeyRing {
    client: Rc<FederationClient>,
    identity: Rc<Identity>,
    learnt: RefCell<PublicKeys>,
}

#[derive(Deserialize)]
struct ServerKeys {
    server_name: OwnedServerName,
    verify_keys: BTreeMap<String, VerifyKey>,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: Base64,
}

impl KeyRing {
    pub(crate) fn new(client: Rc<FederationClient>, identity: Rc<Identity>) -> Self {
        Self { client, identity, learnt: RefCell::default() }
    }

    /// Those of the keys that can be had. A key that cannot is left out: what it signed does not verify.
    pub(crate) async fn find(&self, wanted: &BTreeSet<WantedKey>) -> PublicKeys {
        let mut found = PublicKeys::new();
        for WantedKey { server, key_id } in wanted {
            if let Some(key) = self.key(server, key_id).await {
                found.entry(server.to_string()).or_default().insert(key_id.clone(), key);
            }
        }
        found
    }

    /// One key. A name that is made of a key needs no look-up, and has no other.
    pub(crate) async fn key(&self, server: &ServerName, key_id: &str) -> Option<Base64> {
        if server == self.identity.server_name() {
            return (key_id == KEY_ID).then(|| Base64::new(self.identity.public_key().to_vec()));
        }
        if let Some(key) = verify_key_of(server) {
            return (key_id == KEY_ID).then_some(key);
        }
        if let Some(key) = self.learnt(server, key_id) {
            return Some(key);
        }
        let keys = self.fetch(server).await.ok()?;
        self.learnt.borrow_mut().entry(server.to_string()).or_default().extend(keys);
        self.learnt(server, key_id)
    }

    fn learnt(&self, server: &ServerName, key_id: &str) -> Option<Base64> {
        self.learnt.borrow().get(server.as_str())?.get(key_id).cloned()
    }

    /// Asks the server itself.
    async fn fetch(&self, server: &ServerName) -> Result<BTreeMap<String, Base64>, Error> {
        let answer = self.client.get(server, "/_matrix/key/v2/server").await?;
        let unfit = |error: &dyn ToString| Error::bad_json(format!("The keys of {server} cannot be read: {}.", error.to_string()));
        let keys: ServerKeys = serde_json::from_slice(&answer).map_err(|error| unfit(&error))?;
        let object = serde_json::from_slice(&answer).map_err(|error| unfit(&error))?;
        let verify_keys: BTreeMap<_, _> = keys.verify_keys.into_iter().map(|(id, key)| (id, key.key)).gather();
        let trusted = BTreeMap::from([(server.to_string(), verify_keys.clone())]);
        signatures::verify_json(&trusted, &object).map_err(|error| unfit(&error))?;
        if keys.server_name != server {
            return Err(unfit(&"they are another server's"));
        }
        Ok(verify_keys)
    }
}
