//! From JSON of unknown worth to an event whose format, hashes and signatures are right.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, ID_MAX_BYTES, OwnedEventId,
    canonical_json::redact,
    serde::Base64,
    signatures::{self, Verified},
    state_res::check_pdu_format,
};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Pdu, RoomVersion};
use crate::{identity::Identity, parse};

/// Verification keys: server name, then key ID.
pub type PublicKeys = std::collections::BTreeMap<String, std::collections::BTreeMap<String, Base64>>;

/// Why JSON is no event of that room version. Such an event is dropped, not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unfit {
    /// It is not JSON that an event may have.
    #[error("not canonical JSON: {0}")]
    Json(String),
    /// It, or one of its fields, is larger than it may be.
    #[error("too large: {0}")]
    TooLarge(String),
    /// A field is missing or of the wrong type.
    #[error("wrong format: {0}")]
    Format(String),
    /// A signature is missing or wrong.
    #[error("wrong signature: {0}")]
    Signature(String),
}

/// An event as it came in, parsed and no more.
#[derive(Clone, Debug)]
pub struct RawPdu(CanonicalJsonObject);

/// An event with the right format, hashes and signatures, redacted where its content hash did not match.
#[derive(Clone, Debug)]
pub struct CheckedPdu(Pdu);

impl RawPdu {
    /// Parses JSON that may be an event.
    pub fn parse(json: &[u8]) -> Result<Self, Unfit> {
        let object = parse::json(json).map_err(|error| Unfit::Json(error.to_string()))?;
        Ok(Self(object))
    }

    /// JSON that was parsed before, if it is an object.
    pub fn of(value: CanonicalJsonValue) -> Result<Self, Unfit> {
        match value {
            CanonicalJsonValue::Object(object) => Ok(Self(object)),
            _ => Err(Unfit::Json("an event is an object".into())),
        }
    }

    /// Adds this server's signature to what others have signed.
    pub fn sign(&mut self, version: &RoomVersion, identity: &Identity) -> Result<(), Unfit> {
        signatures::sign_event(identity.server_name().as_str(), identity, &mut self.0, &version.rules.redaction)
            .map_err(|error| Unfit::Format(error.to_string()))
    }

    /// The room that the event says it is in.
    pub fn room_id(&self) -> Option<&str> {
        self.0.get("room_id").and_then(CanonicalJsonValue::as_str)
    }

    /// A field of the event.
    pub fn field(&self, name: &str) -> Option<&CanonicalJsonValue> {
        self.0.get(name)
    }

    /// The ID that the event has by its room version, whether or not it is an event of that version.
    pub fn event_id(&self, version: &RoomVersion) -> Result<OwnedEventId, Unfit> {
        event_id(&self.0, version)
    }

    /// The events that it says authorise it, in the form of any room version.
    pub fn auth_events(&self) -> Vec<OwnedEventId> {
        self.references("auth_events")
    }

    /// The events that it says are before it, in the form of any room version.
    pub fn prev_events(&self) -> Vec<OwnedEventId> {
        self.references("prev_events")
    }

    fn references(&self, field: &str) -> Vec<OwnedEventId> {
        let named = self.0.get(field).and_then(CanonicalJsonValue::as_array).into_iter().flatten();
        let id = |reference: &CanonicalJsonValue| match reference {
            CanonicalJsonValue::Array(parts) => parts.first().and_then(CanonicalJsonValue::as_str).map(str::to_owned),
            other => other.as_str().map(str::to_owned),
        };
        named.filter_map(|reference| EventId::parse(id(reference)?).ok()).collect()
    }

    /// The event as it came, in canonical JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// The IDs of the keys by which it says that a server has signed it.
    pub fn key_ids(&self, server: &str) -> impl Iterator<Item = &str> {
        let signatures = self.0.get("signatures").and_then(CanonicalJsonValue::as_object);
        let of_server = signatures.and_then(|signatures| signatures.get(server)?.as_object());
        of_server.into_iter().flat_map(|keys| keys.keys().map(String::as_str))
    }

    /// The servers whose signatures the event needs.
    pub fn signers(&self, version: &RoomVersion) -> Result<Vec<String>, Unfit> {
        let servers = signatures::required_server_signatures_to_verify_event(&self.0, &version.rules.signatures);
        let servers = servers.map_err(|error| Unfit::Signature(error.to_string()))?;
        Ok(servers.into_iter().map(|server| server.to_string()).collect())
    }

