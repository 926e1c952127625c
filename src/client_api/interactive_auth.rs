//! User-interactive authentication: how a request shows that a person is behind it.
//!
//! Each flow has one stage, and who passes it has passed all. So a session has nothing to remember: its ID is made up,
//! never looked at again, and a server that was stopped between the two requests answers the second like the first.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

use ruma::serde::{Base64, base64::UrlSafe};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call, limits,
    login::{Identifier, identified_user},
};
use crate::{accounts::passwords, error::Error, http::Response, server::Server};

const DUMMY: &str = "m.login.dummy";

const PASSWORD: &str = "m.login.password";

const TOKEN: &str = "m.login.registration_token";

#[derive(Deserialize)]
struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<Identifier>,
    /// As old clients name the user.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// Asks for nothing but a second request. Returns the challenge where it has not come yet.
pub(super) fn require_dummy(server: &Server, auth: Option<Value>) -> Result<Option<Response>, Error> {
    match read(auth)?.and_then(|auth| auth.kind) {
        Some(kind) if kind == DUMMY => Ok(None),
        Some(kind) => Ok(Some(unknown_stage(server, DUMMY, &kind))),
        None => Ok(Some(challenge(server, DUMMY, None))),
    }
}

/// Asks for the token that one registers with. Returns the challenge where it was not given, or not the right one.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration>
pub(super) fn require_token(server: &Server, token: &str, auth: Option<Value>) -> Result<Option<Response>, Error> {
    let Some(auth) = read(auth)? else { return Ok(Some(challenge(server, TOKEN, None))) };
    match auth.kind.as_deref() {
        Some(TOKEN) if auth.token.as_deref() == Some(token) => Ok(None),
        Some(TOKEN) => Ok(Some(challenge(server, TOKEN, Some(("M_FORBIDDEN", "This is not the registration token."))))),
        Some(kind) => Ok(Some(unknown_stage(server, TOKEN, kind))),
        None => Ok(Some(challenge(server, TOKEN, None))),
    }
}

/// Asks for the caller's password. Returns the challenge where it was not given, or not the right one.
pub(super) async fn require_password(call: &Call, auth: Option<Value>) -> Result<Option<Response>, Error> {
    limits::check_password(call)?;
    let server = &call.server;
    let Some(auth) = read(auth)? else { return Ok(Some(challenge(server, PASSWORD, None))) };
    match &auth.kind {
        Some(kind) if kind == PASSWORD => {}
        Some(kind) => return Ok(Some(unknown_stage(server, PASSWORD, kind))),
        None => return Ok(Some(challenge(server, PASSWORD, None))),
    }
    let named = auth.identifier.or(auth.user.map(Identifier::of_user));
    let user = match named {
        Some(identifier) => identified_user(server, &identifier).await?,
        None => Some(call.user()?.to_owned()),
    };
    let account = server.accounts.account(call.user()?).await?;
    let is_caller = user.as_deref() == Some(call.user()?);
    let hash = account.filter(|_| is_caller).and_then(|account| account.password);
    if passwords::verify(&auth.password.unwrap_or_default(), hash.as_deref())? {
        return Ok(None);
    }
    Ok(Some(challenge(server, PASSWORD, Some(("M_FORBIDDEN", "This is not your password.")))))
}

fn read(auth: Option<Value>) -> Result<Option<Auth>, Error> {
    let Some(auth) = auth.filter(|auth| !auth.is_null()) else { return Ok(None) };
    serde_json::from_value(auth).map_err(|error| Error::bad_json(format!("auth is not of the right shape: {error}.")))
}

fn unknown_stage(server: &Server, stage: &str, kind: &str) -> Response {
    challenge(server, stage, Some(("M_UNRECOGNIZED", &format!("{kind:?} is not one of the stages."))))
}

/// 401, with what is asked for and, for a second attempt, what was wrong with the first.
fn challenge(server: &Server, stage: &str, wrong: Option<(&str, &str)>) -> Response {
    let session = Base64::<UrlSafe, _>::new(server.random::<12>()).encode();
    let mut body = json!({ "flows": [{ "stages": [stage] }], "params": {}, "completed": [], "session": session });
    if let (Some((code, message)), Some(body)) = (wrong, body.as_object_mut()) {
        body.insert("errcode".into(), code.into());
        body.insert("error".into(), message.into());
    }
    Response::json(401, &body)
}
