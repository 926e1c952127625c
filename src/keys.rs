//! The public keys of users and their devices: what is stored of them, who is given which, and who is told of changes.
//!
//! A local user's rows change under the user's lock in [`Accounts`](crate::accounts::Accounts).
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption>

pub(crate) mod claim;
pub(crate) mod cross_signing;
pub(crate) mod device_list;
pub(crate) mod newcomers;
pub(crate) mod one_time;
pub(crate) mod query;
pub(crate) mod remote;
pub(crate) mod repeated;
pub(crate) mod signatures;
pub(crate) mod signed;
pub(crate) mod told;
pub(crate) mod upload;

use ruma::UserId;

use self::signed::Signed;
use crate::{
    error::Error,
    ports::Store,
    rows,
    storage::{Batch, Key, Scan, Table},
};

/// The only algorithm of signing keys.
pub(crate) const ED25519: &str = "ed25519";

/// The identity keys of a local device, with the signatures that were added to them.
pub(crate) async fn of_device(store: &dyn Store, user: &UserId, device: &str) -> Result<Option<Signed>, Error> {
    rows::one(store, device_keys_key(user, device)).await
}

/// Adds to a commit that everything goes that a device has put here.
pub(crate) async fn write_deletion(store: &dyn Store, user: &UserId, device: &str, batch: &mut Batch) -> Result<(), Error> {
    batch.delete(device_keys_key(user, device));
    one_time::write_deletion(store, user, device, batch).await
}

/// Adds to a commit that the keys go which are the user's own and no device's.
pub(crate) async fn write_deletion_of_user(store: &dyn Store, user: &UserId, batch: &mut Batch) -> Result<(), Error> {
    for table in [Table::CrossSigningKeys, Table::KeySignatures] {
        for row in store.scan(&Scan::prefix(Key::new(table).text(user.as_str()))).await? {
            batch.delete(Key::new(table).raw(&row.key));
        }
    }
    Ok(())
}

pub(crate) fn device_keys_key(user: &UserId, device: &str) -> Key {
    Key::new(Table::DeviceKeys).text(user.as_str()).text(device)
}

/// The name under which a device's signing key stands, and signs.
pub(crate) fn signing_key_id(name: &str) -> String {
    format!("{ED25519}:{name}")
}
