//! Which servers are in a room: this one, and others that may help with it.

use std::collections::BTreeMap;

use ruma::{OwnedServerName, UserId};

use crate::{
    error::Error,
    room_server::{Room, commit::members_prefix},
    server::Server,
    storage::{KeyReader, Scan},
};

/// Whether this server is in the room: some user of it has joined.
pub(crate) async fn is_resident(server: &Server, room: &Room) -> Result<bool, Error> {
    Ok(joined_servers(server, room).await?.contains_key(server.identity.server_name()))
}

/// The other servers that are in the room as far as is known here, those with the most members first.
pub(crate) async fn resident_servers(server: &Server, room: &Room) -> Result<Vec<OwnedServerName>, Error> {
    let mut servers: Vec<_> = joined_servers(server, room).await?.into_iter().filter(|(name, _)| name != server.name()).collect();
    servers.sort_by_key(|(_, members)| std::cmp::Reverse(*members));
    Ok(servers.into_iter().map(|(name, _)| name).collect())
}

/// The servers with joined members, and how many each has.
async fn joined_servers(server: &Server, room: &Room) -> Result<BTreeMap<OwnedServerName, u64>, Error> {
    let mut servers = BTreeMap::new();
    for row in server.ports.store.scan(&Scan::prefix(members_prefix(room.number, "join"))).await? {
        let mut key = KeyReader::new(&row.key);
        let user = key.number().and_then(|_| key.text()).and_then(|_| key.text()).and_then(|user| UserId::parse(user).ok());
        if let Some(user) = user {
            *servers.entry(user.server_name().to_owned()).or_default() += 1;
        }
    }
    Ok(servers)
}
