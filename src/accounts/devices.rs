//! Devices of local accounts, and what goes with one when it is deleted.

use ruma::UserId;
use serde::{Deserialize, Serialize};

use super::{
    Accounts, decode,
    tokens::{TokenHash, TokenPair},
};
use crate::{
    error::Error,
    keys::{
        self,
        device_list::{Changes, DeviceList},
    },
    pushers,
    server::Server,
    storage::{Batch, Key, Scan, Table},
    to_device,
};

/// A device of a local account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    #[serde(rename = "i")]
    pub(crate) device_id: String,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(rename = "s")]
    pub(crate) last_seen_ts: u64,
    /// The tokens in use.
    #[serde(rename = "t")]
    pub(super) tokens: TokenPair,
    /// The tokens that a refresh has issued and nobody has used yet.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refreshed: Option<TokenPair>,
}

impl Device {
    /// Lets the refreshed tokens take the place of the older ones, if this is one of them.
    pub(super) fn confirm(&mut self, used: &TokenHash, batch: &mut Batch) -> bool {
        let Some(refreshed) = self.refreshed.take_if(|refreshed| refreshed.has(used)) else { return false };
        std::mem::replace(&mut self.tokens, refreshed).delete(batch);
        true
    }

    /// Withdraws all tokens.
    pub(super) fn delete_tokens(&self, batch: &mut Batch) {
        self.tokens.delete(batch);
        if let Some(refreshed) = &self.refreshed {
            refreshed.delete(batch);
        }
    }
}

impl Accounts {
    /// One device.
    pub(crate) async fn device(&self, user: &UserId, device: &str) -> Result<Option<Device>, Error> {
        self.read(device_key(user, device)).await
    }

    /// All devices of a user.
    pub(crate) async fn devices(&self, user: &UserId) -> Result<Vec<Device>, Error> {
        let rows = self.store.scan(&Scan::prefix(Key::new(Table::Devices).text(user.as_str()))).await?;
        rows.iter().map(|row| decode(&row.value)).collect()
    }

    /// Adds to a batch all that goes when the user's devices of which `chosen` holds are deleted. Says which these are.
    pub(super) async fn write_deletion(
        &self,
        user: &UserId,
        chosen: impl Fn(&Device) -> bool,
        batch: &mut Batch,
    ) -> Result<Vec<String>, Error> {
        let mut deleted = Vec::new();
        for device in self.devices(user).await?.into_iter().filter(|device| chosen(device)) {
            device.delete_tokens(batch);
            batch.delete(device_key(user, &device.device_id));
            let transactions = Key::new(Table::Transactions).text(user.as_str()).text(&device.device_id);
            for row in self.store.scan(&Scan::prefix(transactions)).await? {
                batch.delete(Key::new(Table::Transactions).raw(&row.key));
            }
            pushers::write_deletion(&*self.store, user, &device.device_id, batch).await?;
            to_device::write_deletion(&*self.store, user, &device.device_id, batch).await?;
            keys::write_deletion(&*self.store, user, &device.device_id, batch).await?;
            deleted.push(device.device_id);
        }
        Ok(deleted)
    }
}

/// Deletes the devices of which `chosen` holds, with their tokens.
pub(crate) async fn delete(server: &Server, user: &UserId, chosen: impl Fn(&Device) -> bool) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let mut batch = Batch::new();
    let devices = server.accounts.write_deletion(user, chosen, &mut batch).await?;
    if devices.is_empty() {
        return Ok(());
    }
    let deleted = append(server, user, Changes::of_devices(devices.clone()), batch).await;
    forget(server, user, devices);
    deleted
}

/// Gives a device a name. `false` where there is no such device.
pub(crate) async fn rename(server: &Server, user: &UserId, device: &str, display_name: String) -> Result<bool, Error> {
    let _lock = server.accounts.lock(user).await;
    let Some(mut device) = server.accounts.device(user, device).await? else { return Ok(false) };
    device.display_name = Some(display_name);
    let mut batch = Batch::new();
    batch.put_json(device_key(user, &device.device_id), &device);
    append(server, user, Changes::of_devices(vec![device.device_id]), batch).await?;
    Ok(true)
}

/// Tells other servers of all devices of a user once more: some of them have not been told before.
pub(crate) async fn tell_again(server: &Server, user: &UserId) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let devices: Vec<_> = server.accounts.devices(user).await?.into_iter().map(|device| device.device_id).collect();
    append(server, user, Changes { devices, is_minor: true, ..Changes::default() }, Batch::new()).await
}

/// Commits a change of a user's devices, with its entries in the log. The user's lock must be held.
pub(super) async fn append(server: &Server, user: &UserId, changes: Changes, mut batch: Batch) -> Result<(), Error> {
    let list = DeviceList::read(&*server.ports.store, user).await?;
    let appending = server.log.append(|positions| {
        list.write(user, &changes, positions, &mut batch);
        batch
    });
    appending.await?;
    server.deposits_changed.raise();
    Ok(())
}

/// Forgets what is remembered of devices that were deleted, and of their user's others.
pub(super) fn forget(server: &Server, user: &UserId, deleted: Vec<String>) {
    server.accounts.forget_sessions(user);
    server.transactions.forget(user, deleted);
    server.key_counts.forget(user);
}

pub(crate) fn device_key(user: &UserId, device: &str) -> Key {
    Key::new(Table::Devices).text(user.as_str()).text(device)
}
