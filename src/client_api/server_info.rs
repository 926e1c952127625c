//! What anybody may know of this server: the versions that it speaks, and where it is.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-discovery>

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/versions", access: Access::OptionalToken, handler: handler!(versions) },
    Route { method: Method::Get, path: "/.well-known/matrix/client", access: Access::Public, handler: handler!(well_known) },
    Route { method: Method::Get, path: "/.well-known/matrix/support", access: Access::Public, handler: handler!(support) },
    Route { method: Method::Get, path: "/.well-known/matrix/policy_server", access: Access::Public, handler: handler!(policy_server) },
    Route { method: Method::Get, path: "/_matrix/client/v1/auth_metadata", access: Access::Public, handler: handler!(auth_metadata) },
];

/// The versions of the specification that clients may rely on: v1.1 to this one.
const NEWEST_MINOR_VERSION: u8 = 19;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>
async fn versions(_call: Call) -> Result<Response, Error> {
    let versions: Vec<_> = (1..=NEWEST_MINOR_VERSION).map(|minor| format!("v1.{minor}")).collect();
    // There is nothing here that the specification does not have yet.
    Ok(Response::ok(&json!({ "versions": versions, "unstable_features": {} })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient>
async fn well_known(call: Call) -> Result<Response, Error> {
    let configured = call.server.config.base_url.clone();
    let base_url = configured.or_else(|| call.request.header("host").map(base_url_of_host));
    let base_url = base_url.ok_or_else(|| Error::not_found("This server does not know under which address it is reached."))?;
    Ok(Response::ok(&json!({ "m.homeserver": { "base_url": base_url } })))
}

/// Pages on the machine itself are the only ones that may do without TLS.
fn base_url_of_host(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
    let is_own_machine = name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" || name == "[::1]";
    format!("{}://{host}", if is_own_machine { "http" } else { "https" })
}

/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport>
async fn support(_call: Call) -> Result<Response, Error> {
    Err(Error::not_found("This server names nobody to ask."))
}

/// The key by which this server recommends events, for rooms that want to name it their policy server.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixpolicy_server>
async fn policy_server(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "public_keys": { "ed25519": call.server.identity.policy_key().public() } })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1auth_metadata>
async fn auth_metadata(_call: Call) -> Result<Response, Error> {
    Err(Error::refused(404, "M_UNRECOGNIZED", "One logs in here with a password."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_follows_the_host() {
        for (host, expected) in [
            ("example.org", "https://example.org"),
            ("example.org:8448", "https://example.org:8448"),
            ("localhost:8080", "http://localhost:8080"),
            ("app.localhost", "http://app.localhost"),
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("[::1]", "http://[::1]"),
            ("[::1]:80", "http://[::1]:80"),
            ("localhost.example.org", "https://localhost.example.org"),
        ] {
            assert_eq!(base_url_of_host(host), expected);
        }
    }
}
