//! The server's identity: its name, its signing key, and the incarnation that its tokens carry.

pub(crate) mod key_ring;

use ed25519_dalek::{Signer, SigningKey};
pub use inglenook_protocol::key_name::KEY_ID;
use inglenook_protocol::key_name::{label_of, public_key_of};
use ruma::{
    OwnedServerName, ServerName, SigningKeyId,
    serde::Base64,
    signatures::{KeyPair, Signature},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    parse,
    ports::{Entropy, Store},
    storage::{Batch, Key, Table},
};

const ROW: &str = "identity";

/// How much of a key its ID takes up under an ordinary name: enough that two keys of one server are not mistaken for each other.
const LETTERS_OF_KEY: usize = 8;

/// Who this server is.
pub struct Identity {
    server_name: OwnedServerName,
    key: SigningKey,
    key_id: String,
    incarnation: String,
}

#[derive(Serialize, Deserialize)]
struct StoredIdentity {
    server_name: OwnedServerName,
    seed: Base64,
    /// Left out by the versions that gave every key the same ID.
    #[serde(default = "common_key_id")]
    key_id: String,
    incarnation: String,
}

fn common_key_id() -> String {
    KEY_ID.to_owned()
}

/// How a new server is to be named.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// So.
    Given(&'a str),
    /// By its key, which other nodes find through relays.
    OfKey,
    /// By its key below a gateway's domain, where ordinary homeservers find it too.
    Below(&'a str),
}

impl Name<'_> {
    fn of(self, public_key: &[u8; 32]) -> Result<OwnedServerName, Error> {
        let name = match self {
            Self::Given(name) => name.to_owned(),
            Self::OfKey => label_of(public_key),
            Self::Below(domain) => format!("{}.{domain}", label_of(public_key)),
        };
        let no_name = |why: &dyn std::fmt::Display| Error::invalid_param(format!("{name:?} is no server name: {why}."));
        let parsed = ServerName::parse(&name).map_err(|error| no_name(&error))?;
        // A port would hide the key.
        let is_plain = name.bytes().all(|byte| !byte.is_ascii_uppercase()) && !name.ends_with('.');
        let shows_key = public_key_of(&parsed).is_some() && is_plain;
        if matches!(self, Self::Below(_)) && !shows_key {
            return Err(no_name(&"a gateway's domain is a host in lower case, without a port"));
        }
        Ok(parsed)
    }
}

impl Identity {
    /// Reads the identity, or makes one with that name. A name is for ever: what is asked for later changes nothing.
    pub async fn load_or_make(store: &dyn Store, entropy: &dyn Entropy, name: Name<'_>) -> Result<Self, Error> {
        let key = Key::new(Table::Meta).text(ROW);
        if let Some(Some(row)) = store.get_many(std::slice::from_ref(&key)).await?.pop() {
            return Self::read(&row);
        }
        let identity = Self::make(entropy, name)?.with_distinct_key_id();
        let mut batch = Batch::new();
        batch.put_json(key, &identity.stored());
        store.commit(batch).await?;
        Ok(identity)
    }

    /// A new identity, whose key has the ID of those that names are made of.
    pub fn make(entropy: &dyn Entropy, name: Name<'_>) -> Result<Self, Error> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let mut incarnation = [0; 4];
        entropy.fill(&mut incarnation);
        let key = SigningKey::from_bytes(&seed);
        let server_name = name.of(&key.verifying_key().to_bytes())?;
        Ok(Self { server_name, key, key_id: common_key_id(), incarnation: format!("{:08x}", u32::from_be_bytes(incarnation)) })
    }

    /// A name that is made of a key has no other, ever. Under an ordinary name the ID tells the key from one that the server had
    /// before it lost its data, since others keep what they know of a key under its ID.
    fn with_distinct_key_id(mut self) -> Self {
        if public_key_of(&self.server_name).is_none() {
            let letters: String = label_of(&self.public_key()).chars().take(LETTERS_OF_KEY).collect();
            self.key_id = format!("ed25519:{letters}");
        }
        self
    }

    fn read(row: &[u8]) -> Result<Self, Error> {
        let stored: StoredIdentity = parse::json(row).map_err(|error| Error::bug(format!("the stored identity: {error}")))?;
        let seed = stored.seed.as_bytes().try_into().map_err(|_| Error::bug("the stored key is not 32 bytes long"))?;
        let StoredIdentity { server_name, key_id, incarnation, .. } = stored;
        Ok(Self { server_name, key: SigningKey::from_bytes(&seed), key_id, incarnation })
    }

