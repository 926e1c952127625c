//! The keys that this server signs with.

use ruma::{
    CanonicalJsonObject,
    serde::Base64,
    signatures::{self},
};
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    identity::KEY_ID,
    server::Server,
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/key/v2/server", access: Access::Public, handler: handler!(own_keys) }];

/// How long others may rely on the key before they ask again. It never changes; a day keeps them from asking often.
const VALIDITY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
async fn own_keys(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&signed_keys(&call.server, call.server.now() + VALIDITY_MILLIS)?))
}

/// This server's keys, signed by themselves.
pub(crate) fn signed_keys(server: &Server, valid_until: u64) -> Result<CanonicalJsonObject, Error> {
    let identity = &server.identity;
    let keys = json!({
        "server_name": identity.server_name(),
        "valid_until_ts": valid_until,
        "verify_keys": { KEY_ID: { "key": <Base64>::new(identity.public_key().to_vec()) } },
        "old_verify_keys": {},
    });
    let mut keys: CanonicalJsonObject = serde_json::from_value(keys).map_err(|error| Error::bug(error.to_string()))?;
    signatures::sign_json(identity.server_name().as_str(), &**identity, &mut keys).map_err(|error| Error::bug(error.to_string()))?;
    Ok(keys)
}