    /// The event with its format checked, and nothing else: whoever is to sign it may be the first.
    pub fn of_format(mut self, version: &RoomVersion) -> Result<CheckedPdu, Unfit> {
        self.0.remove("unsigned");
        check_format(&mut self.0, version)?;
        CheckedPdu::of(&self.0, version)
    }

    /// Checks format, signatures and content hash: the first three checks on receipt of a PDU.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>
    pub fn check(mut self, version: &RoomVersion, keys: &PublicKeys) -> Result<CheckedPdu, Unfit> {
        self.0.remove("unsigned");
        check_format(&mut self.0, version)?;
        let verified = signatures::verify_event(keys, &self.0, &version.rules).map_err(|error| Unfit::Signature(error.to_string()))?;
        if verified == Verified::Signatures {
            self.0 = redact(self.0, &version.rules.redaction, None).map_err(|error| Unfit::Format(error.to_string()))?;
        }
        CheckedPdu::of(&self.0, version)
    }
}

impl CheckedPdu {
    /// An event that this server has just built and signed.
    pub(super) fn of(object: &CanonicalJsonObject, version: &RoomVersion) -> Result<Self, Unfit> {
        let event_id = event_id(object, version)?;
        let json = serde_json::to_string(object).and_then(RawValue::from_string).map_err(|error| Unfit::Json(error.to_string()))?;
        let pdu = Pdu::read(event_id, json, version).map_err(|error| Unfit::Format(error.to_string()))?;
        Ok(Self(pdu))
    }

    /// The event.
    pub fn pdu(&self) -> &Pdu {
        &self.0
    }

    /// The same event with signatures that were added to it since.
    pub(crate) fn with_signatures_of(mut self, signed: Pdu) -> Self {
        self.0.json = signed.json;
        self
    }

    /// The event, given away.
    pub fn into_pdu(self) -> Pdu {
        self.0
    }
}

/// How large an event may be: all of it, signatures included.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
const MAX_EVENT_BYTES: usize = 65_536;

/// The fields whose size is limited by itself: <https://spec.matrix.org/v1.19/client-server-api/#size-limits>
const SHORT_FIELDS: [&str; 5] = ["sender", "room_id", "state_key", "type", "event_id"];

/// Checks the size and the fields of an event.
pub(super) fn check_format(object: &mut CanonicalJsonObject, version: &RoomVersion) -> Result<(), Unfit> {
    check_sizes(object)?;
    // ruma's limit is one byte short of the specification's. The fields that it checks do not include the signatures, without
    // which no event that is small enough comes near it.
    let signatures = object.remove("signatures");
    let checked = check_pdu_format(object, &version.rules.event_format);
    object.extend(signatures.map(|signatures| ("signatures".to_owned(), signatures)));
    checked.map_err(Unfit::Format)
}

fn check_sizes(object: &CanonicalJsonObject) -> Result<(), Unfit> {
    let size = serde_json::to_string(object).map_err(|error| Unfit::Json(error.to_string()))?.len();
    if size > MAX_EVENT_BYTES {
        return Err(Unfit::TooLarge(format!("it has {size} bytes, and may have {MAX_EVENT_BYTES}")));
    }
    let too_long = |field: &&&str| object.get(**field).and_then(CanonicalJsonValue::as_str).is_some_and(|text| text.len() > ID_MAX_BYTES);
    match SHORT_FIELDS.iter().find(too_long) {
        Some(field) => Err(Unfit::TooLarge(format!("its {field} has more than {ID_MAX_BYTES} bytes"))),
        None => Ok(()),
    }
}

/// The ID that the event has by its room version: spelt out in versions 1 and 2, its reference hash later.
pub(super) fn event_id(object: &CanonicalJsonObject, version: &RoomVersion) -> Result<OwnedEventId, Unfit> {
    let id = if version.rules.event_format.require_event_id {
        object.get("event_id").and_then(CanonicalJsonValue::as_str).unwrap_or_default().to_owned()
    } else {
        let hash = signatures::reference_hash(object, &version.rules).map_err(|error| Unfit::Format(error.to_string()))?;
        format!("${hash}")
    };
    EventId::parse(id).map_err(|error| Unfit::Format(format!("event_id: {error}")))
}
