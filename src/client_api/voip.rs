//! Servers that help calls through.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip>

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Get,
    path: "/_matrix/client/{version}/voip/turnServer",
    access: Access::Token,
    handler: handler!(turn_server),
}];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>
async fn turn_server(_call: Call) -> Result<Response, Error> {
    Err(Error::not_found("This server knows no TURN server."))
}
