//! Uploading, asking for and claiming keys.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#key-management-api>

use serde::Deserialize;
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    keys::{
        claim::{self, Claims},
        query::{self, Query},
        remote::Patience,
        upload::{self, Upload},
    },
    sync,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Post, path: "/_matrix/client/{version}/keys/upload", access: Access::Token, handler: handler!(upload) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/keys/query", access: Access::Token, handler: handler!(query) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/keys/claim", access: Access::Token, handler: handler!(claim) },
    Route { method: Method::Get, path: "/_matrix/client/{version}/keys/changes", access: Access::Token, handler: handler!(changes) },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>
async fn upload(call: Call) -> Result<Response, Error> {
    let upload: Upload = call.body()?;
    let caller = call.caller()?;
    let counts = upload::upload(&call.server, &caller.user, &caller.device, upload).await?;
    Ok(Response::ok(&json!({ "one_time_key_counts": counts })))
}

#[derive(Deserialize)]
struct KeyQuery {
    device_keys: Query,
    #[serde(default)]
    timeout: Patience,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>
async fn query(call: Call) -> Result<Response, Error> {
    let KeyQuery { device_keys, timeout } = call.body()?;
    Ok(Response::ok(&query::query(&call.server, call.user()?, device_keys, timeout).await?))
}

#[derive(Deserialize)]
struct KeyClaim {
    one_time_keys: Claims,
    #[serde(default)]
    timeout: Patience,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>
async fn claim(call: Call) -> Result<Response, Error> {
    let KeyClaim { one_time_keys, timeout } = call.body()?;
    Ok(Response::ok(&claim::claim(&call.server, one_time_keys, timeout).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges>
async fn changes(call: Call) -> Result<Response, Error> {
    let token = |name: &str| call.query(name).ok_or_else(|| Error::missing_param(format!("{name} is missing.")));
    let (from, to) = (token("from")?, token("to")?);
    let since = sync::read_token(&call.server, from)?;
    // What has changed behind `to` is told as well, and does no harm.
    sync::read_token(&call.server, to)?;
    let lists = sync::device_list_changes(&call.server, call.user()?, since).await?;
    Ok(Response::ok(&lists))
}
