//! Local accounts: users, their devices and the tokens by which requests are known to be theirs.

pub(crate) mod deactivation;
pub(crate) mod devices;
pub(crate) mod login;
pub(crate) mod openid;
pub(crate) mod passwords;
pub(crate) mod tokens;
pub(crate) mod usernames;

use std::{cell::RefCell, rc::Rc};

use futures_util::lock::OwnedMutexGuard;
use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::tokens::{KnownSession, TokenHash};
use crate::{
    error::Error,
    locks::Locks,
    ordered::OrderedMap,
    parse,
    ports::Store,
    storage::{Key, Scan, Table},
};

/// Accounts and devices as they are stored.
pub(crate) struct Accounts {
    store: Rc<dyn Store>,
    /// Tokens that were looked up, so that a request need not ask the store who sends it.
    sessions: RefCell<OrderedMap<TokenHash, KnownSession>>,
    locks: Locks<OwnedUserId>,
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) user: OwnedUserId,
    pub(crate) device: String,
    /// When the access token expires, in milliseconds since the Unix epoch.
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

impl Accounts {
    pub(crate) fn new(store: Rc<dyn Store>) -> Self {
        Self { store, sessions: RefCell::default(), locks: Locks::default() }
    }

    /// Held while rows of a user are read, changed and written back: account, devices, profile, account data.
    pub(crate) async fn lock(&self, user: &UserId) -> OwnedMutexGuard<()> {
        self.locks.lock(&user.to_owned()).await
    }

    /// The account of a local user.
    pub(crate) async fn account(&self, user: &UserId) -> Result<Option<Account>, Error> {
        self.read(account_key(user)).await
    }

    /// Whether there is such a local user, deactivated ones excepted.
    pub(crate) async fn is_active(&self, user: &UserId) -> Result<bool, Error> {
        Ok(self.account(user).await?.is_some_and(|account| !account.deactivated))
    }

    /// All local users, deactivated ones excepted.
    pub(crate) async fn active_users(&self) -> Result<Vec<OwnedUserId>, Error> {
        let mut users = Vec::new();
        for row in self.store.scan(&Scan::prefix(Key::new(Table::Accounts))).await? {
            if !decode::<Account>(&row.value)?.deactivated {
                users.extend(user_of_key(&row.key));
            }
        }
        Ok(users)
    }

    async fn read<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, Error> {
        let row = self.store.get_many(&[key]).await?.pop().flatten();
        row.map(|row| decode(&row)).transpose()
    }
}

fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    parse::json(row).map_err(|error| Error::bug(format!("a stored row: {error}")))
}

fn user_of_key(key: &[u8]) -> Option<OwnedUserId> {
    UserId::parse(crate::storage::KeyReader::new(key).text()?).ok()
}

pub(crate) fn account_key(user: &UserId) -> Key {
    Key::new(Table::Accounts).text(user.as_str())
}
