//! What this server can do beyond what every server can.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation>

use serde_json::{Map, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    event::{DEFAULT_ROOM_VERSION, STABLE_ROOM_VERSIONS},
    gather::Gather,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/{version}/capabilities",
    access: Access::Token,
    handler: handler!(capabilities),
}];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities>
async fn capabilities(_call: Call) -> Result<Response, Error> {
    let versions: Map<_, _> = STABLE_ROOM_VERSIONS.iter().map(|version| (version.to_string(), "stable".into())).gather();
    let enabled = |enabled: bool| json!({ "enabled": enabled });
    Ok(Response::ok(&json!({ "capabilities": {
        "m.room_versions": { "default": DEFAULT_ROOM_VERSION, "available": versions },
        "m.change_password": enabled(true),
        "m.set_displayname": enabled(true),
        "m.set_avatar_url": enabled(true),
        "m.profile_fields": enabled(true),
        "m.3pid_changes": enabled(false),
        "m.get_login_token": enabled(false),
        "m.forget_forced_upon_leave": enabled(false),
    } })))
}
