//! What somebody is told of users' keys who asks for them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use futures_util::future::join_all;
use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde::Serialize;
use serde_json::Value;

use super::{
    cross_signing::CrossSigningKeys,
    remote::{self, Patience},
    signatures,
    signed::Signed,
};
use crate::{error::Error, ordered::OrderedMap, server::Server};

/// The devices that are asked for, by user; none stands for all.
pub(crate) type Query = OrderedMap<OwnedUserId, Vec<String>>;

/// Keys by user, and by device where they are a device's.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Keys {
    pub(crate) device_keys: OrderedMap<OwnedUserId, OrderedMap<String, Signed>>,
    pub(crate) master_keys: OrderedMap<OwnedUserId, Signed>,
    pub(crate) self_signing_keys: OrderedMap<OwnedUserId, Signed>,
    #[serde(skip_serializing_if = "OrderedMap::is_empty")]
    pub(crate) user_signing_keys: OrderedMap<OwnedUserId, Signed>,
    /// What went wrong, by server.
    #[serde(skip_serializing_if = "OrderedMap::is_empty")]
    pub(crate) failures: OrderedMap<OwnedServerName, Value>,
}

/// Answers a local user.
pub(crate) async fn query(server: &Server, viewer: &UserId, query: Query, patience: Patience) -> Result<Keys, Error> {
    let (local, remote) = remote::by_server(server, query);
    let mut keys = of_local_users(server, local, Some(viewer)).await?;
    let asking = remote.into_iter().map(|(destination, query)| async {
        let answer = remote::query(server, &destination, query, patience).await;
        (destination, answer)
    });
    for (destination, answer) in join_all(asking).await {
        let answer = answer?;
        keys.device_keys.extend(answer.device_keys);
        keys.master_keys.extend(answer.master_keys);
        keys.self_signing_keys.extend(answer.self_signing_keys);
        keys.failures.extend(answer.failure.map(|failure| (destination, failure)));
    }
    for (user, master) in keys.master_keys.iter_mut() {
        signatures::add_viewers(&*server.ports.store, viewer, user, master).await?;
    }
    Ok(keys)
}

/// The keys of local users, for one of them or for another server. Who is not local has none.
pub(crate) async fn of_local_users(server: &Server, query: Query, viewer: Option<&UserId>) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    for (user, devices) in query {
        if !server.accounts.is_active(&user).await? {
            continue;
        }
        let cross_signing = CrossSigningKeys::read(&*server.ports.store, &user).await?;
        keys.device_keys.insert(user.clone(), of_devices(server, &user, &devices).await?);
        keys.master_keys.extend(cross_signing.master.map(|key| (user.clone(), key)));
        keys.self_signing_keys.extend(cross_signing.self_signing.map(|key| (user.clone(), key)));
        if viewer == Some(&*user) {
            keys.user_signing_keys.extend(cross_signing.user_signing.map(|key| (user, key)));
        }
    }
    Ok(keys)
}

/// The identity keys of a local user's devices, of those that are wanted or of all.
pub(crate) async fn of_devices(server: &Server, user: &UserId, wanted: &[String]) -> Result<OrderedMap<String, Signed>, Error> {
    let mut keys = OrderedMap::new();
    for device in server.accounts.devices(user).await? {
        let is_wanted = wanted.is_empty() || wanted.contains(&device.device_id);
        if let Some(of_device) = super::of_device(&*server.ports.store, user, &device.device_id).await?.filter(|_| is_wanted) {
            keys.insert(device.device_id, of_device.named(device.display_name.as_deref()));
        }
    }
    Ok(keys)
}
