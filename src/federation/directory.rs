//! Asking another server where one of its aliases leads.

use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId};
use serde::{Deserialize, Serialize};

use super::{
    read,
    target::{path, with_query},
};
use crate::{error::Error, server::Server};

/// A room, and servers that are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Located {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) servers: Vec<OwnedServerName>,
}

impl Located {
    /// The same with these servers before the others.
    pub(crate) fn also_via(self, via: Vec<OwnedServerName>) -> Self {
        Self { servers: via.into_iter().chain(self.servers).collect(), ..self }
    }
}

/// Asks the server that an alias belongs to.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory>
pub(crate) async fn locate(server: &Server, alias: &RoomAliasId) -> Result<Located, Error> {
    let target = with_query(&path("v1/query/directory", &[]), [("room_alias", alias.as_str())]);
    read(&server.federation_client.get(alias.server_name(), &target).await?)
}
