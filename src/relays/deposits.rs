//! What this server leaves with a relay, for those who ask while it is away: its record, its keys, and its users' profiles and
//! keys.

use std::rc::Rc;

use futures_util::{FutureExt, future::select};
use inglenook_protocol::{
    deposit::Deposit,
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

/// How long others may rely on what a relay hands out: as long as a relay keeps what they send, unless its operator has set it otherwise.
const VALIDITY_MILLIS: u64 = 90 * DAY_MILLIS;

/// What is so old is signed anew, so that much of its time is left when this server goes away.
const RENEWED_MILLIS: u64 = 7 * DAY_MILLIS;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Leaves everything with a relay, and again what has changed, for as long as the tunnel lives.
///
/// What a relay does not take it lacks until the next change: it is a convenience for others, and nothing waits for it.
pub(super) async fn keep(server: &Rc<Server>, tunnel: &Tunnel) {
    let (mut left, mut left_at) = (Map::new(), 0);
    loop {
        let changed = server.deposits_changed.raised();
        if left_at + RENEWED_MILLIS <= server.now() {
            (left, left_at) = (Map::new(), server.now());
        }
        for (kind, deposit) in deposits(server).await.unwrap_or_default() {
            if left.get(kind) != Some(&deposit) && leave(server, tunnel, kind, &deposit).await {
                left.insert(kind.into(), deposit);
            }
        }
        select(changed.boxed_local(), server.ports.clock.sleep(DAY_MILLIS)).await;
        server.ports.clock.sleep(GATHERING_MILLIS).await;
    }
}

/// Of this kind is the node record, which relays keep beside the deposits.
const RECORD: &str = "record";

/// Of this kind are the server's own keys, which are signed as everybody signs theirs.
const KEYS: &str = "keys";

/// The deposits by their kinds, as they are before they are signed.
async fn deposits(server: &Server) -> Result<Vec<(&'static str, Value)>, Error> {
    let users = server.accounts.active_users().await?;
    let mut deposits = vec![
        (KEYS, Value::Null),
        ("profiles", profiles(server, &users).await?),
        ("devices", devices(server, &users).await?),
        ("fallback", fallback_keys(server, &users).await?),
    ];
    if let Some(record) = server.own_relays.record() {
        deposits.push((RECORD, json!(record)));
    }
    Ok(deposits)
}

/// Signs a deposit, what is left about each user by itself, and leaves it. Whether the relay has taken it.
async fn leave(server: &Server, tunnel: &Tunnel, kind: &str, deposit: &Value) -> bool {
    let (now, node) = (server.now(), server.identity.server_name());
    let (target, deposit) = match kind {
        RECORD => (format!("{}{node}", path::RECORD), deposit.clone()),
        KEYS => (format!("{}{kind}", path::DEPOSIT), json!(signed_keys(server, now + VALIDITY_MILLIS).ok())),
        _ => {
            let ts = server.own_relays.time_of_deposit(kind, deposit, now, RENEWED_MILLIS - DAY_MILLIS);
            let sign = |(user, content): (&String, &Value)| {
                let deposit = Deposit::new(kind, user, (ts, ts + VALIDITY_MILLIS), content.clone());
                Some((user.clone(), json!(deposit.sign(node, &*server.identity).ok()?)))
            };
            let signed: Map<_, _> = deposit.as_object().into_iter().flatten().filter_map(sign).gather();
            (format!("{}{kind}", path::DEPOSIT), signed.into())
        }
    };
    put(server, tunnel, &target, &deposit).await
}

async fn profiles(server: &Server, users: &[OwnedUserId]) -> Result<Value, Error> {
    let profiles = profiles::read_all(server, users).await?;
    Ok(users.iter().zip(profiles).map(|(user, profile)| (user.to_string(), json!(profile))).gather::<Map<_, _>>().into())
}

async fn devices(server: &Server, users: &[OwnedUserId]) -> Result<Value, Error> {
    let mut all = Map::new();
    for user in users {
        let mut of_user = of_local_users(server, [(user.clone(), Vec::new())].into(), None).await?;
        let mut told = json!({ "device_keys": of_user.device_keys.remove(user) });
        if let (Some(told), Some(key)) = (told.as_object_mut(), of_user.master_keys.remove(user)) {
            told.insert("master_key".into(), json!(key));
        }
        if let (Some(told), Some(key)) = (told.as_object_mut(), of_user.self_signing_keys.remove(user)) {
            told.insert("self_signing_key".into(), json!(key));
        }
        let devices = told::devices(server, user).await?;
        all.insert(user.to_string(), json!({ "devices": devices, "keys": told }));
    }
    Ok(all.into())
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
