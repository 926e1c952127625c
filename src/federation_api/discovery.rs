//! Where this server is reached by its name.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#server-discovery>

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/.well-known/matrix/server", access: Access::Public, handler: handler!(well_known) }];

/// Whoever serves this over HTTPS under the server's name has all its other paths there as well; nothing listens on the port that
/// would be asked otherwise.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>
async fn well_known(call: Call) -> Result<Response, Error> {
    let name = call.server.identity.server_name();
    let port = name.port().unwrap_or(443);
    Ok(Response::ok(&json!({ "m.server": format!("{}:{port}", name.host()) })))
}
