//! Logging in and out, and refreshing tokens.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-login>

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    accounts::{
        devices,
        login::{self, NewSession},
        passwords, usernames,
    },
    error::Error,
    http::{Method, Response},
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/login", access: Access::Public, handler: handler!(flows) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/login", access: Access::Public, handler: handler!(log_in) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/logout", access: Access::Token, handler: handler!(log_out) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/logout/all", access: Access::Token, handler: handler!(log_out_all) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/refresh", access: Access::Public, handler: handler!(refresh) },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login>
async fn flows(_call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "flows": [{ "type": "m.login.password" }] })))
}

#[derive(Deserialize)]
struct Login {
    #[serde(rename = "type")]
    kind: String,
    identifier: Option<Identifier>,
    /// As old clients name the user.
    user: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    refresh_token: bool,
}

/// Who somebody says they are.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
#[derive(Deserialize)]
pub(super) struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

impl Identifier {
    /// A user's ID or its local part.
    pub(super) fn of_user(user: String) -> Self {
        Self { kind: "m.id.user".into(), user: Some(user) }
    }
}

/// The local user of whom an identifier speaks, whether or not there is one. No third-party identifier leads to anybody.
pub(super) async fn identified_user(server: &Server, identifier: &Identifier) -> Result<Option<OwnedUserId>, Error> {
    let name = match identifier.kind.as_str() {
        "m.id.user" => identifier.user.as_deref().ok_or_else(|| Error::missing_param("The identifier names no user."))?,
        "m.id.thirdparty" | "m.id.phone" => return Ok(None),
        other => return Err(Error::refused(400, "M_UNKNOWN", format!("{other:?} is no type of identifier."))),
    };
    let Some(user) = usernames::named_user_id(server, name) else { return Ok(None) };
    // Names of today have no capitals; whoever has one from before is found as they are.
    if server.accounts.account(&user).await?.is_some() {
        return Ok(Some(user));
    }
    Ok(usernames::named_user_id(server, &name.to_ascii_lowercase()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login>
async fn log_in(call: Call) -> Result<Response, Error> {
    let Login { kind, identifier, user, password, device_id, initial_device_display_name, refresh_token } = call.body()?;
    if kind != "m.login.password" {
        return Err(Error::refused(400, "M_UNKNOWN", format!("One cannot log in here by {kind:?}.")));
    }
    let identifier = identifier.or(user.map(Identifier::of_user)).ok_or_else(|| Error::missing_param("Who wants to log in?"))?;
    let password = password.ok_or_else(|| Error::missing_param("The password is missing."))?;
    let user = verified_user(&call.server, &identifier, &password).await?;
    let session = NewSession { device_id, initial_device_display_name, refresh_token };
    let credentials = login::log_in(&call.server, &user, session).await?;
    Ok(Response::ok(&super::registration::signed_in(&call.server, &user, Some(&credentials))))
}

/// The user whose password this is. It takes the same time to find that there is no such user.
async fn verified_user(server: &Server, identifier: &Identifier, password: &str) -> Result<OwnedUserId, Error> {
    let refusal = || Error::forbidden("The user name or the password is wrong.");
    let user = identified_user(server, identifier).await?;
    let account = match &user {
        Some(user) => server.accounts.account(user).await?,
        None => None,
    };
    let deactivated = account.as_ref().is_some_and(|account| account.deactivated);
    let hash = account.and_then(|account| account.password);
    let verified = passwords::verify(password, hash.as_deref())?;
    if deactivated {
        return Err(Error::refused(403, "M_USER_DEACTIVATED", "This account was deactivated."));
    }
    user.filter(|_| verified).ok_or_else(refusal)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout>
async fn log_out(call: Call) -> Result<Response, Error> {
    let caller = call.caller()?;
    devices::delete(&call.server, &caller.user, |device| device.device_id == caller.device).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall>
async fn log_out_all(call: Call) -> Result<Response, Error> {
    devices::delete(&call.server, call.user()?, |_| true).await?;
    Ok(Response::empty())
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh>
async fn refresh(call: Call) -> Result<Response, Error> {
    let Refresh { refresh_token } = call.body()?;
    let refusal = || Error::refused(401, "M_UNKNOWN_TOKEN", "This refresh token is not known; log in again.").with("soft_logout", false);
    let credentials = login::refresh(&call.server, &refresh_token).await?.ok_or_else(refusal)?;
    let mut answer = json!(credentials);
    answer.as_object_mut().and_then(|answer: &mut serde_json::Map<String, Value>| answer.remove("device_id"));
    Ok(Response::ok(&answer))
}
