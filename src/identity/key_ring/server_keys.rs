//! What servers publish of their keys, verified by those keys themselves.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, serde::Base64, signatures};
use serde::{Deserialize, Serialize};

use super::found::FoundKey;
use crate::{error::Error, federation_client::PeerError, gather::Gather, parse};

/// Keys are relied on for so long at most, whatever their server says.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server> (`valid_until_ts`)
const MAX_VALIDITY_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

/// A server has so many keys at most, those of its past among them.
const MAX_KEYS: usize = 100;

/// What is known of a server's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownKeys {
    #[serde(rename = "k")]
    pub(super) keys: BTreeMap<String, FoundKey>,
    /// Until when it need not be asked again.
    #[serde(rename = "u")]
    pub(super) valid_until: u64,
}

#[derive(Deserialize)]
struct ServerKeys {
    server_name: OwnedServerName,
    verify_keys: BTreeMap<String, VerifyKey>,
    #[serde(default)]
    old_verify_keys: BTreeMap<String, OldVerifyKey>,
    valid_until_ts: u64,
}

#[derive(Deserialize)]
struct VerifyKey {
    key: Base64,
}

#[derive(Deserialize)]
struct OldVerifyKey {
    key: Base64,
    expired_ts: u64,
}

#[derive(Deserialize)]
struct NotaryAnswer {
    server_keys: Vec<CanonicalJsonObject>,
}

/// What a server says of its own keys.
pub(super) fn read_answer(server: &ServerName, answer: &[u8], now: u64) -> Result<KnownKeys, Error> {
    let object = parse::json(answer).map_err(malformed)?;
    read(server, &object, now)
}

/// Until when what a server says of its own keys can be relied on, if it has signed it.
pub(crate) fn valid_until(server: &ServerName, answer: &[u8], now: u64) -> Result<u64, Error> {
    Ok(read_answer(server, answer, now)?.valid_until)
}

/// What a notary says of a server's keys. That the notary signed it as well does not matter: it was asked itself.
pub(super) fn read_notary(server: &ServerName, answer: &[u8], now: u64) -> Result<KnownKeys, Error> {
    let answer: NotaryAnswer = parse::json(answer).map_err(malformed)?;
    let mut read = answer.server_keys.iter().filter_map(|object| read(server, object, now).ok());
    read.next().ok_or_else(|| malformed("it does not have the keys"))
}

fn read(server: &ServerName, object: &CanonicalJsonObject, now: u64) -> Result<KnownKeys, Error> {
    let value = serde_json::to_value(object).map_err(malformed)?;
    let keys: ServerKeys = serde_json::from_value(value).map_err(malformed)?;
    if keys.server_name != server {
        return Err(malformed("they are another server's"));
    }
    if keys.verify_keys.len() + keys.old_verify_keys.len() > MAX_KEYS {
        return Err(malformed("there are too many"));
    }
    let verify_keys: BTreeMap<String, Base64> = keys.verify_keys.into_iter().map(|(id, key)| (id, key.key)).gather();
    let trusted = BTreeMap::from([(server.to_string(), verify_keys.clone())]);
    signatures::verify_json(&trusted, object).map_err(malformed)?;
    let valid_until = keys.valid_until_ts.min(now.saturating_add(MAX_VALIDITY_MILLIS));
    let old = keys.old_verify_keys.into_iter().map(|(id, old)| (id, FoundKey { key: old.key, valid_until: old.expired_ts }));
    let mut all: BTreeMap<String, FoundKey> = old.gather();
    all.extend(verify_keys.into_iter().map(|(id, key)| (id, FoundKey { key, valid_until })));
    Ok(KnownKeys { keys: all, valid_until })
}

fn malformed(why: impl ToString) -> Error {
    PeerError::Malformed(why.to_string()).into()
}
