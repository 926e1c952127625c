//! Third-party identifiers: this server can send neither mail nor text messages and knows no identity server, so that no
//! account ever has one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler, interactive_auth};
use crate::{
    error::Error,
    http::{Method, Response},
};

macro_rules! route {
    ($method:ident, $path:literal, $access:ident, $handler:ident) => {
        Route {
            method: Method::$method,
            path: concat!("/_matrix/client/{version}", $path),
            access: Access::$access,
            handler: handler!($handler),
        }
    };
}

pub(super) const ROUTES: &[Route] = &[
    route!(Get, "/account/3pid", Token, list),
    route!(Post, "/account/3pid", Token, add_by_identity_server),
    route!(Post, "/account/3pid/add", Token, add),
    route!(Post, "/account/3pid/bind", Token, bind),
    route!(Post, "/account/3pid/delete", Token, remove),
    route!(Post, "/account/3pid/unbind", Token, remove),
    route!(Post, "/account/3pid/email/requestToken", Public, email_token),
    route!(Post, "/account/3pid/msisdn/requestToken", Public, msisdn_token),
    route!(Post, "/account/password/email/requestToken", Public, email_token),
    route!(Post, "/account/password/msisdn/requestToken", Public, msisdn_token),
    route!(Post, "/register/email/requestToken", Public, email_token),
    route!(Post, "/register/msisdn/requestToken", Public, msisdn_token),
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid>
async fn list(_call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "threepids": [] })))
}

#[derive(Deserialize)]
struct ByIdentityServer {
    #[serde(rename = "three_pid_creds")]
    _credentials: Value,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid>
async fn add_by_identity_server(call: Call) -> Result<Response, Error> {
    let ByIdentityServer { .. } = call.body()?;
    Err(Error::refused(403, "M_THREEPID_AUTH_FAILED", "This server trusts no identity server."))
}

#[derive(Deserialize)]
struct Validated {
    auth: Option<Value>,
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "sid")]
    _sid: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd>
async fn add(call: Call) -> Result<Response, Error> {
    let Validated { auth, .. } = call.body()?;
    if let Some(challenge) = interactive_auth::require_password(&call, auth).await? {
        return Ok(challenge);
    }
    Err(Error::refused(400, "M_THREEPID_AUTH_FAILED", "This server has validated no such identifier."))
}

#[derive(Deserialize)]
struct Binding {
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "sid")]
    _sid: String,
    id_server: String,
    #[serde(rename = "id_access_token")]
    _id_access_token: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind>
async fn bind(call: Call) -> Result<Response, Error> {
    let Binding { id_server, .. } = call.body()?;
    Err(Error::refused(400, "M_SERVER_NOT_TRUSTED", format!("This server does not trust the identity server {id_server:?}.")))
}

#[derive(Deserialize)]
struct Removal {
    medium: Medium,
    #[serde(rename = "address")]
    _address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Medium {
    Email,
    Msisdn,
}

/// What was never there is removed, and no identity server was told of it.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete>
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind>
async fn remove(call: Call) -> Result<Response, Error> {
    let Removal { medium: Medium::Email | Medium::Msisdn, .. } = call.body()?;
    Ok(Response::ok(&json!({ "id_server_unbind_result": "no-support" })))
}

#[derive(Deserialize)]
struct EmailValidation {
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "email")]
    _email: String,
    #[serde(rename = "send_attempt")]
    _send_attempt: u64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken>
async fn email_token(call: Call) -> Result<Response, Error> {
    let EmailValidation { .. } = call.body()?;
    Err(not_supported("This server cannot send mail."))
}

#[derive(Deserialize)]
struct PhoneValidation {
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "country")]
    _country: String,
    #[serde(rename = "phone_number")]
    _phone_number: String,
    #[serde(rename = "send_attempt")]
    _send_attempt: u64,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidmsisdnrequesttoken>
async fn msisdn_token(call: Call) -> Result<Response, Error> {
    let PhoneValidation { .. } = call.body()?;
    Err(not_supported("This server cannot send text messages."))
}

fn not_supported(message: &str) -> Error {
    Error::refused(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", message)
}
