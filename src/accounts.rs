//! Local accounts: users, their devices and the tokens by which requests are known to be theirs.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    ports::Store,
    storage::{Key, Scan, Table},
};

/// Accounts and devices as they are stored.
pub(crate) struct Accounts {
    store: Rc<dyn Store>,
    /// Tokens that were looked up, so that a request need not ask the store who sends it.
    sessions: RefCell<BTreeMap<[u8; 32], Session>>,
}

/// So many sessions are kept in memory; past that, all are forgotten and looked up again.
const SESSIONS: usize = 1_000;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) user: OwnedUserId,
    pub(crate) device: String,
    /// When the access token expires, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<u64>,
}

/// A local account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// The password's hash in PHC format; without one nobody can log in by password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    pub(crate) created_at: u64,
    #[serde(default)]
    pub(crate) deactivated: bool,
}

/// A device of a local account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) device_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    pub(crate) last_seen_ts: u64,
    /// The hash of the access token that is valid now.
    pub(crate) access_token: String,
    /// The hash of the refresh token that is valid now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

impl Accounts {
    pub(crate) fn new(store: Rc<dyn Store>) -> Self {
        Self { store, sessions: RefCell::default() }
    }

    /// The session that an access token opens.
    pub(crate) async fn session(&self, token: &str) -> Result<Option<Session>, Error> {
        let hash = hash_token(token);
        if let Some(session) = self.sessions.borrow().get(&hash) {
            return Ok(Some(session.clone()));
        }
        let Some(session) = self.read::<Session>(token_key(&hash)).await? else { return Ok(None) };
        let mut sessions = self.sessions.borrow_mut();
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        sessions.insert(hash, session.clone());
        Ok(Some(session))
    }

    /// Forgets what was looked up, after tokens were withdrawn.
    pub(crate) fn forget_sessions(&self) {
        self.sessions.borrow_mut().clear();
    }

    /// The account of a local user.
    pub(crate) async fn account(&self, user: &UserId) -> Result<Option<Account>, Error> {
        self.read(account_key(user)).await
    }

    /// One device.
    pub(crate) async fn device(&self, user: &UserId, device: &str) -> Result<Option<Device>, Error> {
        self.read(device_key(user, device)).await
    }

    /// All devices of a user.
    pub(crate) async fn devices(&self, user: &UserId) -> Result<Vec<Device>, Error> {
        let rows = self.store.scan(&Scan::prefix(Key::new(Table::Devices).text(user.as_str()))).await?;
        rows.iter().map(|row| decode(&row.value)).collect()
    }

    async fn read<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, Error> {
        let row = self.store.get_many(&[key]).await?.pop().flatten();
        row.map(|row| decode(&row)).transpose()
    }
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(row).map_err(|error| Error::bug(format!("a stored row: {error}")))
}

pub(crate) fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

pub(crate) fn token_key(hash: &[u8; 32]) -> Key {
    Key::new(Table::Tokens).raw(hash)
}

pub(crate) fn account_key(user: &UserId) -> Key {
    Key::new(Table::Accounts).text(user.as_str())
}

pub(crate) fn device_key(user: &UserId, device: &str) -> Key {
    Key::new(Table::Devices).text(user.as_str()).text(device)
}
