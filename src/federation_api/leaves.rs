//! Leaving from elsewhere: also how an invitation is declined and a knock taken back.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites>

use serde_json::json;

use super::{
    Access, Call, Route, handler,
    handshake::{self, Wish, handed_in, template, template_answer},
};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/_matrix/federation/v1/make_leave/{roomId}/{userId}",
        access: Access::Signed,
        handler: handler!(make_leave),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/send_leave/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(send_leave_v1),
    },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v2/send_leave/{roomId}/{eventId}",
        access: Access::Signed,
        handler: handler!(send_leave),
    },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid>
async fn make_leave(call: Call) -> Result<Response, Error> {
    let user = call.user_id(1)?;
    call.only_of_origin(&user)?;
    let room = call.open_room(0).await?;
    let template = template(&call.server, &room, &user, json!({ "membership": Wish::Leave.membership() })).await?;
    Ok(template_answer(&room, &template))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid>
async fn send_leave(call: Call) -> Result<Response, Error> {
    accept(&call).await?;
    Ok(Response::empty())
}

/// The same for servers of old, which expect the answer behind its status.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_leaveroomideventid>
async fn send_leave_v1(call: Call) -> Result<Response, Error> {
    accept(&call).await?;
    Ok(Response::ok(&json!([200, {}])))
}

async fn accept(call: &Call) -> Result<(), Error> {
    let room = call.open_room(0).await?;
    let event = handed_in(call, &room, Wish::Leave).await?;
    handshake::admit(&call.server, &room, &event).await?;
    Ok(())
}
