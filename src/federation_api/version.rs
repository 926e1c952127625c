//! What software this is.

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/federation/v1/version", access: Access::Public, handler: handler!(version) }];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version>
async fn version(_: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "server": { "name": "Inglenook", "version": env!("CARGO_PKG_VERSION") } })))
}
