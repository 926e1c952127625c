//! The caller's devices.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler, interactive_auth};
use crate::{
    accounts::devices::{self, Device},
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/devices", access: Access::Token, handler: handler!(list) },
    Route { method: Method::Get, path: "/_matrix/client/{version}/devices/{deviceId}", access: Access::Token, handler: handler!(one) },
    Route { method: Method::Put, path: "/_matrix/client/{version}/devices/{deviceId}", access: Access::Token, handler: handler!(rename) },
    Route {
        method: Method::Delete,
        path: "/_matrix/client/{version}/devices/{deviceId}",
        access: Access::Token,
        handler: handler!(delete),
    },
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/delete_devices",
        access: Access::Token,
        handler: handler!(delete_several),
    },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices>
async fn list(call: Call) -> Result<Response, Error> {
    let devices = call.server.accounts.devices(call.user()?).await?;
    let devices: Vec<_> = devices.iter().map(shown).collect();
    Ok(Response::ok(&json!({ "devices": devices })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid>
async fn one(call: Call) -> Result<Response, Error> {
    let device = call.server.accounts.device(call.user()?, call.param(0)).await?;
    Ok(Response::ok(&shown(&device.ok_or_else(unknown)?)))
}

#[derive(Deserialize)]
struct Name {
    display_name: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid>
async fn rename(call: Call) -> Result<Response, Error> {
    let Name { display_name } = call.body()?;
    let (user, device) = (call.user()?, call.param(0));
    let exists = match display_name {
        Some(name) => devices::rename(&call.server, user, device, name).await?,
        None => call.server.accounts.device(user, device).await?.is_some(),
    };
    if exists { Ok(Response::empty()) } else { Err(unknown()) }
}

#[derive(Deserialize)]
struct Deletion {
    auth: Option<Value>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid>
async fn delete(call: Call) -> Result<Response, Error> {
    let Deletion { auth } = call.body()?;
    if let Some(challenge) = interactive_auth::require_password(&call, auth).await? {
        return Ok(challenge);
    }
    devices::delete(&call.server, call.user()?, |device| device.device_id == call.param(0)).await?;
    Ok(Response::empty())
}

#[derive(Deserialize)]
struct DeletionOfSeveral {
    auth: Option<Value>,
    devices: Vec<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices>
async fn delete_several(call: Call) -> Result<Response, Error> {
    let DeletionOfSeveral { auth, devices } = call.body()?;
    if let Some(challenge) = interactive_auth::require_password(&call, auth).await? {
        return Ok(challenge);
    }
    devices::delete(&call.server, call.user()?, |device| devices.contains(&device.device_id)).await?;
    Ok(Response::empty())
}

fn shown(device: &Device) -> Value {
    let mut shown = json!({ "device_id": device.device_id, "last_seen_ts": device.last_seen_ts });
    if let (Some(name), Some(shown)) = (&device.display_name, shown.as_object_mut()) {
        shown.insert("display_name".into(), name.as_str().into());
    }
    shown
}

fn unknown() -> Error {
    Error::not_found("You have no such device.")
}
