//! Server-side key backups.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use ruma::OwnedRoomId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Access, Call, Handler, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    key_backup::{self, Backup, Chosen, KeyData, Rooms, Sessions},
    ordered::OrderedMap,
};

pub(super) const ROUTES: &[Route] = &[
    route(Method::Post, "/_matrix/client/{version}/room_keys/version", handler!(create)),
    route(Method::Get, "/_matrix/client/{version}/room_keys/version", handler!(last)),
    route(Method::Get, "/_matrix/client/{version}/room_keys/version/{backupVersion}", handler!(one)),
    route(Method::Put, "/_matrix/client/{version}/room_keys/version/{backupVersion}", handler!(update)),
    route(Method::Delete, "/_matrix/client/{version}/room_keys/version/{backupVersion}", handler!(delete)),
    route(Method::Put, "/_matrix/client/{version}/room_keys/keys", handler!(add)),
    route(Method::Get, "/_matrix/client/{version}/room_keys/keys", handler!(keys)),
    route(Method::Delete, "/_matrix/client/{version}/room_keys/keys", handler!(delete_keys)),
    route(Method::Put, "/_matrix/client/{version}/room_keys/keys/{roomId}", handler!(add_of_room)),
    route(Method::Get, "/_matrix/client/{version}/room_keys/keys/{roomId}", handler!(keys_of_room)),
    route(Method::Delete, "/_matrix/client/{version}/room_keys/keys/{roomId}", handler!(delete_keys)),
    route(Method::Put, "/_matrix/client/{version}/room_keys/keys/{roomId}/{sessionId}", handler!(add_of_session)),
    route(Method::Get, "/_matrix/client/{version}/room_keys/keys/{roomId}/{sessionId}", handler!(key_of_session)),
    route(Method::Delete, "/_matrix/client/{version}/room_keys/keys/{roomId}/{sessionId}", handler!(delete_keys)),
];

const fn route(method: Method, path: &'static str, handler: Handler) -> Route {
    Route { method, path, access: Access::Token, handler }
}

#[derive(Deserialize)]
struct NewBackup {
    algorithm: String,
    auth_data: Map<String, Value>,
    version: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion>
async fn create(call: Call) -> Result<Response, Error> {
    let NewBackup { algorithm, auth_data, .. } = call.body()?;
    let version = key_backup::create(&call.server, call.user()?, algorithm, auth_data).await?;
    Ok(Response::ok(&json!({ "version": version.to_string() })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion>
async fn last(call: Call) -> Result<Response, Error> {
    let backup = key_backup::last(&*call.server.ports.store, call.user()?).await?;
    Ok(Response::ok(&shown(&backup.ok_or_else(|| Error::not_found("You have no backup."))?)))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversionversion>
async fn one(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&shown(&key_backup::of_version(&*call.server.ports.store, call.user()?, call.param(0)).await?)))
}

fn shown(backup: &Backup) -> Value {
    let Backup { version, algorithm, auth_data, etag, count, .. } = backup;
    json!({ "version": version.to_string(), "algorithm": algorithm, "auth_data": auth_data, "etag": etag.to_string(), "count": count })
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion>
async fn update(call: Call) -> Result<Response, Error> {
    let NewBackup { algorithm, auth_data, version } = call.body()?;
    if version.is_some_and(|version| version != call.param(0)) {
        return Err(Error::invalid_param("The body speaks of another version than the path."));
    }
    key_backup::update(&call.server, call.user()?, call.param(0), &algorithm, auth_data).await?;
    Ok(Response::empty())
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion>
async fn delete(call: Call) -> Result<Response, Error> {
    key_backup::delete(&call.server, call.user()?, call.param(0)).await?;
    Ok(Response::empty())
}

/// The version of the backup that a request is about.
fn version(call: &Call) -> Result<&str, Error> {
    call.query("version").ok_or_else(|| Error::missing_param("version is missing."))
}

/// The room and the session in a request's path.
fn room(call: &Call) -> Result<Option<OwnedRoomId>, Error> {
    if call.param(0).is_empty() { Ok(None) } else { call.room_id(0).map(Some) }
}

fn session(call: &Call) -> Option<&str> {
    Some(call.param(1)).filter(|session| !session.is_empty())
}

#[derive(Deserialize)]
struct NewKeys {
    rooms: Rooms,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>
async fn add(call: Call) -> Result<Response, Error> {
    let NewKeys { rooms } = new_keys(&call)?;
    add_keys(&call, rooms).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomid>
async fn add_of_room(call: Call) -> Result<Response, Error> {
    let sessions: Sessions = new_keys(&call)?;
    add_keys(&call, Rooms::from([(call.room_id(0)?, sessions)])).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeysroomidsessionid>
async fn add_of_session(call: Call) -> Result<Response, Error> {
    let data: KeyData = new_keys(&call)?;
    let sessions = OrderedMap::from([(call.param(1).to_owned(), data)]);
    add_keys(&call, Rooms::from([(call.room_id(0)?, Sessions { sessions })])).await
}

/// The keys of a request's body, which are looked at once it is clear where they belong.
fn new_keys<T: DeserializeOwned>(call: &Call) -> Result<T, Error> {
    let body = call.json_object()?;
    let (_room, _version) = (room(call)?, version(call)?);
    serde_json::from_value(Value::Object(body)).map_err(|error| Error::bad_json(format!("These are no keys of a backup: {error}.")))
}

async fn add_keys(call: &Call, rooms: Rooms) -> Result<Response, Error> {
    Ok(counted(&key_backup::add(&call.server, call.user()?, version(call)?, rooms).await?))
}

fn counted(backup: &Backup) -> Response {
    Response::ok(&json!({ "etag": backup.etag.to_string(), "count": backup.count }))
}

async fn chosen_keys(call: &Call) -> Result<Rooms, Error> {
    let room = room(call)?;
    let chosen = Chosen { room: room.as_deref(), session: session(call) };
    key_backup::keys(&*call.server.ports.store, call.user()?, version(call)?, chosen).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys>
async fn keys(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({ "rooms": chosen_keys(&call).await? })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomid>
async fn keys_of_room(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&chosen_keys(&call).await?.remove(&call.room_id(0)?).unwrap_or_default()))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeysroomidsessionid>
async fn key_of_session(call: Call) -> Result<Response, Error> {
    let of_room = chosen_keys(&call).await?.remove(&call.room_id(0)?);
    let key = of_room.and_then(|mut of_room| of_room.sessions.remove(call.param(1)));
    Ok(Response::ok(&key.ok_or_else(|| Error::not_found("There is no such key in this backup."))?))
}

/// All keys, those of a room, or that of a session.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys>
async fn delete_keys(call: Call) -> Result<Response, Error> {
    let room = room(&call)?;
    let chosen = Chosen { room: room.as_deref(), session: session(&call) };
    Ok(counted(&key_backup::delete_keys(&call.server, call.user()?, version(&call)?, chosen).await?))
}
