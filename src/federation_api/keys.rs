//! The keys that this server signs with, and those of others for whom it vouches.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, serde::Base64, signatures};
use serde::Deserialize;
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    gather::Gather,
    http::{Method, Response},
    notary::published,
    ordered::OrderedMap,
    server::Server,
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_matrix/key/v2/server", access: Access::Public, handler: handler!(own_keys) },
    Route { method: Method::Get, path: "/_matrix/key/v2/query/{serverName}", access: Access::Public, handler: handler!(keys_of) },
    Route { method: Method::Post, path: "/_matrix/key/v2/query", access: Access::Public, handler: handler!(keys_of_several) },
];

/// How long others may rely on the key before they ask again. It never changes; a day keeps them from asking often.
const VALIDITY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Servers of one query at most: each may have to be asked, and anybody may query.
const MAX_SERVERS: usize = 50;

/// So many of them are asked at a time.
const AT_A_TIME: usize = 8;

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
async fn own_keys(call: Call) -> Result<Response, Error> {
    Ok(Response::ok(&signed_keys(&call.server, call.server.now() + VALIDITY_MILLIS)?))
}

/// This server's keys, signed by themselves.
pub(crate) fn signed_keys(server: &Server, valid_until: u64) -> Result<CanonicalJsonObject, Error> {
    let identity = &server.identity;
    let keys = json!({
        "server_name": identity.server_name(),
        "valid_until_ts": valid_until,
        "verify_keys": { identity.key_id(): { "key": <Base64>::new(identity.public_key().to_vec()) } },
        "old_verify_keys": {},
    });
    let keys = serde_json::from_value(keys).map_err(|error| Error::bug(error.to_string()))?;
    signed(server, keys)
}

/// The keys with this server's signature beside those that are there.
fn signed(server: &Server, mut keys: CanonicalJsonObject) -> Result<CanonicalJsonObject, Error> {
    signatures::sign_json(server.identity.server_name().as_str(), &*server.identity, &mut keys)
        .map_err(|error| Error::bug(error.to_string()))?;
    Ok(keys)
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername>
async fn keys_of(call: Call) -> Result<Response, Error> {
    let name = call.param(0);
    let name = ServerName::parse(name).map_err(|_| Error::invalid_param(format!("{name:?} is no server name.")))?;
    let wanted_until = call.query_number("minimum_valid_until_ts")?.unwrap_or_else(|| call.server.now());
    answer(&call.server, [(name, wanted_until)].into()).await
}

#[derive(Deserialize)]
struct KeyQuery {
    server_keys: OrderedMap<OwnedServerName, OrderedMap<String, Criteria>>,
}

#[derive(Deserialize)]
struct Criteria {
    minimum_valid_until_ts: Option<u64>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>
async fn keys_of_several(call: Call) -> Result<Response, Error> {
    let KeyQuery { server_keys } = call.body()?;
    if server_keys.len() > MAX_SERVERS {
        return Err(Error::invalid_param(format!("No more than {MAX_SERVERS} servers may be asked about at once.")));
    }
    let now = call.server.now();
    let wanted_until = |criteria: OrderedMap<String, Criteria>| criteria.into_values().filter_map(|one| one.minimum_valid_until_ts).max();
    let wanted = server_keys.into_iter().map(|(name, criteria)| (name, wanted_until(criteria).unwrap_or(now)));
    answer(&call.server, wanted.gather()).await
}

/// What can be had of these servers' keys that are to be valid until then, signed by this server.
async fn answer(server: &Rc<Server>, wanted: OrderedMap<OwnedServerName, u64>) -> Result<Response, Error> {
    let found = stream::iter(wanted).map(async |(name, wanted_until)| {
        if name == *server.identity.server_name() {
            return signed_keys(server, server.now() + VALIDITY_MILLIS).map(Some);
        }
        published(server, &name, wanted_until).await.map(|keys| signed(server, keys)).transpose()
    });
    let found: Vec<_> = found.buffered(AT_A_TIME).collect().await;
    let found: Vec<_> = found.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Response::ok(&json!({ "server_keys": found.into_iter().flatten().collect::<Vec<_>>() })))
}
