//! What a device uploads: its identity keys, one-time keys and fallback keys, checked and stored in one commit.

use ruma::UserId;
use serde::Deserialize;
use serde_json::Value;

use super::{
    cross_signing, device_keys_key,
    device_list::{Changes, DeviceList},
    one_time::{self, Stock},
    signed::Signed,
    signing_key_id,
};
use crate::{error::Error, ordered::OrderedMap, server::Server, storage::Batch};

/// What the names of one-time and fallback keys begin with that are signed.
pub(super) const SIGNED: &str = "signed_curve25519:";

/// What a device uploads.
#[derive(Debug, Deserialize)]
pub(crate) struct Upload {
    device_keys: Option<Signed>,
    #[serde(default)]
    one_time_keys: OrderedMap<String, Value>,
    #[serde(default)]
    fallback_keys: OrderedMap<String, Value>,
}

/// Stores what a device uploads, and counts its one-time keys.
pub(crate) async fn upload(server: &Server, user: &UserId, device: &str, upload: Upload) -> Result<OrderedMap<String, u64>, Error> {
    let Upload { device_keys, one_time_keys, fallback_keys } = upload;
    let store = &*server.ports.store;
    let _lock = server.accounts.lock(user).await;
    // The device may have been deleted while the lock was waited for.
    if server.accounts.device(user, device).await?.is_none() {
        return Err(Error::refused(401, "M_UNKNOWN_TOKEN", "This device was deleted; log in again."));
    }
    let mut batch = Batch::new();
    let identity_keys = match &device_keys {
        Some(keys) => Some(keys.clone()),
        None => super::of_device(store, user, device).await?,
    };
    let identity = match device_keys {
        Some(keys) => store_identity(server, user, device, keys.signed_by_only(user), &mut batch).await?,
        None => Identity::Same,
    };
    if let Some(identity_keys) = identity_keys {
        check_signatures(user, device, &identity_keys, one_time_keys.iter().chain(&fallback_keys))?;
    }
    let mut stock = if identity == Identity::Replaced { Stock::new(user, device) } else { Stock::read(store, user, device).await? };
    stock.add(one_time_keys, &mut batch)?;
    one_time::replace_fallback(store, user, device, fallback_keys, &mut batch).await?;
    let counts = stock.counts();
    if identity == Identity::Same {
        if !batch.is_empty() {
            store.commit(batch).await?;
        }
    } else {
        let list = DeviceList::read(store, user).await?;
        let changes = Changes::of_devices(vec![device.to_owned()]);
        let appending = server.log.append(|positions| {
            list.write(user, &changes, positions, &mut batch);
            batch
        });
        appending.await?;
    }
    server.key_counts.forget(user);
    server.deposits_changed.raise();
    Ok(counts)
}

/// What an upload makes of a device's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Same,
    Changed,
    /// By another key, which the keys in stock are not signed by.
    Replaced,
}

async fn store_identity(server: &Server, user: &UserId, device: &str, mut new: Signed, batch: &mut Batch) -> Result<Identity, Error> {
    check(user, device, &new)?;
    let store = &*server.ports.store;
    if cross_signing::is_public_key(store, user, device).await? {
        return Err(Error::forbidden("This device's ID is one of your cross-signing keys."));
    }
    let old = super::of_device(store, user, device).await?;
    if let Some(old) = old.as_ref().filter(|old| old.says_the_same_as(&new)) {
        // Signatures that others added must not go because the device repeats itself.
        new.adopt_signatures(old);
    }
    if old.as_ref() == Some(&new) {
        return Ok(Identity::Same);
    }
    let key = signing_key_id(device);
    let replaced = old.is_some_and(|old| old.key(&key) != new.key(&key));
    if replaced {
        one_time::write_deletion(store, user, device, batch).await?;
    }
    batch.put_json(device_keys_key(user, device), &new);
    Ok(if replaced { Identity::Replaced } else { Identity::Changed })
}

/// Refuses one-time and fallback keys that should be signed by the device and are not: nobody who is given one could use it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#key-algorithms>
fn check_signatures<'a>(
    user: &UserId,
    device: &str,
    identity: &Signed,
    keys: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), Error> {
    for (name, key) in keys.filter(|(name, _)| name.starts_with(SIGNED)) {
        if !is_signed(user, device, identity, key) {
            return Err(Error::refused(400, "M_INVALID_SIGNATURE", format!("The device has not signed its key {name}.")));
        }
    }
    Ok(())
}

/// Whether a one-time or fallback key is signed by the device with these identity keys.
pub(super) fn is_signed(user: &UserId, device: &str, identity: &Signed, key: &Value) -> bool {
    let id = signing_key_id(device);
    let key = Signed::deserialize(key).ok();
    identity.key(&id).zip(key).is_some_and(|(public_key, key)| key.is_signed_by(user, &id, public_key))
}

/// Whether these are keys of that device, signed by itself.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>
pub(super) fn check(user: &UserId, device: &str, keys: &Signed) -> Result<(), Error> {
    if !keys.is_of(user) || keys.text("device_id") != Some(device) {
        return Err(Error::invalid_param("These are not the keys of the device that uploads them."));
    }
    if !keys.field("algorithms").is_some_and(Value::is_array) {
        return Err(Error::bad_json("algorithms must be a list."));
    }
    let id = signing_key_id(device);
    let public_key = keys.key(&id).ok_or_else(|| Error::bad_json(format!("There is no {id} among the keys.")))?;
    if keys.is_signed_by(user, &id, public_key) {
        return Ok(());
    }
    Err(Error::refused(400, "M_INVALID_SIGNATURE", "The device has not signed its keys."))
}
