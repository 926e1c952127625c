//! What a node leaves with its relay for the time when it is away, and the queries that the relay answers from it.
//!
//! The asker verifies what it gets by the signatures in it. What carries none, a profile or the list of a user's devices, is as true as
//! the relay that answers; and any relay can leave something out.

use inglenook_protocol::signed;
use ruma::ServerName;
use serde_json::{Map, Value, json};

use crate::{
    config::MAX_DEPOSIT,
    origin::WholeRequest,
    relay::Relay,
    reply,
    reply::{Answer, Refused, Response},
    store::Document,
    target::{query, segments},
};

/// Keeps what `node` leaves, in place of what it left before.
pub(crate) async fn keep(relay: &Relay, node: &ServerName, kind: &str, body: Vec<u8>) -> Answer {
    let document = Document::deposit(kind).ok_or_else(Refused::unrecognized)?;
    if body.len() > MAX_DEPOSIT {
        return Err(Refused::new(413, "M_TOO_LARGE", "The deposit is too large."));
    }
    let value: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| Refused::bad(format!("The body is no object: {error}.")))?;
    if document == Document::Keys {
        check_keys(node, value)?;
    }
    relay.store.keep(document, node, body).await?;
    relay.metrics.deposits.inc();
    Ok(reply::json(200, &json!({})))
}

/// The keys are handed out under the node's name to whoever asks: they have to be its own.
fn check_keys(node: &ServerName, keys: Map<String, Value>) -> Result<(), Refused> {
    let wrong = |error: &dyn std::fmt::Display| Refused::bad(format!("These are not the node's keys: {error}."));
    let keys = serde_json::from_value(Value::Object(keys)).map_err(|error| wrong(&error))?;
    let keys: Value = signed::verify(&keys, node).map_err(|error| wrong(&error))?;
    let is_own = keys.get("server_name").and_then(Value::as_str) == Some(node.as_str());
    is_own.then_some(()).ok_or_else(|| wrong(&"they name another server"))
}

/// The answer that `node`, which is away, has left to a request; `None` where it has left none.
pub(crate) async fn answer(relay: &Relay, node: &ServerName, request: &WholeRequest) -> Result<Option<Response>, Refused> {
    let path = segments(&request.uri);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let asked = match (request.method.as_str(), path.as_slice()) {
        ("GET", ["_matrix", "key", "v2", "server"] | ["_matrix", "key", "v2", "server", _]) => Asked::Keys,
        ("GET", ["_matrix", "federation", "v1", "query", "profile"]) => Asked::Profile,
        ("GET", ["_matrix", "federation", "v1", "user", "devices", user]) => Asked::Devices((*user).to_owned()),
        ("POST", ["_matrix", "federation", "v1", "user", "keys", "query"]) => Asked::Query,
        ("POST", ["_matrix", "federation", "v1", "user", "keys", "claim"]) => Asked::Claim,
        _ => return Ok(None),
    };
    if asked != Asked::Keys {
        relay.origin(request, node).await?;
    }
    let Some(deposit) = relay.store.document(asked.document(), node).await? else { return Ok(None) };
    let deposit: Value = serde_json::from_slice(&deposit).map_err(|error| Refused::failed(format!("The deposit: {error}.")))?;
    asked.answer(&deposit, request).map(|value| Some(reply::json(200, &value)))
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Keys,
    Profile,
    Devices(String),
    Query,
    Claim,
}

impl Asked {
    fn document(&self) -> Document {
        match self {
            Self::Keys => Document::Keys,
            Self::Profile => Document::Profiles,
            Self::Devices(_) | Self::Query => Document::Devices,
            Self::Claim => Document::Fallback,
        }
    }

    fn answer(&self, deposit: &Value, request: &WholeRequest) -> Result<Value, Refused> {
        match self {
            Self::Keys => Ok(deposit.clone()),
            Self::Profile => profile(deposit, &request.uri),
            Self::Devices(user) => at(deposit, &["devices", user]).cloned().ok_or_else(no_such_user),
            Self::Query => keys(deposit, &request.body),
            Self::Claim => claim(deposit, &request.body),
        }
    }
}

