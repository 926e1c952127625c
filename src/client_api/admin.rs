//! What only an administrator may do, and users with themselves. No account of this server is an administrator: its owner
//! is whoever has the browser.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-administration>

use serde_json::{Map, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    gather::Gather,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/admin/whois/{userId}", access: Access::Token, handler: handler!(whois) },
    Route { method: Method::Get, path: "/_matrix/client/v1/admin/lock/{userId}", access: Access::Token, handler: handler!(moderate) },
    Route { method: Method::Put, path: "/_matrix/client/v1/admin/lock/{userId}", access: Access::Token, handler: handler!(moderate) },
    Route { method: Method::Get, path: "/_matrix/client/v1/admin/suspend/{userId}", access: Access::Token, handler: handler!(moderate) },
    Route { method: Method::Put, path: "/_matrix/client/v1/admin/suspend/{userId}", access: Access::Token, handler: handler!(moderate) },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>
async fn whois(call: Call) -> Result<Response, Error> {
    let user = call.user_id(0)?;
    call.only_for(&user)?;
    let devices = call.server.accounts.devices(&user).await?.into_iter().map(|device| {
        let connection = json!({ "last_seen": device.last_seen_ts });
        (device.device_id, json!({ "sessions": [{ "connections": [connection] }] }))
    });
    Ok(Response::ok(&json!({ "user_id": user, "devices": devices.gather::<Map<_, _>>() })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid>
/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid>
async fn moderate(_call: Call) -> Result<Response, Error> {
    Err(Error::forbidden("Only an administrator may do this."))
}
