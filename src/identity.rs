//! The server's identity: its name, its signing key, and the incarnation that its tokens carry.

pub(crate) mod key_ring;

use ed25519_dalek::{Signer, SigningKey};
pub use inglenook_protocol::key_name::KEY_ID;
use inglenook_protocol::key_name::label_of;
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

/// Who this server is.
pub struct Identity {
    server_name: OwnedServerName,
    key: SigningKey,
    incarnation: String,
}

#[derive(Serialize, Deserialize)]
struct StoredIdentity {
    server_name: OwnedServerName,
    seed: Base64,
    incarnation: String,
}

impl Identity {
    /// Reads the identity, or makes one: named `server_name`, or by its own key where that is `None`.
    pub async fn load_or_make(store: &dyn Store, entropy: &dyn Entropy, server_name: Option<&str>) -> Result<Self, Error> {
        let key = Key::new(Table::Meta).text(ROW);
        if let Some(Some(row)) = store.get_many(std::slice::from_ref(&key)).await?.pop() {
            return Self::read(&row);
        }
        let identity = Self::make(entropy, server_name)?;
        let mut batch = Batch::new();
        batch.put_json(key, &identity.stored());
        store.commit(batch).await?;
        Ok(identity)
    }

    /// A new identity.
    pub fn make(entropy: &dyn Entropy, server_name: Option<&str>) -> Result<Self, Error> {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let mut incarnation = [0; 4];
        entropy.fill(&mut incarnation);
        let key = SigningKey::from_bytes(&seed);
        let server_name = server_name.map_or_else(|| label_of(&key.verifying_key().to_bytes()), str::to_owned);
        let server_name = ServerName::parse(&server_name)
            .map_err(|error| Error::invalid_param(format!("{server_name:?} is no server name: {error}.")))?;
        Ok(Self { server_name, key, incarnation: format!("{:08x}", u32::from_be_bytes(incarnation)) })
    }

    fn read(row: &[u8]) -> Result<Self, Error> {
        let stored: StoredIdentity = parse::json(row).map_err(|error| Error::bug(format!("the stored identity: {error}")))?;
        let seed = stored.seed.as_bytes().try_into().map_err(|_| Error::bug("the stored key is not 32 bytes long"))?;
        Ok(Self { server_name: stored.server_name, key: SigningKey::from_bytes(&seed), incarnation: stored.incarnation })
    }

    fn stored(&self) -> StoredIdentity {
        StoredIdentity {
            server_name: self.server_name.clone(),
            seed: Base64::new(self.key.to_bytes().to_vec()),
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
        signature(KEY_ID, &self.key, message)
    }
}

fn signature(key_id: &str, key: &SigningKey, message: &[u8]) -> Signature {
    let key_id = SigningKeyId::parse(key_id).unwrap_or_else(|_| unreachable!("the key IDs are constants"));
    Signature::new(key_id, key.sign(message).to_bytes().to_vec())
}
