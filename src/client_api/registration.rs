//! Making accounts.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration>

use ruma::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler, interactive_auth};
use crate::{
    accounts::{
        login::{self, Credentials, NewSession},
        passwords, usernames,
    },
    config::Registration,
    error::Error,
    http::{Method, Response},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Post, path: "/_matrix/client/{version}/register", access: Access::Public, handler: handler!(register) },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/register/available",
        access: Access::Public,
        handler: handler!(available),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/v1/register/m.login.registration_token/validity",
        access: Access::Public,
        handler: handler!(token_validity),
    },
];

#[derive(Deserialize)]
struct NewAccount {
    auth: Option<Value>,
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    #[serde(default)]
    refresh_token: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>
async fn register(call: Call) -> Result<Response, Error> {
    let server = &call.server;
    match call.query("kind") {
        None | Some("user") => {}
        Some("guest") => return Err(Error::refused(403, "M_GUEST_ACCESS_FORBIDDEN", "This server has no guests; make an account.")),
        Some(_) => return Err(Error::invalid_param("An account is of the kind user or guest.")),
    }
    only_where_open(server)?;
    let new: NewAccount = call.body()?;
    if let Some(username) = &new.username {
        check_available(server, username).await?;
    }
    let challenge = match &server.config.registration {
        Registration::WithToken(token) => interactive_auth::require_token(server, token, new.auth)?,
        Registration::Open | Registration::Closed => interactive_auth::require_dummy(server, new.auth)?,
    };
    if let Some(challenge) = challenge {
        return Ok(challenge);
    }
    let user = match &new.username {
        Some(username) => usernames::new_user_id(server, username)?,
        None => usernames::generated_user_id(server, &*server.ports.entropy)?,
    };
    let password = new.password.ok_or_else(|| Error::missing_param("The password is missing."))?;
    let password = passwords::hash(check_strength(&password)?, &*server.ports.entropy)?;
    let session = NewSession {
        device_id: new.device_id,
        initial_device_display_name: new.initial_device_display_name,
        refresh_token: new.refresh_token,
    };
    let credentials = login::register(server, &user, password, Some(session).filter(|_| !new.inhibit_login)).await?;
    Ok(Response::ok(&signed_in(server, &user, credentials.as_ref())))
}

/// What a client is told that has registered or logged in.
pub(super) fn signed_in(server: &Server, user: &UserId, credentials: Option<&Credentials>) -> Value {
    let mut answer = credentials.map_or_else(|| json!({}), |credentials| json!(credentials));
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("user_id".into(), user.as_str().into());
        // Deprecated, and still read by old clients.
        answer.insert("home_server".into(), server.name().into());
    }
    answer
}

/// A password that can be typed at all; how good it is, clients advise.
pub(super) fn check_strength(password: &str) -> Result<&str, Error> {
    if password.is_empty() {
        return Err(Error::refused(400, "M_WEAK_PASSWORD", "The password must not be empty."));
    }
    Ok(password)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable>
async fn available(call: Call) -> Result<Response, Error> {
    let username = call.query("username").ok_or_else(|| Error::missing_param("The user name is missing."))?;
    only_where_open(&call.server)?;
    check_available(&call.server, username).await?;
    Ok(Response::ok(&json!({ "available": true })))
}

/// Whether one can register with a token. Where none is asked for, none is valid.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity>
async fn token_validity(call: Call) -> Result<Response, Error> {
    let token = call.query("token").ok_or_else(|| Error::missing_param("The token is missing."))?;
    only_where_open(&call.server)?;
    let valid = matches!(&call.server.config.registration, Registration::WithToken(wanted) if wanted == token);
    Ok(Response::ok(&json!({ "valid": valid })))
}

async fn check_available(server: &Server, username: &str) -> Result<(), Error> {
    let user = usernames::new_user_id(server, username)?;
    match server.accounts.account(&user).await? {
        Some(_) => Err(login::user_in_use()),
        None => Ok(()),
    }
}

fn only_where_open(server: &Server) -> Result<(), Error> {
    match server.config.registration {
        Registration::Open | Registration::WithToken(_) => Ok(()),
        Registration::Closed => Err(Error::forbidden("This server takes no new accounts.")),
    }
}
