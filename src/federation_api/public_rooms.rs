//! The published rooms of this server.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#published-room-directory>

use super::{Access, Call, Route, handler};
use crate::{
    client_api::PublicRoomsQuery,
    error::Error,
    http::{Method, Response},
};

const PATH: &str = "/_matrix/federation/v1/publicRooms";

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: PATH, access: Access::Signed, handler: handler!(public_rooms) },
    Route { method: Method::Post, path: PATH, access: Access::Signed, handler: handler!(search_public_rooms) },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms>
async fn public_rooms(call: Call) -> Result<Response, Error> {
    let query = PublicRoomsQuery::page(call.query_number("limit")?, call.query("since"));
    Ok(Response::ok(&query.answer(&call.server).await?))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>
async fn search_public_rooms(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&call.body::<PublicRoomsQuery>()?.answer(&call.server).await?))
}
