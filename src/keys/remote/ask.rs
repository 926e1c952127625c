//! Asks other servers for their users' devices and one-time keys.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{ServerName, UserId};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{ToldDeviceList, ToldKeys};
use crate::{
    error::Error,
    federation_client::PeerError,
    keys::{
        claim::{Claimed, Claims},
        query::Query,
    },
    parse,
    server::Server,
};

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
pub(super) async fn devices(server: &Server, user: &UserId) -> Result<ToldDeviceList, Error> {
    let target = format!("/_matrix/federation/v1/user/devices/{}", utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC));
    read(&server.federation_client.get(user.server_name(), &target).await?)
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
pub(super) async fn keys(server: &Server, destination: &ServerName, query: &Query) -> Result<ToldKeys, Error> {
    let body = json!({ "device_keys": query });
    read(&server.federation_client.post(destination, "/_matrix/federation/v1/user/keys/query", &body).await?)
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>
pub(super) async fn claim(server: &Server, destination: &ServerName, claims: &Claims) -> Result<Claimed, Error> {
    #[derive(serde::Deserialize)]
    struct Answer {
        one_time_keys: Claimed,
    }
    let body = json!({ "one_time_keys": claims });
    let answer = server.federation_client.post(destination, "/_matrix/federation/v1/user/keys/claim", &body).await?;
    Ok(read::<Answer>(&answer)?.one_time_keys)
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Error> {
    parse::json(answer).map_err(|error| PeerError::Malformed(error.to_string()).into())
}
