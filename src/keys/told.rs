//! What other servers are told of local users' devices and cross-signing keys.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use ruma::UserId;
use serde_json::{Map, Value, json};

use super::{cross_signing::CrossSigningKeys, device_list::DeviceList};
use crate::{error::Error, room_server::Position, server::Server};

/// A local user's device list, with the last step that is in it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
pub(crate) async fn devices(server: &Server, user: &UserId) -> Result<Value, Error> {
    if !server.accounts.is_active(user).await? {
        return Err(Error::not_found("There is no such user here."));
    }
    // Under the lock the list is as it was left by its last step.
    let _lock = server.accounts.lock(user).await;
    let store = &*server.ports.store;
    let list = DeviceList::read(store, user).await?;
    let mut devices = Vec::new();
    for device in server.accounts.devices(user).await? {
        let Some(keys) = super::of_device(store, user, &device.device_id).await? else { continue };
        let mut told = json!({ "device_id": device.device_id, "keys": keys });
        add_name(&mut told, "device_display_name", device.display_name);
        devices.push(told);
    }
    let stream_id = list.stream_id.unwrap_or_default();
    let mut answer = json!({ "user_id": user, "stream_id": stream_id, "devices": devices });
    add_signing_keys(server, user, &mut answer).await?;
    Ok(answer)
}

/// The content of `m.device_list_update` that tells of a step of a local user's device list: of the device as it is by now.
pub(crate) async fn device_list_update(
    server: &Server,
    user: &UserId,
    device: &str,
    step: Position,
    prev: Option<Position>,
) -> Result<Value, Error> {
    let prev_id: Vec<_> = prev.into_iter().collect();
    let mut content = json!({ "user_id": user, "device_id": device, "stream_id": step, "prev_id": prev_id });
    match server.accounts.device(user, device).await? {
        Some(known) => add_name(&mut content, "device_display_name", known.display_name),
        None => insert(&mut content, "deleted", true.into()),
    }
    if let Some(keys) = super::of_device(&*server.ports.store, user, device).await? {
        insert(&mut content, "keys", json!(keys));
    }
    Ok(content)
}

/// The content of `m.signing_key_update` that tells of a local user's cross-signing keys.
pub(crate) async fn signing_key_update(server: &Server, user: &UserId) -> Result<Value, Error> {
    let mut content = json!({ "user_id": user });
    add_signing_keys(server, user, &mut content).await?;
    Ok(content)
}

async fn add_signing_keys(server: &Server, user: &UserId, told: &mut Value) -> Result<(), Error> {
    let keys = CrossSigningKeys::read(&*server.ports.store, user).await?;
    for (name, key) in [("master_key", keys.master), ("self_signing_key", keys.self_signing)] {
        if let Some(key) = key {
            insert(told, name, json!(key));
        }
    }
    Ok(())
}

fn add_name(told: &mut Value, field: &str, name: Option<String>) {
    if let Some(name) = name {
        insert(told, field, name.into());
    }
}

fn insert(told: &mut Value, field: &str, value: Value) {
    if let Some(told) = told.as_object_mut() {
        let told: &mut Map<_, _> = told;
        told.insert(field.to_owned(), value);
    }
}
