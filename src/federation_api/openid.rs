//! Whose an OpenID token is.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#openid>

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    accounts::openid,
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_matrix/federation/v1/openid/userinfo", access: Access::Public, handler: handler!(userinfo) }];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo>
async fn userinfo(call: Call) -> Result<Response, Error> {
    let unknown = || Error::refused(401, "M_UNKNOWN_TOKEN", "This token is not known, or has expired.");
    let token = call.query("access_token").ok_or_else(|| Error::refused(401, "M_MISSING_TOKEN", "access_token must be given."))?;
    let user = openid::user_of(&call.server.identity, token, call.server.now()).ok_or_else(unknown)?;
    if !call.server.accounts.is_active(&user).await? {
        return Err(unknown());
    }
    Ok(Response::ok(&json!({ "sub": user })))
}
