//! Pushers as clients set and get them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#client-behaviour-11>

use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    gather::Gather,
    http::{Method, Response},
    pushers::{self, Pusher},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/pushers", access: Access::Token, handler: handler!(list) },
    Route { method: Method::Post, path: "/_matrix/client/{version}/pushers/set", access: Access::Token, handler: handler!(set) },
];

const MAX_APP_ID_BYTES: usize = 64;

const MAX_PUSHKEY_BYTES: usize = 512;

/// The fields of a pusher that clients are shown again.
const SHOWN: [&str; 8] = ["app_display_name", "app_id", "data", "device_display_name", "kind", "lang", "profile_tag", "pushkey"];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers>
async fn list(call: Call) -> Result<Response, Error> {
    let pushers = pushers::of_user(&*call.server.ports.store, call.user()?).await?;
    let pushers: Vec<_> = pushers.into_iter().map(|pusher| pusher.value).collect();
    Ok(Response::ok(&json!({ "pushers": pushers })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset>
async fn set(call: Call) -> Result<Response, Error> {
    let body = call.json_object()?;
    let app_id = short_text(&body, "app_id", MAX_APP_ID_BYTES)?;
    let pushkey = short_text(&body, "pushkey", MAX_PUSHKEY_BYTES)?;
    let caller = call.caller()?;
    match body.get("kind") {
        None => return Err(Error::missing_param("kind is missing.")),
        Some(Value::Null) => {
            pushers::remove(&call.server, &caller.user, app_id, pushkey).await?;
            return Ok(Response::empty());
        }
        Some(Value::String(kind)) if kind == "http" => check_http(&body)?,
        Some(kind) => return Err(Error::invalid_param(format!("This server has no pushers of the kind {kind}."))),
    }
    let value = body.iter().filter(|(name, _)| SHOWN.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone()));
    let pusher = Pusher {
        user: caller.user.clone(),
        device: caller.device.clone(),
        app_id: app_id.to_owned(),
        pushkey: pushkey.to_owned(),
        value: Value::Object(value.gather()),
    };
    let append = body.get("append").and_then(Value::as_bool).unwrap_or(false);
    pushers::put(&call.server, &pusher, append).await?;
    Ok(Response::empty())
}

fn check_http(body: &Map<String, Value>) -> Result<(), Error> {
    for field in ["app_display_name", "device_display_name", "lang"] {
        text(body, field)?;
    }
    let data = body.get("data").ok_or_else(|| Error::missing_param("data is missing."))?;
    let url = data.get("url").ok_or_else(|| Error::missing_param("data has no url."))?.as_str().unwrap_or_default();
    if !url.starts_with("https://") || !url.ends_with("/_matrix/push/v1/notify") {
        return Err(Error::invalid_param("The url of a pusher is https://…/_matrix/push/v1/notify."));
    }
    Ok(())
}

fn short_text<'a>(body: &'a Map<String, Value>, field: &str, max_bytes: usize) -> Result<&'a str, Error> {
    let value = text(body, field)?;
    if value.len() > max_bytes {
        return Err(Error::invalid_param(format!("{field} may have {max_bytes} bytes at most.")));
    }
    Ok(value)
}

fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Result<&'a str, Error> {
    let value = body.get(field).ok_or_else(|| Error::missing_param(format!("{field} is missing.")))?;
    value.as_str().ok_or_else(|| Error::bad_json(format!("{field} must be a string.")))
}
