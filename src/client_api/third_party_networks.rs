//! Networks that are bridged to this server: none.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-networks>

use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

macro_rules! get {
    ($path:literal, $handler:ident) => {
        Route {
            method: Method::Get,
            path: concat!("/_matrix/client/{version}/thirdparty", $path),
            access: Access::Token,
            handler: handler!($handler),
        }
    };
}

pub(super) const ROUTES: &[Route] = &[
    get!("/protocols", protocols),
    get!("/protocol/{protocol}", unknown),
    get!("/location/{protocol}", unknown),
    get!("/user/{protocol}", unknown),
    get!("/location", location),
    get!("/user", user),
];

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols>
async fn protocols(_call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&json!({})))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol>
async fn unknown(_call: Call) -> Result<Response, Error> {
    Err(Error::not_found("No such network is bridged to this server."))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocation>
async fn location(call: Call) -> Result<Response, Error> {
    call.query("alias").ok_or_else(|| Error::missing_param("The alias is missing."))?;
    Err(Error::not_found("This alias leads to no other network."))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyuser>
async fn user(call: Call) -> Result<Response, Error> {
    call.query("userid").ok_or_else(|| Error::missing_param("The user ID is missing."))?;
    Err(Error::not_found("This user is of no other network."))
}
