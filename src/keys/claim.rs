//! Claiming one-time keys: each is handed out once, and that is durable before anybody sees it.

use futures_util::future::join_all;
use ruma::{OwnedServerName, OwnedUserId};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    one_time,
    remote::{self, Patience},
};
use crate::{error::Error, ordered::OrderedMap, server::Server, storage::Batch};

/// The algorithms that are wanted, by user and device.
pub(crate) type Claims = OrderedMap<OwnedUserId, OrderedMap<String, String>>;

/// Claimed keys by user, device and name.
pub(crate) type Claimed = OrderedMap<OwnedUserId, OrderedMap<String, Map<String, Value>>>;

/// What a client is given that claims keys.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClaimAnswer {
    one_time_keys: Claimed,
    /// What went wrong, by server.
    failures: OrderedMap<OwnedServerName, Value>,
}

/// Claims keys for a local client.
pub(crate) async fn claim(server: &Server, claims: Claims, patience: Patience) -> Result<ClaimAnswer, Error> {
    let (local, remote) = remote::by_server(server, claims);
    let mut answer = ClaimAnswer { one_time_keys: claim_local(server, local, false).await?, ..ClaimAnswer::default() };
    let asking = remote.into_iter().map(|(destination, claims)| async {
        let answer = remote::claim(server, &destination, claims, patience).await;
        (destination, answer)
    });
    for (destination, claimed) in join_all(asking).await {
        match claimed {
            Ok(claimed) => answer.one_time_keys.extend(claimed),
            Err(error) => drop(answer.failures.insert(destination, remote::failure(&error))),
        }
    }
    Ok(answer)
}

/// Claims keys of local users, for whoever asks; where one-time keys are spared, fallback keys of devices that have some. Who is not local has
/// none.
pub(crate) async fn claim_local(server: &Server, claims: Claims, is_sparing: bool) -> Result<Claimed, Error> {
    let store = &*server.ports.store;
    let mut locks = Vec::new();
    // In the order of the users, so that no two claims wait for each other.
    for user in claims.keys() {
        locks.push(server.accounts.lock(user).await);
    }
    let mut batch = Batch::new();
    let mut claimed = Claimed::new();
    for (user, devices) in &claims {
        for (device, algorithm) in devices {
            if let Some((name, key)) = one_time::take(store, user, (device, algorithm), is_sparing, &mut batch).await? {
                claimed.entry(user.clone()).or_default().entry(device.clone()).or_default().insert(name, key);
            }
        }
    }
    if !batch.is_empty() {
        store.commit(batch).await?;
        claims.keys().for_each(|user| server.key_counts.forget(user));
    }
    Ok(claimed)
}
