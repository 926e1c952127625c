//! Signed JSON that holds keys: identity keys of a device, or a cross-signing key.
//!
//! <https://spec.matrix.org/v1.19/appendices/#signing-json>

use ruma::{
    CanonicalJsonValue, SigningKeyAlgorithm, UserId,
    serde::Base64,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::gather::Gather;

/// A JSON object with keys and signatures. Signatures may be added later without changing what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Signed(Map<String, Value>);

impl Signed {
    /// A string of the object.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    /// Whether the object is about this user.
    pub(crate) fn is_of(&self, user: &UserId) -> bool {
        self.text("user_id") == Some(user.as_str())
    }

    /// A field of the object.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The public key of that ID.
    pub(crate) fn key(&self, id: &str) -> Option<&str> {
        self.0.get("keys")?.get(id)?.as_str()
    }

    /// The ID and the public key, where there is exactly one.
    pub(crate) fn only_key(&self) -> Option<(&str, &str)> {
        let mut keys = self.0.get("keys")?.as_object()?.iter();
        let (id, key) = keys.next()?;
        keys.next().is_none().then_some((id, key.as_str()?))
    }

    /// A user's signatures by the IDs of the keys that made them.
    pub(crate) fn signatures_by(&self, user: &UserId) -> impl Iterator<Item = (&str, &str)> {
        let signatures = self.0.get("signatures").and_then(|all| all.get(user.as_str())?.as_object());
        signatures.into_iter().flatten().filter_map(|(id, signature)| Some((id.as_str(), signature.as_str()?)))
    }

    /// Whether a user has signed this with the key of that ID, whose public half is `public_key`.
    pub(crate) fn is_signed_by(&self, user: &UserId, key_id: &str, public_key: &str) -> bool {
        let signature = self.signatures_by(user).find(|(id, _)| *id == key_id).map(|(_, signature)| signature);
        signature.is_some_and(|signature| self.verify(public_key, signature).is_some())
    }

    fn verify(&self, public_key: &str, signature: &str) -> Option<()> {
        let CanonicalJsonValue::Object(object) = CanonicalJsonValue::try_from(Value::Object(self.0.clone())).ok()? else { return None };
        let said = to_canonical_json_string_for_signing(&object).ok()?;
        let (public_key, signature) = (Base64::<_>::parse(public_key).ok()?, Base64::<_>::parse(signature).ok()?);
        let (public_key, signature): (Base64, Base64) = (public_key, signature);
        verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, public_key.as_bytes(), signature.as_bytes(), said.as_bytes()).ok()
    }

    /// Whether both say the same, whoever has signed them.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let said = |object: &Map<String, Value>| {
            let said = object.iter().filter(|(name, _)| !matches!(name.as_str(), "signatures" | "unsigned"));
            said.map(|(name, value)| (name.clone(), value.clone())).gather::<Map<_, _>>()
        };
        said(&self.0) == said(&other.0)
    }

    /// Adds a signature.
    pub(crate) fn sign(&mut self, user: &UserId, key_id: &str, signature: &str) {
        let all = object_in(&mut self.0, "signatures");
        object_in(all, user.as_str()).insert(key_id.to_owned(), signature.into());
    }

    /// Adds the signatures of an older copy that are missing here.
    pub(crate) fn adopt_signatures(&mut self, older: &Self) {
        let Some(signatures) = older.0.get("signatures").and_then(Value::as_object) else { return };
        for (user, of_user) in signatures.iter().filter_map(|(user, of_user)| Some((user, of_user.as_object()?))) {
            let here = object_in(object_in(&mut self.0, "signatures"), user);
            for (key_id, signature) in of_user {
                here.entry(key_id.clone()).or_insert_with(|| signature.clone());
            }
        }
    }

    /// The same without what is not signed, and with the signatures of one user alone.
    pub(crate) fn signed_by_only(mut self, user: &UserId) -> Self {
        self.0.remove("unsigned");
        if let Some(signatures) = self.0.get_mut("signatures").and_then(Value::as_object_mut) {
            signatures.retain(|by, _| by == user.as_str());
        }
        self
    }

    /// The same with a name for people to know the device by.
    pub(crate) fn named(mut self, display_name: Option<&str>) -> Self {
        let mut unsigned = Map::new();
        if let Some(name) = display_name {
            unsigned.insert("device_display_name".into(), name.into());
        }
        self.0.insert("unsigned".into(), unsigned.into());
        self
    }
}

/// The object of that name, made where there is none.
fn object_in<'a>(within: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = within.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object"),
    }
}
