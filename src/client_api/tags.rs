//! Tags of rooms, kept as account data.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use serde_json::{Map, Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    account_data,
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/tags",
        access: Access::Token,
        handler: handler!(list),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/tags/{tag}",
        access: Access::Token,
        handler: handler!(set),
    },
    Route {
        method: Method::Delete,
        path: "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/tags/{tag}",
        access: Access::Token,
        handler: handler!(remove),
    },
];

const KIND: &str = "m.tag";

/// <https://spec.matrix.org/v1.19/client-server-api/#events-14>
const MAX_TAG_BYTES: usize = 255;

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags>
async fn list(call: Call) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    let content = account_data::read(&call.server, call.user()?, Some(&call.room_id(1)?), KIND).await?;
    let tags = content.and_then(|content| content.get("tags").cloned()).unwrap_or_else(|| json!({}));
    Ok(Response::ok(&json!({ "tags": tags })))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag>
async fn set(call: Call) -> Result<Response, Error> {
    let tag = call.json_object()?;
    if call.param(2).len() > MAX_TAG_BYTES {
        return Err(Error::invalid_param("The name of a tag may have 255 bytes at most."));
    }
    if tag.get("order").is_some_and(|order| !order.as_f64().is_some_and(|order| (0.0..=1.0).contains(&order))) {
        return Err(Error::invalid_param("The order of a tag is a number from 0 to 1."));
    }
    change(&call, Box::new(|tags| drop(tags.insert(call.param(2).to_owned(), tag.into())))).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag>
async fn remove(call: Call) -> Result<Response, Error> {
    change(&call, Box::new(|tags| drop(tags.remove(call.param(2))))).await
}

/// What becomes of a room's tags.
type Change<'a> = Box<dyn FnOnce(&mut Map<String, Value>) + 'a>;

async fn change(call: &Call, change: Change<'_>) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    let room = call.room_id(1)?;
    let changing = account_data::change(&call.server, call.user()?, Some(&room), KIND, |old| {
        let mut content = old.clone().filter(Value::is_object).unwrap_or_else(|| json!({}));
        let tags = content.as_object_mut().map(|content| content.entry("tags").or_insert_with(|| json!({})));
        if let Some(tags) = tags.and_then(Value::as_object_mut) {
            change(tags);
        }
        Ok(Some(content).filter(|content| old.as_ref() != Some(content)))
    });
    changing.await?;
    Ok(Response::empty())
}
