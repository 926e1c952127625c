//! Filters that clients define once and name in later requests.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use ruma::{
    RoomId, UserId,
    serde::{Base64, base64::UrlSafe},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    filter::Filter,
    http::{Method, Response},
    parse,
    server::Server,
    storage::{Batch, Key, Table},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Post,
        path: "/_matrix/client/{version}/user/{userId}/filter",
        access: Access::Token,
        handler: handler!(define),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/user/{userId}/filter/{filterId}",
        access: Access::Token,
        handler: handler!(get),
    },
];

/// So many bytes of a filter's hash name it among a user's filters.
const ID_BYTES: usize = 12;

/// The parts of a filter that choose among events.
const EVENT_FILTERS: [&str; 6] = ["/account_data", "/presence", "/room/account_data", "/room/ephemeral", "/room/state", "/room/timeline"];

/// The same filter gets the same ID, so that a client that defines it at each start leaves one row behind.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter>
async fn define(call: Call) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    let filter = Value::from(call.json_object()?);
    check(&filter)?;
    let row = filter.to_string().into_bytes();
    let hash: [u8; 32] = Sha256::digest(&row).into();
    let id = Base64::<UrlSafe, _>::new(hash.iter().copied().take(ID_BYTES).collect::<Vec<_>>()).encode();
    let key = key(call.user()?, &id);
    let known = call.server.ports.store.get_many(std::slice::from_ref(&key)).await?.pop().flatten();
    if known.is_none() {
        let mut batch = Batch::new();
        batch.put(key, row);
        call.server.ports.store.commit(batch).await?;
    }
    Ok(Response::ok(&json!({ "filter_id": id })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid>
async fn get(call: Call) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    Ok(Response::ok(&read(&call.server, call.user()?, call.param(1)).await?))
}

/// A filter that the user has defined.
pub(crate) async fn read(server: &Server, user: &UserId, id: &str) -> Result<Value, Error> {
    let row = server.ports.store.get_many(&[key(user, id)]).await?.pop().flatten();
    let row = row.ok_or_else(|| Error::not_found("You have defined no such filter."))?;
    parse::json(&row).map_err(|error| Error::bug(format!("a stored filter: {error}")))
}

fn check(filter: &Value) -> Result<(), Error> {
    serde_json::from_value::<Filter>(filter.clone())
        .map_err(|error| Error::bad_json(format!("The filter is not of the right shape: {error}.")))?;
    check_rooms(filter.get("room"))?;
    EVENT_FILTERS.iter().filter_map(|pointer| filter.pointer(pointer)).try_for_each(check_event_filter)
}

fn check_event_filter(filter: &Value) -> Result<(), Error> {
    if filter.get("limit").is_some_and(|limit| limit.as_u64() == Some(0)) {
        return Err(Error::bad_json("The limit of a filter must be greater than 0."));
    }
    check_rooms(Some(filter))?;
    let is_user = |user: &str| UserId::parse(user).is_ok();
    check_ids(Some(filter), &["senders", "not_senders"], is_user)
}

fn check_rooms(filter: Option<&Value>) -> Result<(), Error> {
    check_ids(filter, &["rooms", "not_rooms"], |room| RoomId::parse(room).is_ok())
}

fn check_ids(filter: Option<&Value>, lists: &[&str], is_id: impl Fn(&str) -> bool) -> Result<(), Error> {
    let lists = lists.iter().filter_map(|list| filter?.get(list)?.as_array());
    match lists.flatten().filter_map(Value::as_str).find(|id| !is_id(id)) {
        Some(id) => Err(Error::bad_json(format!("{id:?} is not an ID of that kind."))),
        None => Ok(()),
    }
}

fn key(user: &UserId, id: &str) -> Key {
    Key::new(Table::Filters).text(user.as_str()).text(id)
}
