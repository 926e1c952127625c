//! What this server leaves with a relay, for those who ask while it is away: its record, its keys, and its users' profiles and
//! keys.

use std::rc::Rc;

use inglenook_protocol::{
    message::{self, Headers},
    path,
    tunnel::Tunnel,
};
use ruma::OwnedUserId;
use serde_json::{Map, Value, json};

use crate::{
    error::Error,
    federation_api::signed_keys,
    gather::Gather,
    keys::{one_time, query::of_local_users, told},
    profiles,
    server::Server,
};

/// Changes that come together, as those of a first login do, are left together.
const GATHERING_MILLIS: u64 = 2_000;

/// How long others may rely on the keys that a relay hands out: as long as a mailbox keeps what they send.
const VALIDITY_MILLIS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Leaves everything with a relay, and again what has changed, for as long as the tunnel lives.
///
/// What a relay does not take it lacks until the next change: it is a convenience for others, and nothing waits for it.
pub(super) async fn keep(server: &Rc<Server>, tunnel: &Tunnel) {
    let mut left = Map::new();
    loop {
        let changed = server.deposits_changed.raised();
        for (target, deposit) in deposits(server).await.unwrap_or_default() {
            if left.get(&target) != Some(&deposit) && put(server, tunnel, &target, &deposit).await {
                left.insert(target, deposit);
            }
        }
        changed.await;
        server.ports.clock.sleep(GATHERING_MILLIS).await;
    }
}

/// The deposits by where they go.
async fn deposits(server: &Server) -> Result<Vec<(String, Value)>, Error> {
    let users = server.accounts.active_users().await?;
    let mut deposits = vec![
        (format!("{}keys", path::DEPOSIT), json!(signed_keys(server, server.started_at + VALIDITY_MILLIS)?)),
        (format!("{}profiles", path::DEPOSIT), profiles(server, &users).await?),
        (format!("{}devices", path::DEPOSIT), devices(server, &users).await?),
        (format!("{}fallback", path::DEPOSIT), fallback_keys(server, &users).await?),
    ];
    if let Some(record) = server.own_relays.record() {
        deposits.push((format!("{}{}", path::RECORD, server.name()), json!(record)));
    }
    Ok(deposits)
}

async fn profiles(server: &Server, users: &[OwnedUserId]) -> Result<Value, Error> {
    let profiles = profiles::read_all(server, users).await?;
    Ok(users.iter().zip(profiles).map(|(user, profile)| (user.to_string(), json!(profile))).gather::<Map<_, _>>().into())
}

async fn devices(server: &Server, users: &[OwnedUserId]) -> Result<Value, Error> {
    let (mut devices, mut keys) = (Map::new(), Map::new());
    for user in users {
        devices.insert(user.to_string(), told::devices(server, user).await?);
        let mut of_user = of_local_users(server, [(user.clone(), Vec::new())].into(), None).await?;
        let mut told = json!({ "device_keys": of_user.device_keys.remove(user) });
        if let (Some(told), Some(key)) = (told.as_object_mut(), of_user.master_keys.remove(user)) {
            told.insert("master_key".into(), json!(key));
        }
        if let (Some(told), Some(key)) = (told.as_object_mut(), of_user.self_signing_keys.remove(user)) {
            told.insert("self_signing_key".into(), json!(key));
        }
        keys.insert(user.to_string(), told);
    }
    Ok(json!({ "devices": devices, "keys": keys }))
}

async fn fallback_keys(server: &Server, users: &[OwnedUserId]) -> Result<Value, Error> {
    let mut keys = Map::new();
    for user in users {
        let mut of_user = Map::new();
        for device in server.accounts.devices(user).await? {
            let of_device = one_time::fallback_keys(&*server.ports.store, user, &device.device_id).await?;
            of_user.insert(device.device_id, json!(of_device));
        }
        keys.insert(user.to_string(), of_user.into());
    }
    Ok(keys.into())
}

async fn put(server: &Server, tunnel: &Tunnel, target: &str, deposit: &Value) -> bool {
    let request = message::Request {
        method: "PUT".into(),
        authority: server.name().to_owned(),
        uri: target.to_owned(),
        headers: Headers::from_iter([("content-type", "application/json")]),
        body: message::whole(deposit.to_string()),
    };
    tunnel.request(request).await.is_ok_and(|response| response.status == 200)
}
