//! Tests of events: the specification's vectors, formats, sizes and redaction, in every room version.

mod format;
mod redaction;
mod vectors;

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, serde::Base64, signatures};
use serde_json::{Value, json};

use super::{PublicKeys, RawPdu, RoomVersion, STABLE_ROOM_VERSIONS, Unfit};
use crate::{
    event::CheckedPdu,
    identity::{Identity, KEY_ID, Name},
    ports::Entropy,
};

const SERVER: &str = "a.example";

/// Entropy that gives a known seed.
struct Seed([u8; 32]);

impl Entropy for Seed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[..bytes.len()]);
    }
}

fn identity(name: &str, seed: [u8; 32]) -> Identity {
    Identity::make(&Seed(seed), Name::Given(name)).unwrap()
}

fn keys(identities: &[&Identity]) -> PublicKeys {
    let key = |identity: &Identity| BTreeMap::from([(KEY_ID.to_owned(), Base64::new(identity.public_key().to_vec()))]);
    identities.iter().map(|identity| (identity.server_name().to_string(), key(identity))).collect()
}

fn versions() -> impl Iterator<Item = (u32, RoomVersion)> {
    (1..).zip(STABLE_ROOM_VERSIONS.iter().map(|id| RoomVersion::parse(id.as_str()).unwrap()))
}

fn canonical(value: &Value) -> CanonicalJsonObject {
    serde_json::from_value(value.clone()).unwrap()
}

/// The event with hashes and a signature of [`SERVER`].
fn signed(event: &Value, version: &RoomVersion) -> Value {
    let mut object = canonical(event);
    let identity = identity(SERVER, [1; 32]);
    signatures::hash_and_sign_event(SERVER, &identity, &mut object, &version.rules.redaction).unwrap();
    serde_json::to_value(object).unwrap()
}

/// A message of [`SERVER`] as it is before it is signed.
fn message(version: &RoomVersion) -> Value {
    let references = if version.rules.event_format.require_event_id { json!([["$p:a.example", { "sha256": "x" }]]) } else { json!(["$p"]) };
    let room = if version.room_id_is_create_hash() { "!createhash" } else { "!r:a.example" };
    let mut event = json!({
        "type": "m.room.message", "room_id": room, "sender": "@u:a.example", "content": { "body": "hello" },
        "origin_server_ts": 1_000_000, "depth": 3, "prev_events": references, "auth_events": references,
    });
    if version.rules.event_format.require_event_id {
        event["event_id"] = "$e:a.example".into();
    }
    event
}

fn check(event: &Value, version: &RoomVersion) -> Result<CheckedPdu, Unfit> {
    RawPdu::parse(event.to_string().as_bytes())?.check(version, &keys(&[&identity(SERVER, [1; 32])]))
}
