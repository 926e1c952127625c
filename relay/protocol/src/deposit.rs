//! What a node leaves with its relays about its users for the time when it is away, and what is answered from it.
//!
//! What it leaves about each user is signed. A relay hands that to nodes as it is; who asks verifies it and makes the answer. For ordinary
//! servers, which know nothing of it, the relay makes the answer.

use percent_encoding::percent_decode_str;
use ruma::{CanonicalJsonObject, ServerName, signatures::KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::signed::{self, NotSigned};

/// What tells a deposit from everything else that a node signs.
const PURPOSE: &str = "inglenook.deposit.v1";

/// The field of a relay's answer to a node: what was left about each of the users that were asked for.
pub const DEPOSITS: &str = "deposits";

/// What a node has left about one of its users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deposit {
    purpose: String,
    /// `profiles`, `devices` or `fallback`.
    pub kind: String,
    /// The user.
    pub user: String,
    /// When it was signed, in milliseconds since 1970. Of two of one kind and user the later holds.
    pub ts: u64,
    /// Until when it can be relied on.
    pub until: u64,
    /// What was left.
    pub content: Value,
}

impl Deposit {
    /// What is to be left.
    pub fn new(kind: &str, user: &str, (ts, until): (u64, u64), content: Value) -> Self {
        Self { purpose: PURPOSE.into(), kind: kind.into(), user: user.into(), ts, until, content }
    }

    /// The deposit as a signed object.
    pub fn sign(&self, node: &ServerName, key: &impl KeyPair) -> Result<CanonicalJsonObject, NotSigned> {
        signed::sign(self, node, key)
    }

    /// Reads what `node` has signed about a user.
    pub fn verify(object: &CanonicalJsonObject, node: &ServerName, kind: &str, user: &str) -> Result<Self, NotSigned> {
        let deposit: Self = signed::verify(object, node)?;
        let is_right = deposit.purpose == PURPOSE && deposit.kind == kind && deposit.user == user;
        is_right.then_some(deposit).ok_or_else(|| NotSigned::Form("it is no such deposit".into()))
    }
}

/// A request that can be answered from deposits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A user's profile, or a field of it.
    Profile {
        /// Whose.
        user: String,
        /// Which field.
        field: Option<String>,
    },
    /// A user's devices.
    Devices(String),
    /// Users' keys.
    Query,
    /// Keys to begin sessions with.
    Claim,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing was left about that user.
    Unknown,
    /// The body is of another form.
    Form,
}

impl Asked {
    /// What is asked for.
    pub fn of(method: &str, uri: &str) -> Option<Self> {
        let path = uri.split('?').next()?.strip_prefix("/_matrix/federation/v1/")?;
        match (method, path) {
            ("GET", "query/profile") => Some(Self::Profile { user: query(uri, "user_id")?, field: query(uri, "field") }),
            ("POST", "user/keys/query") => Some(Self::Query),
            ("POST", "user/keys/claim") => Some(Self::Claim),
            ("GET", path) => {
                let user = path.strip_prefix("user/devices/").filter(|user| !user.contains('/'))?;
                Some(Self::Devices(decoded(user)))
            }
            _ => None,
        }
    }

    /// The kind of deposit that it is answered from.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Profile { .. } => "profiles",
            Self::Devices(_) | Self::Query => "devices",
            Self::Claim => "fallback",
        }
    }

    /// The users that it is about.
    pub fn users(&self, body: &[u8]) -> Result<Vec<String>, Unanswered> {
        Ok(match self {
            Self::Profile { user, .. } | Self::Devices(user) => vec![user.clone()],
            Self::Query => asked_of(body, "device_keys")?.into_iter().map(|(user, _)| user).collect(),
            Self::Claim => asked_of(body, "one_time_keys")?.into_iter().map(|(user, _)| user).collect(),
        })
    }

    /// The answer, given what was left about each user.
    pub fn answer(&self, left: &Map<String, Value>, body: &[u8]) -> Result<Value, Unanswered> {
        match self {
            Self::Profile { user, field } => {
                let profile = left.get(user).ok_or(Unanswered::Unknown)?;
                Ok(match field {
                    Some(field) => profile.get(field).map_or_else(|| json!({}), |value| json!({ field: value })),
                    None => profile.clone(),
                })
            }
            Self::Devices(user) => at(left, user, "devices").cloned().ok_or(Unanswered::Unknown),
            Self::Query => keys(left, body),
            Self::Claim => claim(left, body),
        }
    }
}

fn at<'a>(left: &'a Map<String, Value>, user: &str, name: &str) -> Option<&'a Value> {
    left.get(user)?.get(name)
}

