//! Asking another server which rooms it has published.

use ruma::ServerName;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{read, target::path};
use crate::{error::Error, server::Server};

/// A page of another server's directory.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms>
pub(crate) async fn public_rooms(server: &Server, peer: &ServerName, query: &impl Serialize) -> Result<Map<String, Value>, Error> {
    let body = serde_json::to_value(query).map_err(|error| Error::bug(error.to_string()))?;
    read(&server.federation_client.post(peer, &path("v1/publicRooms", &[]), &body).await?)
}
