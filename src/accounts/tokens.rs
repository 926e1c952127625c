//! Tokens: how they are made and stored, and whose session one opens.
//!
//! A token is 32 random bytes that only the client has; the store holds its SHA-256 hash. A refresh issues a new pair while the
//! old one stays valid, until one of the new tokens is used: a client that never got the answer can ask again.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens>

use ruma::{
    OwnedUserId,
    serde::{Base64, base64::UrlSafe},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Accounts, Session, decode,
    devices::{Device, device_key},
};
use crate::{
    error::Error,
    ports::{Entropy, StoreError},
    storage::{Batch, Key, Table},
};

/// The SHA-256 hash of a token.
pub(crate) type TokenHash = [u8; 32];

/// So many sessions are kept in memory; past that, all are forgotten and looked up again.
const SESSIONS: usize = 1_000;

/// When a device was last seen is noted this often, in milliseconds: the specification allows a few minutes.
const SEEN_EVERY: u64 = 10 * 60 * 1000;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "a")]
    Access,
    #[serde(rename = "r")]
    Refresh,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRow {
    #[serde(rename = "u")]
    pub(super) user: OwnedUserId,
    #[serde(rename = "d")]
    pub(super) device: String,
    #[serde(rename = "k")]
    pub(super) kind: Kind,
    /// When it expires, in milliseconds since the Unix epoch.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<u64>,
}

/// The hashes of tokens that were issued together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenPair {
    #[serde(rename = "a")]
    pub(super) access: Base64,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<Base64>,
}

impl TokenPair {
    /// Withdraws the tokens.
    pub(super) fn delete(&self, batch: &mut Batch) {
        for hash in std::iter::once(&self.access).chain(&self.refresh) {
            batch.delete(token_key(hash.as_bytes()));
        }
    }

    pub(super) fn has(&self, hash: &TokenHash) -> bool {
        self.access.as_bytes() == hash || self.refresh.as_ref().is_some_and(|refresh| refresh.as_bytes() == hash)
    }
}

/// A token that is not stored yet.
pub(super) struct NewToken {
    /// What the client is given.
    pub(super) text: String,
    pub(super) hash: TokenHash,
}

impl NewToken {
    pub(super) fn make(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        let text = Base64::<UrlSafe, _>::new(bytes).encode();
        Self { hash: hash_token(&text), text }
    }
}

/// A session that was looked up.
pub(crate) struct KnownSession {
    session: Session,
    /// When that its device was last seen must be noted again.
    stale_at: u64,
}

impl Accounts {
    /// The session that an access token opens, expired or not.
    pub(crate) async fn session(&self, token: &str, now: u64) -> Result<Option<Session>, Error> {
        let hash = hash_token(token);
        if let Some(known) = self.sessions.borrow().get(&hash).filter(|known| now < known.stale_at) {
            return Ok(Some(known.session.clone()));
        }
        let Some(row) = self.read::<TokenRow>(token_key(&hash)).await? else { return Ok(None) };
        // Under the lock nobody can withdraw the token between looking it up and remembering it.
        let _lock = self.lock(&row.user).await;
        let keys = [token_key(&hash), device_key(&row.user, &row.device)];
        let rows = self.store.get_many(&keys).await?;
        let [Some(row), Some(device)] = rows.as_slice() else { return Ok(None) };
        let (row, device) = (decode::<TokenRow>(row)?, decode::<Device>(device)?);
        if row.kind != Kind::Access {
            return Ok(None);
        }
        let session = Session { user: row.user, device: row.device, expires: row.expires };
        if session.expires.is_none_or(|expires| now < expires) {
            self.note_use(&session, device, &hash, now).await?;
            self.remember(hash, KnownSession { session: session.clone(), stale_at: now + SEEN_EVERY });
        }
        Ok(Some(session))
    }

    /// Notes that a device was seen, and withdraws the tokens that this one has replaced.
    async fn note_use(&self, session: &Session, mut device: Device, hash: &TokenHash, now: u64) -> Result<(), Error> {
        // Done again after the power was lost; until then the older tokens stay valid a little longer.
        let mut batch = Batch::relaxed();
        let confirmed = device.confirm(hash, &mut batch);
        if !confirmed && now.saturating_sub(device.last_seen_ts) < SEEN_EVERY {
            return Ok(());
        }
        device.last_seen_ts = now;
        batch.put_json(device_key(&session.user, &session.device), &device);
        match self.store.commit(batch).await {
            Ok(()) if confirmed => self.forget_sessions(&session.user),
            Err(StoreError::Superseded) => return Err(StoreError::Superseded.into()),
            // Full storage must not keep anybody from reading; the note is made the next time.
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }

    fn remember(&self, hash: TokenHash, known: KnownSession) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        sessions.insert(hash, known);
    }

    /// Forgets what was looked up about a user, after tokens were withdrawn.
    pub(super) fn forget_sessions(&self, user: &ruma::UserId) {
        self.sessions.borrow_mut().retain(|_, known| known.session.user != user);
    }
}

pub(super) fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

pub(super) fn token_key(hash: &[u8]) -> Key {
    Key::new(Table::Tokens).raw(hash)
}