/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
fn keys(left: &Map<String, Value>, body: &[u8]) -> Result<Value, Unanswered> {
    let mut answer = Map::new();
    answer.insert("device_keys".into(), json!({}));
    for (user, devices) in asked_of(body, "device_keys")? {
        let wanted: Vec<&str> = devices.as_array().map(|ids| ids.iter().filter_map(Value::as_str).collect()).unwrap_or_default();
        let Some(known) = at(left, &user, "keys") else { continue };
        let mut of_user = known.get("device_keys").and_then(Value::as_object).cloned().unwrap_or_default();
        of_user.retain(|device, _| wanted.is_empty() || wanted.contains(&device.as_str()));
        put(&mut answer, "device_keys", &user, Value::Object(of_user));
        for (from, to) in [("master_key", "master_keys"), ("self_signing_key", "self_signing_keys")] {
            if let Some(key) = known.get(from) {
                put(&mut answer, to, &user, key.clone());
            }
        }
    }
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
fn claim(left: &Map<String, Value>, body: &[u8]) -> Result<Value, Unanswered> {
    let mut answer = Map::new();
    for (user, devices) in asked_of(body, "one_time_keys")? {
        let mut of_user = Map::new();
        for (device, algorithm) in devices.as_object().into_iter().flatten() {
            let algorithm = algorithm.as_str().unwrap_or_default();
            let keys = at(left, &user, device).and_then(Value::as_object).into_iter().flatten();
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

fn asked_of(body: &[u8], name: &str) -> Result<Map<String, Value>, Unanswered> {
    let mut body: Value = serde_json::from_slice(body).map_err(|_| Unanswered::Form)?;
    match body.get_mut(name).map(Value::take) {
        Some(Value::Object(asked)) => Ok(asked),
        _ => Err(Unanswered::Form),
    }
}

/// A parameter of the query, decoded.
fn query(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signed::tests::server;

    const USER: &str = "@a:b";

    fn left(content: Value) -> Map<String, Value> {
        Map::from_iter([(USER.to_owned(), content)])
    }

    #[test]
    fn a_deposit_is_believed_for_the_user_and_kind_that_its_node_has_signed_it_for() {
        let ((name, key), (other, _)) = (server(1), server(2));
        let deposit = Deposit::new("profiles", USER, (1, 2), json!({ "displayname": "A" }));
        let object = deposit.sign(&name, &key).unwrap();
        assert_eq!(Deposit::verify(&object, &name, "profiles", USER), Ok(deposit));
        assert!(Deposit::verify(&object, &name, "devices", USER).is_err());
        assert!(Deposit::verify(&object, &name, "profiles", "@c:b").is_err());
        assert!(Deposit::verify(&object, &other, "profiles", USER).is_err());
    }

    #[test]
    fn a_profile_is_answered_whole_or_by_field() {
        let left = left(json!({ "displayname": "A", "avatar_url": "mxc://b/c" }));
        let uri = "/_matrix/federation/v1/query/profile?user_id=%40a%3Ab";
        let ask = |uri: &str| Asked::of("GET", uri).unwrap().answer(&left, b"");
        assert_eq!(ask(uri).unwrap(), left[USER]);
        assert_eq!(ask(&format!("{uri}&field=displayname")).unwrap(), json!({ "displayname": "A" }));
        assert_eq!(ask("/_matrix/federation/v1/query/profile?user_id=@c:b"), Err(Unanswered::Unknown));
        assert_eq!(Asked::of("GET", "/_matrix/federation/v1/query/profile"), None);
    }

    #[test]
    fn keys_are_answered_for_the_devices_asked_for() {
        let known = json!({ "device_keys": { "D": { "x": 1 }, "E": { "x": 2 } }, "master_key": { "m": 1 } });
        let left = left(json!({ "keys": known }));
        let ask = |devices: Value| {
            Asked::Query.answer(&left, json!({ "device_keys": { USER: devices, "@c:b": [] } }).to_string().as_bytes()).unwrap()
        };
        assert_eq!(ask(json!(["D"])), json!({ "device_keys": { USER: { "D": { "x": 1 } } }, "master_keys": { USER: { "m": 1 } } }));
        assert_eq!(ask(json!([]))["device_keys"][USER].as_object().unwrap().len(), 2);
        assert_eq!(Asked::Query.users(br#"{"device_keys":{"@a:b":[]}}"#), Ok(vec![USER.to_owned()]));
        assert_eq!(Asked::Query.users(b"{}"), Err(Unanswered::Form));
    }

    #[test]
    fn a_fallback_key_of_the_algorithm_is_claimed() {
        let left = left(json!({ "D": { "signed_curve25519:A": { "key": "k", "fallback": true } } }));
        let ask =
            |algorithm: &str| Asked::Claim.answer(&left, json!({ "one_time_keys": { USER: { "D": algorithm } } }).to_string().as_bytes());
        let key = json!({ "signed_curve25519:A": { "key": "k", "fallback": true } });
        assert_eq!(ask("signed_curve25519").unwrap(), json!({ "one_time_keys": { USER: { "D": key } } }));
        assert_eq!(ask("curve25519").unwrap(), json!({ "one_time_keys": {} }));
    }

    #[test]
    fn devices_are_asked_for_by_one_path() {
        let asked = |uri| Asked::of("GET", uri);
        assert_eq!(asked("/_matrix/federation/v1/user/devices/%40a%3Ab"), Some(Asked::Devices(USER.into())));
        assert_eq!(asked("/_matrix/federation/v1/user/devices/a/b"), None);
        assert_eq!(asked("/_matrix/federation/v1/event/a"), None);
    }
}
