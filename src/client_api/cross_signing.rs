//! Uploading cross-signing keys and the signatures that they make.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler, interactive_auth};
use crate::{
    error::Error,
    gather::Gather,
    http::{Method, Response},
    keys::{
        cross_signing::{self, CrossSigningKeys},
        signatures::{self, NewSignatures},
    },
    ordered::OrderedMap,
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/keys/device_signing/upload",
        access: Access::Token,
        handler: handler!(upload),
    },
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/keys/signatures/upload",
        access: Access::Token,
        handler: handler!(sign),
    },
];

#[derive(Deserialize)]
struct KeyUpload {
    auth: Option<Value>,
    #[serde(flatten)]
    keys: CrossSigningKeys,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload>
async fn upload(call: Call) -> Result<Response, Error> {
    let KeyUpload { auth, keys } = call.body()?;
    let checked = cross_signing::check(&call.server, call.user()?, keys).await?;
    if checked.needs_auth
        && let Some(challenge) = interactive_auth::require_password(&call, auth).await?
    {
        return Ok(challenge);
    }
    cross_signing::upload(&call.server, call.user()?, checked).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>
async fn sign(call: Call) -> Result<Response, Error> {
    let new: NewSignatures = call.body()?;
    let failures = signatures::upload(&call.server, call.user()?, new).await?;
    let failures: OrderedMap<_, OrderedMap<_, _>> =
        failures.iter().map(|(user, keys)| (user, keys.iter().map(|(key, error)| (key, error.body())).gather())).gather();
    Ok(Response::ok(&json!({ "failures": failures })))
}
