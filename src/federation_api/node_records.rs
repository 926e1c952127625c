//! Node records, for whoever looks for a node: any server that knows one passes it on.

use ruma::ServerName;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_inglenook/node_record/{serverName}", access: Access::Public, handler: handler!(node_record) }];

/// The record as its node has signed it.
async fn node_record(call: Call) -> Result<Response, Error> {
    let name = ServerName::parse(call.param(0)).map_err(|_| Error::invalid_param("This is no server name."))?;
    let known = call.server.node_records.of(&name).await?;
    let known = known.ok_or_else(|| Error::not_found("This server does not know where that node is."))?;
    Ok(Response::ok(&known.signed))
}