    fn stored(&self) -> StoredIdentity {
        StoredIdentity {
            server_name: self.server_name.clone(),
            seed: Base64::new(self.key.to_bytes().to_vec()),
            key_id: self.key_id.clone(),
            incarnation: self.incarnation.clone(),
        }
    }

    /// The server's name.
    pub fn server_name(&self) -> &OwnedServerName {
        &self.server_name
    }

    /// A random part that tells this database's tokens from those of a copy or an earlier life under the same name.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Whether this server has signed the message.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verifying_key().verify_strict(message, &signature).is_ok())
    }

    /// The public half of the signing key, 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The signing key's ID.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// The ID of the key by which a server recommends events of rooms that have made it their policy server.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#determining-if-a-policy-server-is-enabled-in-a-room>
const POLICY_KEY_ID: &str = "ed25519:policy_server";

/// Sets the policy key apart from whatever else might be made of the same secret.
const POLICY_PURPOSE: &[u8] = b"inglenook policy server";

/// The key of this server as a policy server: another than the one that signs for the server itself, so that a room can do
/// without the one and not the other. It follows from the secret, and so needs no keeping of its own.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures>
pub(crate) struct PolicyKey(SigningKey);

impl Identity {
    /// The key of this server as a policy server.
    pub(crate) fn policy_key(&self) -> PolicyKey {
        let seed = Sha256::new().chain_update(POLICY_PURPOSE).chain_update(self.key.to_bytes()).finalize();
        PolicyKey(SigningKey::from_bytes(&seed.into()))
    }
}

impl PolicyKey {
    /// The public half in unpadded base64, as rooms name it.
    pub(crate) fn public(&self) -> String {
        <Base64>::new(self.0.verifying_key().to_bytes().to_vec()).encode()
    }
}

impl KeyPair for PolicyKey {
    fn sign(&self, message: &[u8]) -> Signature {
        signature(POLICY_KEY_ID, &self.0, message)
    }
}

impl KeyPair for Identity {
    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.key_id, &self.key, message)
    }
}

fn signature(key_id: &str, key: &SigningKey, message: &[u8]) -> Signature {
    let key_id = SigningKeyId::parse(key_id).unwrap_or_else(|_| unreachable!("key IDs are made of letters and digits"));
    Signature::new(key_id, key.sign(message).to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::storage::MemoryStore;

    struct Bytes(u8);

    impl Entropy for Bytes {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn key_id(store: &MemoryStore, seed: u8, name: Name<'_>) -> String {
        block_on(Identity::load_or_make(store, &Bytes(seed), name)).unwrap().key_id().to_owned()
    }

    #[test]
    fn under_an_ordinary_name_each_key_has_an_id_of_its_own_and_keeps_it() {
        let stores = [MemoryStore::new(), MemoryStore::new()];
        let made = [1, 2].map(|seed| key_id(&stores[usize::from(seed) - 1], seed, Name::Given("example.org")));
        assert_ne!(made[0], made[1]);
        assert_eq!(key_id(&stores[0], 9, Name::Given("example.org")), made[0]);
        assert_eq!(key_id(&MemoryStore::new(), 1, Name::OfKey), KEY_ID);
    }

    #[test]
    fn a_key_that_was_stored_without_an_id_keeps_the_one_it_signed_with() {
        let store = MemoryStore::new();
        let identity = Identity::make(&Bytes(1), Name::Given("example.org")).unwrap();
        let mut stored = serde_json::to_value(identity.stored()).unwrap();
        stored.as_object_mut().unwrap().remove("key_id").unwrap();
        let mut batch = Batch::new();
        batch.put_json(Key::new(Table::Meta).text(ROW), &stored);
        block_on(store.commit(batch)).unwrap();
        assert_eq!(key_id(&store, 9, Name::OfKey), KEY_ID);
    }

    fn named(store: &MemoryStore, name: Name<'_>) -> Result<String, Error> {
        block_on(Identity::load_or_make(store, &Bytes(1), name)).map(|identity| identity.server_name().to_string())
    }

    #[test]
    fn a_name_below_a_gateway_begins_with_the_name_without() {
        let label = named(&MemoryStore::new(), Name::OfKey).unwrap();
        let store = MemoryStore::new();
        assert_eq!(named(&store, Name::Below("gateway.example")).unwrap(), format!("{label}.gateway.example"));
        assert_eq!(named(&store, Name::Below("other.example")).unwrap(), format!("{label}.gateway.example"), "a name is for ever");
        for domain in ["gateway.example:443", "Gateway.example", "gateway.example.", "", "https://gateway.example"] {
            assert!(named(&MemoryStore::new(), Name::Below(domain)).is_err(), "{domain}");
        }
    }
}
