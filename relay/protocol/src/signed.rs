//! JSON objects that are signed by a server whose name is made of its key.
//!
//! <https://spec.matrix.org/v1.19/appendices/#signing-json>

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, ServerName,
    signatures::{self, KeyPair},
};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::key_name::{KEY_ID, verify_key_of};

/// Why an object does not count as signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotSigned {
    /// The name is made of no key.
    #[error("{0} is no name that is made of a key")]
    Name(String),
    /// It has no signature of that server, or a wrong one.
    #[error("the signature is missing or wrong: {0}")]
    Signature(String),
    /// It is of another form.
    #[error("the object is malformed: {0}")]
    Form(String),
}

/// Makes an object of `value` and signs it in the name of `signer`.
pub fn sign(value: &impl Serialize, signer: &ServerName, key: &impl KeyPair) -> Result<CanonicalJsonObject, NotSigned> {
    let value = serde_json::to_value(value).map_err(form)?;
    let CanonicalJsonValue::Object(mut object) = CanonicalJsonValue::try_from(value).map_err(form)? else {
        return Err(NotSigned::Form("it is no object".into()));
    };
    signatures::sign_json(signer.as_str(), key, &mut object).map_err(form)?;
    Ok(object)
}

/// Reads an object that `signer` has signed. Whatever else is in it, other signatures among it, is ignored.
pub fn verify<T: DeserializeOwned>(object: &CanonicalJsonObject, signer: &ServerName) -> Result<T, NotSigned> {
    let key = verify_key_of(signer).ok_or_else(|| NotSigned::Name(signer.to_string()))?;
    let missing = || NotSigned::Signature(format!("none by {signer}"));
    // An object without any signature passes ruma's check, which goes through those that are there.
    let signature = signature_of(object, signer).ok_or_else(missing)?;
    let mut checked = object.clone();
    let of_signer = BTreeMap::from([(KEY_ID.to_owned(), signature.clone())]);
    let signatures = BTreeMap::from([(signer.to_string(), CanonicalJsonValue::Object(of_signer))]);
    checked.insert("signatures".into(), CanonicalJsonValue::Object(signatures));
    let keys = BTreeMap::from([(signer.to_string(), BTreeMap::from([(KEY_ID.to_owned(), key)]))]);
    signatures::verify_json(&keys, &checked).map_err(|error| NotSigned::Signature(error.to_string()))?;
    // What the signature does not cover does not count.
    checked.remove("unsigned");
    serde_json::from_value(CanonicalJsonValue::Object(checked).into()).map_err(form)
}

fn signature_of<'a>(object: &'a CanonicalJsonObject, signer: &ServerName) -> Option<&'a CanonicalJsonValue> {
    object.get("signatures")?.as_object()?.get(signer.as_str())?.as_object()?.get(KEY_ID)
}

fn form(error: impl std::fmt::Display) -> NotSigned {
    NotSigned::Form(error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use ed25519_dalek::{Signer, SigningKey};
    use ruma::{OwnedServerName, SigningKeyId, signatures::Signature};
    use serde::Deserialize;

    use super::*;
    use crate::key_name::label_of;

    pub(crate) struct Key(SigningKey);

    impl KeyPair for Key {
        fn sign(&self, message: &[u8]) -> Signature {
            Signature::new(SigningKeyId::parse(KEY_ID).unwrap(), self.0.sign(message).to_bytes().to_vec())
        }
    }

    /// A key and the name made of it.
    pub(crate) fn server(seed: u8) -> (OwnedServerName, Key) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        (ServerName::parse(label_of(&key.verifying_key().to_bytes())).unwrap(), Key(key))
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    #[test]
    fn what_a_server_signed_is_read_and_what_was_changed_is_not() {
        let ((name, key), (other, _)) = (server(1), server(2));
        let note = Note { text: "here".into() };
        let object = sign(&note, &name, &key).unwrap();
        assert_eq!(verify::<Note>(&object, &name), Ok(note));
        assert!(matches!(verify::<Note>(&object, &other), Err(NotSigned::Signature(_))));
        let mut changed = object.clone();
        changed.insert("text".into(), CanonicalJsonValue::String("there".into()));
        assert!(matches!(verify::<Note>(&changed, &name), Err(NotSigned::Signature(_))));
    }

    #[test]
    fn an_object_without_signatures_is_not_signed() {
        let (name, key) = server(1);
        let mut object = sign(&Note { text: "here".into() }, &name, &key).unwrap();
        object.insert("signatures".into(), CanonicalJsonValue::Object(BTreeMap::new()));
        assert!(matches!(verify::<Note>(&object, &name), Err(NotSigned::Signature(_))));
        object.remove("signatures");
        assert!(matches!(verify::<Note>(&object, &name), Err(NotSigned::Signature(_))));
    }

    #[test]
    fn a_name_that_is_made_of_no_key_cannot_sign() {
        let (_, key) = server(1);
        let name = ServerName::parse("matrix.example").unwrap();
        let object = sign(&Note { text: "here".into() }, &name, &key).unwrap();
        assert!(matches!(verify::<Note>(&object, &name), Err(NotSigned::Name(_))));
    }
}
