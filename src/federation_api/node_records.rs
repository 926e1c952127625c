//! Node records, for whoever looks for a node: any server that knows one passes it on, as relays do.

use ruma::ServerName;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_inglenook/relay/v1/record/{serverName}", access: Access::Public, handler: handler!(record) },
    // Through a relay, which answers the other path itself.
    Route {
        method: Method::Get,
        path: "/_matrix/federation/unstable/im.inglenook/record/{serverName}",
        access: Access::Signed,
        handler: handler!(record),
    },
];

/// The record as its node has signed it.
async fn record(call: Call) -> Result<Response, Error> {
    let name = ServerName::parse(call.param(0)).map_err(|_| Error::invalid_param("This is no server name."))?;
    let server = &call.server;
    let record = if name == server.name() { server.own_relays.record() } else { server.records.stored(&name).await? };
    let record = record.ok_or_else(|| Error::not_found("This server does not know where that node is."))?;
    Ok(Response::ok(&record))
}
