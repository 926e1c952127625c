//! Updates of device lists and cross-signing keys that other servers send.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::{MAX_DEVICES, RemoteDevice, RemoteDeviceList, cached, write};
use crate::{
    error::Error,
    keys::{signed::Signed, upload},
    server::Server,
    sharing,
};

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The list is up to date.
    UpToDate,
    /// A step is missing: the list must be asked for anew.
    Stale,
    /// It concerns nobody here.
    Ignored,
}

/// The content of `m.device_list_update`.
#[derive(Debug, Deserialize)]
struct DeviceListUpdate {
    user_id: OwnedUserId,
    device_id: String,
    stream_id: u64,
    #[serde(default)]
    prev_id: Vec<u64>,
    #[serde(default)]
    deleted: bool,
    device_display_name: Option<String>,
    keys: Option<Signed>,
}

/// Takes up one step of a user's device list.
pub(crate) async fn receive_device_list_update(server: &Server, origin: &ServerName, content: Value) -> Result<Received, Error> {
    let Some(update) = read::<DeviceListUpdate>(content).filter(|update| update.user_id.server_name() == origin) else {
        return Ok(Received::Ignored);
    };
    let user = update.user_id.clone();
    let _lock = server.accounts.lock(&user).await;
    let Some(mut list) = list_of(server, &user).await? else { return Ok(Received::Ignored) };
    if update.stream_id <= list.stream_id {
        return Ok(if list.is_stale { Received::Stale } else { Received::UpToDate });
    }
    // A list that was never told, or lacks a step, cannot be brought up to date by another step.
    let follows = !list.is_stale && !update.prev_id.is_empty() && update.prev_id.iter().all(|prev| *prev == list.stream_id);
    list.heard_of = list.heard_of.max(update.stream_id);
    if follows {
        list.stream_id = update.stream_id;
        apply(&mut list, update);
    } else {
        list.is_stale = true;
    }
    write(server, &user, &list).await?;
    Ok(if list.is_stale { Received::Stale } else { Received::UpToDate })
}

fn apply(list: &mut RemoteDeviceList, update: DeviceListUpdate) {
    let DeviceListUpdate { user_id, device_id, deleted, device_display_name, keys, .. } = update;
    if deleted {
        list.devices.remove(&device_id);
    } else if list.devices.len() < MAX_DEVICES || list.devices.contains_key(&device_id) {
        let keys = keys.filter(|keys| upload::check(&user_id, &device_id, keys).is_ok());
        list.devices.insert(device_id, RemoteDevice { keys, display_name: device_display_name });
    }
}

/// The content of `m.signing_key_update`.
#[derive(Debug, Deserialize)]
struct SigningKeyUpdate {
    user_id: OwnedUserId,
    master_key: Option<Signed>,
    self_signing_key: Option<Signed>,
}

/// Takes up a user's new cross-signing keys.
pub(crate) async fn receive_signing_key_update(server: &Server, origin: &ServerName, content: Value) -> Result<Received, Error> {
    let Some(update) = read::<SigningKeyUpdate>(content).filter(|update| update.user_id.server_name() == origin) else {
        return Ok(Received::Ignored);
    };
    let user = update.user_id;
    let _lock = server.accounts.lock(&user).await;
    let Some(list) = list_of(server, &user).await? else { return Ok(Received::Ignored) };
    let is_right = |key: &Signed| key.is_of(&user);
    let updated = RemoteDeviceList {
        master_key: update.master_key.filter(is_right).or(list.master_key.clone()),
        self_signing_key: update.self_signing_key.filter(is_right).or(list.self_signing_key.clone()),
        ..list.clone()
    };
    if updated != list {
        write(server, &user, &updated).await?;
    }
    Ok(if updated.is_stale { Received::Stale } else { Received::UpToDate })
}

/// The list that an update is about, or an empty and stale one for a user who is seen from here and was never asked for.
async fn list_of(server: &Server, user: &OwnedUserId) -> Result<Option<RemoteDeviceList>, Error> {
    if let Some(list) = cached(&*server.ports.store, user).await? {
        return Ok(Some(list));
    }
    let new = RemoteDeviceList { is_stale: true, ..RemoteDeviceList::default() };
    Ok(sharing::is_seen(server, user).await?.then_some(new))
}

fn read<T: serde::de::DeserializeOwned>(content: Value) -> Option<T> {
    serde_json::from_value(content).ok()
}
