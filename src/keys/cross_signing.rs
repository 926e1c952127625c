//! Cross-signing keys of local users: reading them, and checking and storing new ones.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use ruma::UserId;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ED25519,
    device_list::{Changes, DeviceList},
    signed::Signed,
};
use crate::{
    error::Error,
    ports::Store,
    rows,
    server::Server,
    storage::{Batch, Key, Scan, Table},
};

/// What a cross-signing key is used for, as its `usage` says it.
pub(crate) const MASTER: &str = "master";
pub(crate) const SELF_SIGNING: &str = "self_signing";
pub(crate) const USER_SIGNING: &str = "user_signing";

/// A user's cross-signing keys.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct CrossSigningKeys {
    #[serde(rename = "master_key")]
    pub(crate) master: Option<Signed>,
    #[serde(rename = "self_signing_key")]
    pub(crate) self_signing: Option<Signed>,
    #[serde(rename = "user_signing_key")]
    pub(crate) user_signing: Option<Signed>,
}

impl CrossSigningKeys {
    /// A local user's keys.
    pub(crate) async fn read(store: &dyn Store, user: &UserId) -> Result<Self, Error> {
        let keys = [MASTER, SELF_SIGNING, USER_SIGNING].map(|usage| row_key(user, usage));
        let mut rows = rows::many(store, &keys).await?.into_iter();
        let mut next = || rows.next().flatten();
        Ok(Self { master: next(), self_signing: next(), user_signing: next() })
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Signed)> {
        let all = [(MASTER, &self.master), (SELF_SIGNING, &self.self_signing), (USER_SIGNING, &self.user_signing)];
        all.into_iter().filter_map(|(usage, key)| Some((usage, key.as_ref()?)))
    }

    /// Whether each key is one of those that there are already.
    fn are_among(&self, known: &Self) -> bool {
        self.each().all(|(usage, key)| known.each().any(|(of, known)| of == usage && known.only_key() == key.only_key()))
    }
}

/// New cross-signing keys that were found to be right.
pub(crate) struct CheckedKeys {
    keys: CrossSigningKeys,
    /// Whether the user has to show that it is them.
    pub(crate) needs_auth: bool,
}

/// Checks keys that a user uploads.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload>
pub(crate) async fn check(server: &Server, user: &UserId, new: CrossSigningKeys) -> Result<CheckedKeys, Error> {
    let known = CrossSigningKeys::read(&*server.ports.store, user).await?;
    for (usage, key) in new.each() {
        check_form(user, usage, key)?;
        let (_, public_key) = key.only_key().unwrap_or_default();
        if server.accounts.device(user, public_key).await?.is_some() {
            return Err(Error::forbidden("One of these keys is the ID of one of your devices."));
        }
    }
    let no_master = || Error::missing_param("There is no master key that could have signed these keys.");
    let master = new.master.as_ref().or(known.master.as_ref()).and_then(Signed::only_key).ok_or_else(no_master)?;
    for (usage, key) in new.each().filter(|(usage, _)| *usage != MASTER) {
        if !key.is_signed_by(user, master.0, master.1) {
            return Err(Error::refused(400, "M_INVALID_SIGNATURE", format!("The {usage} key is not signed by the master key.")));
        }
    }
    let needs_auth = known.master.is_some() && !new.are_among(&known);
    Ok(CheckedKeys { keys: new, needs_auth })
}

/// Whether this is one of a user's keys, of that usage and with exactly one public key under its own name.
pub(crate) fn check_form(user: &UserId, usage: &str, key: &Signed) -> Result<(), Error> {
    let usages = key.field("usage").and_then(Value::as_array);
    let has_usage = usages.is_some_and(|usages| usages.iter().any(|one| one == usage));
    if !key.is_of(user) || !has_usage {
        return Err(Error::invalid_param(format!("This is not your {usage} key.")));
    }
    let is_named = key.only_key().is_some_and(|(id, public_key)| id.strip_prefix(ED25519) == Some(&format!(":{public_key}")));
    if is_named { Ok(()) } else { Err(Error::invalid_param(format!("The {usage} key must have one public key, under its own name."))) }
}

/// Stores keys that were checked, with the signatures that the same keys had before.
pub(crate) async fn upload(server: &Server, user: &UserId, checked: CheckedKeys) -> Result<(), Error> {
    let store = &*server.ports.store;
    let _lock = server.accounts.lock(user).await;
    let known = CrossSigningKeys::read(store, user).await?;
    // Another upload may have come between; then the user has to be asked after all.
    if known.master.is_some() && !checked.needs_auth && !checked.keys.are_among(&known) {
        return Err(Error::refused(409, "M_CONFLICT", "Other keys were uploaded at the same time; try again."));
    }
    let mut batch = Batch::new();
    let mut changed = write_without_old_master(store, user, &checked.keys, &known, &mut batch).await?;
    for (usage, key) in checked.keys.each() {
        let mut key = key.clone().signed_by_only(user);
        let old = known.each().find(|(of, _)| *of == usage).map(|(_, old)| old);
        if let Some(old) = old.filter(|old| old.says_the_same_as(&key)) {
            key.adopt_signatures(old);
        }
        if old != Some(&key) {
            changed = true;
            batch.put_json(row_key(user, usage), &key);
        }
    }
    if !changed {
        return Ok(());
    }
    write_change(server, user, batch).await
}

/// Adds to a commit that what was signed by a master key goes with it.
async fn write_without_old_master(
    store: &dyn Store,
    user: &UserId,
    new: &CrossSigningKeys,
    known: &CrossSigningKeys,
    batch: &mut Batch,
) -> Result<bool, Error> {
    let same = |new: &Option<Signed>, known: &Option<Signed>| match (new, known) {
        (Some(new), Some(known)) => new.only_key() == known.only_key(),
        _ => true,
    };
    let new_master = !same(&new.master, &known.master);
    if new_master {
        for usage in [SELF_SIGNING, USER_SIGNING] {
            batch.delete(row_key(user, usage));
        }
    }
    if new_master || !same(&new.user_signing, &known.user_signing) {
        for row in store.scan(&Scan::prefix(Key::new(Table::KeySignatures).text(user.as_str()))).await? {
            batch.delete(Key::new(Table::KeySignatures).raw(&row.key));
        }
    }
    Ok(new_master)
}

/// Commits a change of a user's cross-signing keys, with its entry in the log.
pub(super) async fn write_change(server: &Server, user: &UserId, mut batch: Batch) -> Result<(), Error> {
    let list = DeviceList::read(&*server.ports.store, user).await?;
    let changes = Changes { signing_keys: true, ..Changes::default() };
    let appending = server.log.append(|positions| {
        list.write(user, &changes, positions, &mut batch);
        batch
    });
    appending.await?;
    server.deposits_changed.raise();
    Ok(())
}

/// Whether a device ID is one of the user's public keys: both name keys in one place, and must differ.
pub(crate) async fn is_public_key(store: &dyn Store, user: &UserId, device: &str) -> Result<bool, Error> {
    let keys = CrossSigningKeys::read(store, user).await?;
    Ok(keys.each().any(|(_, key)| key.only_key().is_some_and(|(_, public_key)| public_key == device)))
}

pub(super) fn row_key(user: &UserId, usage: &str) -> Key {
    Key::new(Table::CrossSigningKeys).text(user.as_str()).text(usage)
}
