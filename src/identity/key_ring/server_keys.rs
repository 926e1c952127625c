//! What servers publish of their keys, verified by those keys themselves.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#publishing-keys>

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName, serde::Base64, signatures};
use serde::{Deserialize, Serialize};

use super::{Wanted, found::FoundKey};
use crate::{error::Error, federation_client::PeerError, gather::Gather, ordered::OrderedMap, parse};

/// Keys are relied on for so long at most, whatever their server says.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server> (`valid_until_ts`)
const MAX_VALIDITY_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

/// A server has so many keys at most, those of its past among them.
const MAX_KEYS: usize = 100;

/// What a server publishes is kept as it signed it up to this size: so much a hundred keys take, each with a signature.
const MAX_PUBLISHED_BYTES: usize = 32 << 10;

/// What a server says of its keys has so many bytes at most: as many keys as it may have, and the signatures of some notaries. Anybody can
/// have this server ask theirs.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What is known of a server's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownKeys {
    #[serde(rename = "k")]
    pub(super) keys: OrderedMap<String, FoundKey>,
    /// Until when it need not be asked again.
    #[serde(rename = "u")]
    pub(super) valid_until: u64,
    /// What the server published last, as JSON that it signed. Rows of the first versions are without, and what others vouched for in
    /// a room.
    #[serde(rename = "p", default)]
    pub(super) published: Option<String>,
}

impl KnownKeys {
    /// Adds keys that it does not speak of itself.
    pub(super) fn add(&mut self, keys: OrderedMap<String, FoundKey>) {
        for (id, key) in keys {
            self.keys.entry(id).or_insert(key);
        }
    }
}

#[derive(Deserialize)]
struct ServerKeys {
    server_name: OwnedServerName,
    verify_keys: OrderedMap<String, VerifyKey>,
    #[serde(default)]
    old_verify_keys: OrderedMap<String, OldVerifyKey>,
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
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(malformed("they are too large"));
    }
    let object = parse::json(answer).map_err(malformed)?;
    let (name, keys) = read(object, signatures::PublicKeyMap::new(), now)?;
    if name == server { Ok(keys) } else { Err(malformed("they are another server's")) }
}

/// Until when what a server says of its own keys can be relied on, if it has signed it.
pub(crate) fn valid_until(server: &ServerName, answer: &[u8], now: u64) -> Result<u64, Error> {
    Ok(read_answer(server, answer, now)?.valid_until)
}

/// What a notary says of these servers' keys, as far as both they and the notary have signed it: a relay on the way might lie as well.
pub(super) fn read_notary(
    notary: &ServerName,
    notary_keys: OrderedMap<String, FoundKey>,
    wanted: &[Wanted<'_>],
    answer: &[u8],
    now: u64,
) -> Result<Vec<(OwnedServerName, KnownKeys)>, Error> {
    let answer: NotaryAnswer = parse::json(answer).map_err(malformed)?;
    let signer: signatures::PublicKeyMap =
        [(notary.to_string(), notary_keys.into_iter().map(|(id, key)| (id, key.key)).gather())].into_iter().gather();
    let mut told: Vec<(OwnedServerName, KnownKeys)> = Vec::new();
    for object in answer.server_keys {
        let Ok((server, keys)) = read(object, signer.clone(), now) else { continue };
        if let Some((_, known)) = told.iter_mut().find(|(name, _)| *name == server) {
            known.valid_until = known.valid_until.max(keys.valid_until);
            known.add(keys.keys);
        } else if wanted.iter().any(|(name, _)| *name == server) {
            told.push((server, keys));
        }
    }
    Ok(told)
}

/// Whose keys these are, and what they are: signed by themselves and by all these others.
fn read(mut object: CanonicalJsonObject, mut signers: signatures::PublicKeyMap, now: u64) -> Result<(OwnedServerName, KnownKeys), Error> {
    let value = serde_json::to_value(&object).map_err(malformed)?;
    let keys: ServerKeys = serde_json::from_value(value).map_err(malformed)?;
    if keys.verify_keys.len() + keys.old_verify_keys.len() > MAX_KEYS {
        return Err(malformed("there are too many"));
    }
    let server = keys.server_name;
    let verify_keys: signatures::PublicKeySet = keys.verify_keys.into_iter().map(|(id, key)| (id, key.key)).gather();
    if signers.insert(server.to_string(), verify_keys.clone()).is_some() {
        return Err(malformed("a notary cannot vouch for itself"));
    }
    // The check goes through the signatures that are there: those of others would fail it, and with none it would pass.
    let mut by_signers = CanonicalJsonObject::new();
    for name in signers.keys() {
        let by = object.get("signatures").and_then(|all| all.as_object()?.get(name)).ok_or_else(|| malformed("a signature is missing"))?;
        by_signers.insert(name.clone(), by.clone());
    }
    object.insert("signatures".into(), CanonicalJsonValue::Object(by_signers));
    signatures::verify_json(&signers, &object).map_err(malformed)?;
    let valid_until = keys.valid_until_ts.min(now.saturating_add(MAX_VALIDITY_MILLIS));
    let old = keys.old_verify_keys.into_iter().map(|(id, old)| (id, FoundKey { key: old.key, valid_until: old.expired_ts }));
    let mut all: OrderedMap<String, FoundKey> = old.gather();
    all.extend(verify_keys.into_iter().map(|(id, key)| (id, FoundKey { key, valid_until })));
    let published = serde_json::to_string(&object).ok().filter(|json| json.len() <= MAX_PUBLISHED_BYTES);
    Ok((server, KnownKeys { keys: all, valid_until, published }))
}

fn malformed(why: impl ToString) -> Error {
    PeerError::Malformed(why.to_string()).into()
}
