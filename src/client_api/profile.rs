//! Profiles as clients set and get them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#profiles>

use ruma::OwnedUserId;
use serde_json::{Map, Value};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    federation::{self, for_client},
    http::{Method, Response},
    profiles::{self, IN_MEMBER_EVENTS, Profile},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/client/{version}/profile/{userId}", access: Access::Public, handler: handler!(whole) },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/profile/{userId}/{keyName}",
        access: Access::Public,
        handler: handler!(field),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/client/{version}/profile/{userId}/{keyName}",
        access: Access::Token,
        handler: handler!(set_field),
    },
    Route {
        method: Method::Delete,
        path: "/_matrix/client/{version}/profile/{userId}/{keyName}",
        access: Access::Token,
        handler: handler!(delete_field),
    },
];

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>
const MAX_KEY_BYTES: usize = 255;

/// The longest display name and avatar: both go into each of the user's member events, which may have 64 KiB in all.
const MAX_IN_MEMBER_EVENTS: usize = 1024;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid>
async fn whole(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&read(&call).await?))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname>
async fn field(call: Call) -> Result<Response, Error> {
    let (name, value) =
        read(&call).await?.remove_entry(call.param(1)).ok_or_else(|| Error::not_found("This profile has no such field."))?;
    Ok(Response::ok(&Map::from_iter([(name, value)])))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname>
async fn set_field(call: Call) -> Result<Response, Error> {
    let (user, name) = own_field(&call)?;
    let value = call.json_object()?.remove(name).ok_or_else(|| Error::missing_param(format!("The body has no {name:?}.")))?;
    let value = checked(name, value)?;
    profiles::change(&call.server, &user, name, value).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname>
async fn delete_field(call: Call) -> Result<Response, Error> {
    let (user, name) = own_field(&call)?;
    profiles::change(&call.server, &user, name, None).await?;
    Ok(Response::empty())
}

async fn read(call: &Call) -> Result<Profile, Error> {
    let user = call.user_id(0)?;
    if user.server_name() != call.server.identity.server_name() {
        let field = Some(call.param(1)).filter(|field| !field.is_empty());
        return federation::profile(&call.server, &user, field).await.map_err(for_client);
    }
    if call.server.accounts.account(&user).await?.is_none() {
        return Err(Error::not_found("This server knows no profile of that user."));
    }
    profiles::read(&call.server, &user).await
}

fn own_field(call: &Call) -> Result<(OwnedUserId, &str), Error> {
    let user = call.user_id(0)?;
    call.only_for(&user)?;
    let name = call.param(1);
    if name.len() > MAX_KEY_BYTES {
        return Err(Error::refused(400, "M_KEY_TOO_LARGE", "The name of a field may have 255 bytes at most."));
    }
    if !is_field_name(name) {
        return Err(Error::invalid_param(format!("{name:?} cannot be the name of a field.")));
    }
    Ok((user, name))
}

/// <https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar>
fn is_field_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(allowed)
}

/// The value to be stored. Old clients remove a name or a picture by setting it to nothing.
fn checked(name: &str, value: Value) -> Result<Option<Value>, Error> {
    let is_text = IN_MEMBER_EVENTS.contains(&name) || name == "m.tz";
    match &value {
        Value::String(text) if IN_MEMBER_EVENTS.contains(&name) => {
            if text.len() > MAX_IN_MEMBER_EVENTS {
                return Err(Error::invalid_param(format!("{name} may have {MAX_IN_MEMBER_EVENTS} bytes at most.")));
            }
            if name == "avatar_url" && !text.is_empty() && !text.starts_with("mxc://") {
                return Err(Error::invalid_param("avatar_url is an mxc:// URI."));
            }
            Ok(Some(value).filter(|value| value != ""))
        }
        Value::String(_) => Ok(Some(value)),
        _ if is_text => Err(Error::bad_json(format!("{name} must be a string."))),
        _ => Ok(Some(value)),
    }
}