fn no_such_user() -> Refused {
    Refused::not_found("The node has left nothing about that user.")
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>
fn profile(deposit: &Value, uri: &str) -> Result<Value, Refused> {
    let user = query(uri, "user_id").ok_or_else(|| Refused::new(400, "M_MISSING_PARAM", "user_id is missing."))?;
    let profile = deposit.get(&user).ok_or_else(no_such_user)?;
    Ok(match query(uri, "field") {
        Some(field) => profile.get(&field).map_or_else(|| json!({}), |value| json!({ field: value })),
        None => profile.clone(),
    })
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
fn keys(deposit: &Value, body: &[u8]) -> Result<Value, Refused> {
    let mut answer = Map::new();
    for (user, devices) in asked_of(body, "device_keys")? {
        let wanted: Vec<&str> = devices.as_array().map(|ids| ids.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        let Some(known) = at(deposit, &["keys", &user]) else { continue };
        let of_user = known.get("device_keys").and_then(Value::as_object).cloned().unwrap_or_default();
        let of_user: Map<String, Value> =
            of_user.into_iter().filter(|(device, _)| wanted.is_empty() || wanted.contains(&device.as_str())).collect();
        put(&mut answer, "device_keys", &user, Value::Object(of_user));
        for (from, to) in [("master_key", "master_keys"), ("self_signing_key", "self_signing_keys")] {
            if let Some(key) = known.get(from) {
                put(&mut answer, to, &user, key.clone());
            }
        }
    }
    answer.entry("device_keys").or_insert_with(|| json!({}));
    Ok(Value::Object(answer))
}

fn put(answer: &mut Map<String, Value>, kind: &str, user: &str, value: Value) {
    if let Some(users) = answer.entry(kind).or_insert_with(|| json!({})).as_object_mut() {
        users.insert(user.to_owned(), value);
    }
}

/// Only fallback keys are left here, since nobody may be given a one-time key twice.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim>
fn claim(deposit: &Value, body: &[u8]) -> Result<Value, Refused> {
    let mut answer = Map::new();
    for (user, devices) in asked_of(body, "one_time_keys")? {
        let mut of_user = Map::new();
        for (device, algorithm) in devices.as_object().into_iter().flatten() {
            let algorithm = algorithm.as_str().unwrap_or_default();
            let keys = at(deposit, &[&user, device]).and_then(Value::as_object).into_iter().flatten();
            let key = keys.into_iter().find(|(id, _)| id.split(':').next() == Some(algorithm));
            if let Some((id, key)) = key {
                of_user.insert(device.clone(), json!({ id: key }));
            }
        }
        if !of_user.is_empty() {
            answer.insert(user, Value::Object(of_user));
        }
    }
    Ok(json!({ "one_time_keys": answer }))
}

fn asked_of(body: &[u8], name: &str) -> Result<Map<String, Value>, Refused> {
    let body: Value = serde_json::from_slice(body).map_err(|error| Refused::bad(format!("The body is no JSON: {error}.")))?;
    body.get(name).and_then(Value::as_object).cloned().ok_or_else(|| Refused::bad(format!("{name} is missing.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "@a:b";

    #[test]
    fn a_profile_is_answered_whole_or_by_field() {
        let deposit = json!({ USER: { "displayname": "A", "avatar_url": "mxc://b/c" } });
        let uri = "/_matrix/federation/v1/query/profile?user_id=%40a%3Ab";
        assert_eq!(profile(&deposit, uri).unwrap(), deposit[USER]);
        assert_eq!(profile(&deposit, &format!("{uri}&field=displayname")).unwrap(), json!({ "displayname": "A" }));
        assert_eq!(profile(&deposit, "/x?user_id=@c:b").unwrap_err().status, 404);
    }

    #[test]
    fn keys_are_answered_for_the_devices_asked_for() {
        let known = json!({ "device_keys": { "D": { "x": 1 }, "E": { "x": 2 } }, "master_key": { "m": 1 } });
        let deposit = json!({ "keys": { USER: known } });
        let asked = |devices: Value| keys(&deposit, &serde_json::to_vec(&json!({ "device_keys": { USER: devices, "@c:b": [] } })).unwrap());
        let answer = asked(json!(["D"])).unwrap();
        assert_eq!(answer, json!({ "device_keys": { USER: { "D": { "x": 1 } } }, "master_keys": { USER: { "m": 1 } } }));
        assert_eq!(asked(json!([])).unwrap()["device_keys"][USER].as_object().unwrap().len(), 2);
    }

    #[test]
    fn a_fallback_key_of_the_algorithm_is_claimed() {
        let deposit = json!({ USER: { "D": { "signed_curve25519:A": { "key": "k", "fallback": true } } } });
        let asked =
            |algorithm: &str| claim(&deposit, &serde_json::to_vec(&json!({ "one_time_keys": { USER: { "D": algorithm } } })).unwrap());
        let key = json!({ "signed_curve25519:A": { "key": "k", "fallback": true } });
        assert_eq!(asked("signed_curve25519").unwrap(), json!({ "one_time_keys": { USER: { "D": key } } }));
        assert_eq!(asked("curve25519").unwrap(), json!({ "one_time_keys": {} }));
    }
}
