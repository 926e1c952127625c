//! OpenID tokens, by which a user shows another service who they are.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#openid>

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    accounts::openid::{self, LIFETIME_SECONDS},
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Post,
    path: "/_matrix/client/{version}/user/{userId}/openid/request_token",
    access: Access::Token,
    handler: handler!(request_token),
}];

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token>
async fn request_token(call: Call) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    call.json_object()?;
    let server = &call.server;
    Ok(Response::ok(&json!({
        "access_token": openid::token(&server.identity, call.user()?, server.now()),
        "token_type": "Bearer",
        "matrix_server_name": server.name(),
        "expires_in": LIFETIME_SECONDS,
    })))
}
