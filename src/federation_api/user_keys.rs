//! The devices and keys of this server's users, for the users of others who write to them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption>

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    keys::{
        claim::{Claims, claim_local},
        cross_signing::CrossSigningKeys,
        device_list::DeviceList,
        query::{self, Query},
    },
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/federation/v1/user/devices/{userId}", access: Access::Signed, handler: handler!(devices) },
    Route { method: Method::Post, path: "/_matrix/federation/v1/user/keys/query", access: Access::Signed, handler: handler!(query_keys) },
    Route { method: Method::Post, path: "/_matrix/federation/v1/user/keys/claim", access: Access::Signed, handler: handler!(claim_keys) },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
async fn devices(call: Call) -> Result<Response, Error> {
    let (server, user) = (&call.server, call.user_id(0)?);
    if !server.accounts.is_active(&user).await? {
        return Err(Error::not_found("This server has no such user."));
    }
    let store = &*server.ports.store;
    // Under the user's lock, so that the devices are those of the step that is named.
    let _lock = server.accounts.lock(&user).await;
    let list = DeviceList::read(store, &user).await?;
    let keys = query::of_devices(server, &user, &[]).await?;
    let cross_signing = CrossSigningKeys::read(store, &user).await?;
    let devices = server.accounts.devices(&user).await?.into_iter().filter_map(|device| {
        let mut told = Map::new();
        told.insert("keys".into(), json!(keys.get(&device.device_id)?));
        told.extend(device.display_name.map(|name| ("device_display_name".to_owned(), name.into())));
        told.insert("device_id".into(), device.device_id.into());
        Some(Value::Object(told))
    });
    let devices: Vec<_> = devices.collect();
    let mut body = Map::new();
    body.insert("user_id".into(), user.as_str().into());
    body.insert("stream_id".into(), list.stream_id.map_or(0, |position| position.0).into());
    body.insert("devices".into(), devices.into());
    body.extend(cross_signing.master.map(|key| ("master_key".to_owned(), json!(key))));
    body.extend(cross_signing.self_signing.map(|key| ("self_signing_key".to_owned(), json!(key))));
    Ok(Response::ok(&body))
}

#[derive(Deserialize)]
struct KeysWanted {
    device_keys: Query,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
async fn query_keys(call: Call) -> Result<Response, Error> {
    let asked: KeysWanted = call.body()?;
    Ok(Response::ok(&query::of_local_users(&call.server, asked.device_keys, None).await?))
}

#[derive(Deserialize)]
struct KeysClaimed {
    one_time_keys: Claims,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>
async fn claim_keys(call: Call) -> Result<Response, Error> {
    let asked: KeysClaimed = call.body()?;
    Ok(Response::ok(&json!({ "one_time_keys": claim_local(&call.server, asked.one_time_keys).await? })))
}
