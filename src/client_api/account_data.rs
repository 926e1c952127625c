//! Account data as clients set and get it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use ruma::RoomId;

use super::{Access, Call, Route, handler};
use crate::{
    account_data,
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/user/{userId}/account_data/{type}",
        access: Access::Token,
        handler: handler!(of_account),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/client/{version}/user/{userId}/account_data/{type}",
        access: Access::Token,
        handler: handler!(set_for_account),
    },
    Route {
        method: Method::Get,
        path: "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/account_data/{type}",
        access: Access::Token,
        handler: handler!(of_room),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/client/{version}/user/{userId}/rooms/{roomId}/account_data/{type}",
        access: Access::Token,
        handler: handler!(set_for_room),
    },
];

/// Types that have endpoints of their own.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-13>
const SET_BY_OTHER_MEANS: [&str; 2] = ["m.fully_read", "m.push_rules"];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype>
async fn of_account(call: Call) -> Result<Response, Error> {
    read(&call, None, call.param(1)).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype>
async fn set_for_account(call: Call) -> Result<Response, Error> {
    write(&call, None, call.param(1)).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype>
async fn of_room(call: Call) -> Result<Response, Error> {
    read(&call, Some(&call.room_id(1)?), call.param(2)).await
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype>
async fn set_for_room(call: Call) -> Result<Response, Error> {
    write(&call, Some(&call.room_id(1)?), call.param(2)).await
}

async fn read(call: &Call, room: Option<&RoomId>, kind: &str) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    let content = account_data::read(&call.server, call.user()?, room, kind).await?;
    Ok(Response::ok(&content.ok_or_else(|| Error::not_found("There is no such account data."))?))
}

async fn write(call: &Call, room: Option<&RoomId>, kind: &str) -> Result<Response, Error> {
    call.only_for(&call.user_id(0)?)?;
    if SET_BY_OTHER_MEANS.contains(&kind) {
        return Err(Error::refused(405, "M_BAD_JSON", format!("{kind} is set by an endpoint of its own.")));
    }
    account_data::put(&call.server, call.user()?, room, kind, call.json_object()?.into()).await?;
    Ok(Response::empty())
}
