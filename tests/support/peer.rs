//! Another homeserver as far as its signatures go: it has a name made of its key, says whatever a test wants, and keeps nothing.

use std::collections::BTreeMap;

use inglenook::{
    event::RoomVersion,
    http::{Body, Method, Request},
    identity::{Identity, Name},
    ports::Entropy,
};
use inglenook_protocol::x_matrix::SignedParts;
use ruma::{CanonicalJsonObject, CanonicalJsonValue, signatures};
use serde_json::{Value, json};

use super::{Answer, Host, encode};

/// The other server.
pub(crate) struct Peer {
    identity: Identity,
}

struct Seed(u8);

impl Entropy for Seed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

impl Peer {
    /// A server whose key follows from a number.
    pub(crate) fn new(seed: u8) -> Self {
        Self { identity: Identity::make(&Seed(seed), Name::OfKey).unwrap() }
    }

    pub(crate) fn name(&self) -> String {
        self.identity.server_name().to_string()
    }

    /// One of its users.
    pub(crate) fn user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.name())
    }

    /// A request that it has signed for a host.
    pub(crate) fn request(&self, host: &Host, method: Method, target: &str, body: Option<&Value>) -> Request {
        self.request_to(&host.name(), method, target, body)
    }

    /// A request that it has signed for a server of this name.
    pub(crate) fn request_to(&self, destination: &str, method: Method, target: &str, body: Option<&Value>) -> Request {
        let mut request = Request::new(method, target);
        let content = body.map(|body| CanonicalJsonValue::try_from(body.clone()).unwrap());
        let origin = self.name();
        let parts = SignedParts { method: method.as_str(), uri: target, origin: &origin, destination, content: content.as_ref() };
        request.headers.insert("authorization".into(), parts.sign(&self.identity).unwrap());
        if let Some(body) = body {
            request.headers.insert("content-type".into(), "application/json".into());
            request.body = Body::Bytes(body.to_string().into_bytes());
        }
        request
    }

    pub(crate) fn get(&self, host: &Host, target: &str) -> Answer {
        host.federation(self.request(host, Method::Get, &federation(target), None))
    }

    pub(crate) fn put(&self, host: &Host, target: &str, body: &Value) -> Answer {
        host.federation(self.request(host, Method::Put, &federation(target), Some(body)))
    }

    pub(crate) fn post(&self, host: &Host, target: &str, body: &Value) -> Answer {
        host.federation(self.request(host, Method::Post, &federation(target), Some(body)))
    }

    /// The event with this server's hash and signature, and the ID that it has by that.
    pub(crate) fn sign(&self, event: Value, version: &str) -> (String, Value) {
        self.try_sign(event, version).expect("an event that can be signed")
    }

    /// The same for what may be no event.
    pub(crate) fn try_sign(&self, event: Value, version: &str) -> Option<(String, Value)> {
        let version = RoomVersion::parse(version).unwrap();
        let mut object: CanonicalJsonObject = serde_json::from_value(event).ok()?;
        if version.rules.event_format.require_event_id {
            let id = format!("$e{}:{}", object.len() as u64 + now(&object), self.name());
            object.insert("event_id".into(), CanonicalJsonValue::String(id));
        }
        signatures::hash_and_sign_event(&self.name(), &self.identity, &mut object, &version.rules.redaction).ok()?;
        signatures::reference_hash(&object, &version.rules).ok()?;
        Some((event_id(&object, &version), serde_json::to_value(object).ok()?))
    }

    /// Any JSON with this server's signature.
    pub(crate) fn sign_json(&self, value: Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(value).unwrap();
        signatures::sign_json(&self.name(), &self.identity, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }

    /// Its public key in unpadded base64.
    pub(crate) fn public_key(&self) -> String {
        ruma::serde::Base64::<ruma::serde::base64::Standard, _>::new(self.identity.public_key()).encode()
    }

    /// The template of a membership event.
    pub(crate) fn make(&self, host: &Host, what: &str, room: &str, user: &str) -> Answer {
        let versions: Vec<_> = (1..=12).map(|version| format!("ver={version}")).collect();
        self.get(host, &format!("/v1/make_{what}/{}/{}?{}", encode(room), encode(user), versions.join("&")))
    }

    /// Asks for a template, signs it and hands it in. Returns the event's ID as well.
    pub(crate) fn shake(&self, host: &Host, what: &str, room: &str, user: &str) -> (String, Answer) {
        let made = self.make(host, what, room, user).ok();
        let (id, event) = self.sign(made.body["event"].clone(), made.body["room_version"].as_str().unwrap());
        let version = if what == "knock" { "v1" } else { "v2" };
        let answer = self.put(host, &format!("/{version}/send_{what}/{}/{}", encode(room), encode(&id)), &event);
        (id, answer)
    }

    /// Joins a room.
    #[track_caller]
    pub(crate) fn join(&self, host: &Host, room: &str, user: &str) -> Answer {
        self.shake(host, "join", room, user).1.ok()
    }
}

fn now(object: &CanonicalJsonObject) -> u64 {
    object.get("origin_server_ts").and_then(CanonicalJsonValue::as_integer).map_or(0, |time| i64::from(time) as u64)
}

/// The ID of an event as its version has it.
pub(crate) fn event_id(event: &CanonicalJsonObject, version: &RoomVersion) -> String {
    match event.get("event_id") {
        Some(id) => id.as_str().unwrap().to_owned(),
        None => format!("${}", signatures::reference_hash(event, &version.rules).unwrap()),
    }
}

/// The ID of an event that was served.
pub(crate) fn id_of(event: &Value, version: &str) -> String {
    event_id(&serde_json::from_value(event.clone()).unwrap(), &RoomVersion::parse(version).unwrap())
}

fn federation(target: &str) -> String {
    if target.starts_with("/_matrix/") { target.into() } else { format!("/_matrix/federation{target}") }
}

/// The keys of everybody whose name is made of a key, by name.
pub(crate) fn keys_of(names: &[String]) -> inglenook::event::PublicKeys {
    let key = |name: &String| {
        let parsed = ruma::ServerName::parse(name).unwrap();
        let key = inglenook_protocol::key_name::verify_key_of(&parsed).unwrap();
        (name.clone(), BTreeMap::from([(inglenook_protocol::key_name::KEY_ID.to_owned(), key)]))
    };
    names.iter().map(key).collect()
}

/// A message as a server would send it on top of others.
pub(crate) fn message(room: &str, sender: &str, prev_events: &[String], auth_events: &[String], depth: u64) -> Value {
    json!({
        "type": "m.room.message", "room_id": room, "sender": sender, "content": { "msgtype": "m.text", "body": "hello" },
        "origin_server_ts": 1_700_000_000_000_u64 + depth, "depth": depth, "prev_events": prev_events, "auth_events": auth_events,
    })
}
