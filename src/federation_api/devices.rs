//! Devices and keys of local users, for servers whose users want to encrypt for them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use serde::Deserialize;
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    keys::{
        claim::{Claims, claim_local},
        query::{Query, of_local_users},
        told,
    },
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/federation/v1/user/devices/{userId}", access: Access::Signed, handler: handler!(devices) },
    Route { method: Method::Post, path: "/_matrix/federation/v1/user/keys/query", access: Access::Signed, handler: handler!(query) },
    Route { method: Method::Post, path: "/_matrix/federation/v1/user/keys/claim", access: Access::Signed, handler: handler!(claim) },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
async fn devices(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&told::devices(&call.server, &call.user_id(0)?).await?))
}

#[derive(Deserialize)]
struct KeyQuery {
    device_keys: Query,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
async fn query(call: Call) -> Result<Response, Error> {
    let KeyQuery { device_keys } = call.body()?;
    Ok(Response::ok(&of_local_users(&call.server, device_keys, None).await?))
}

#[derive(Deserialize)]
struct KeyClaim {
    one_time_keys: Claims,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>
async fn claim(call: Call) -> Result<Response, Error> {
    let KeyClaim { one_time_keys } = call.body()?;
    let server = &call.server;
    let is_repeated = server.repeated_claims.borrow_mut().count(server.now(), call.origin()?, &one_time_keys)?;
    Ok(Response::ok(&json!({ "one_time_keys": claim_local(server, one_time_keys, is_repeated).await? })))
}
