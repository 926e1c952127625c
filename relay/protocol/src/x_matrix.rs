//! `X-Matrix`: the signature of a whole federation request, in its `Authorization` header.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::{collections::BTreeMap, fmt};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    signatures::{self, KeyPair, PublicKeyMap},
};
use thiserror::Error;

/// What is signed of a request.
#[derive(Clone, Debug)]
pub struct SignedParts<'a> {
    /// The method.
    pub method: &'a str,
    /// The path and the query, as they stand in the request line.
    pub uri: &'a str,
    /// Who sends it.
    pub origin: &'a str,
    /// Whom it is for.
    pub destination: &'a str,
    /// The JSON body, if there is one.
    pub content: Option<&'a CanonicalJsonValue>,
}

/// The header's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who sends the request.
    pub origin: OwnedServerName,
    /// Whom it is for; servers from before v1.3 of the specification leave it out.
    pub destination: Option<OwnedServerName>,
    /// The ID of the key that signed it.
    pub key: String,
    /// The signature in unpadded base64.
    pub signature: String,
}

/// Why a request is not authentic.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotAuthentic {
    /// The header is not of this scheme, or lacks a field.
    #[error("the Authorization header is no X-Matrix header: {0}")]
    Header(&'static str),
    /// The signature does not fit.
    #[error("the signature is wrong: {0}")]
    Signature(String),
}

impl SignedParts<'_> {
    /// The header's value, signed by the origin.
    pub fn sign(&self, key_pair: &impl KeyPair) -> Result<String, NotAuthentic> {
        let canonical = serde_json::to_string(&self.object()).map_err(|error| NotAuthentic::Signature(error.to_string()))?;
        let signature = key_pair.sign(canonical.as_bytes());
        let authorization = Authorization {
            origin: parse_name(self.origin)?,
            destination: Some(parse_name(self.destination)?),
            key: signature.id(),
            signature: signature.base64(),
        };
        Ok(authorization.to_string())
    }

    fn object(&self) -> CanonicalJsonObject {
        let fields = [("method", self.method), ("uri", self.uri), ("origin", self.origin), ("destination", self.destination)];
        let mut object = CanonicalJsonObject::new();
        object.extend(fields.map(|(name, value)| (name.to_owned(), CanonicalJsonValue::String(value.to_owned()))));
        if let Some(content) = self.content {
            object.insert("content".into(), content.clone());
        }
        object
    }
}

impl Authorization {
    /// Reads the header's value.
    pub fn parse(header: &str) -> Result<Self, NotAuthentic> {
        let (scheme, parameters) = header.trim().split_once([' ', '\t']).ok_or(NotAuthentic::Header("it has no parameters"))?;
        if !scheme.eq_ignore_ascii_case("X-Matrix") {
            return Err(NotAuthentic::Header("it is of another scheme"));
        }
        let mut fields = parameters_of(parameters)?;
        let mut field = |name: &str, missing| fields.remove(name).ok_or(NotAuthentic::Header(missing));
        Ok(Self {
            origin: parse_name(&field("origin", "origin is missing")?)?,
            key: field("key", "key is missing")?,
            signature: field("sig", "sig is missing")?,
            destination: field("destination", "").ok().map(|name| parse_name(&name)).transpose()?,
        })
    }

    /// Whether the origin has signed the request, by one of its keys in `keys`.
    pub fn verify(&self, parts: &SignedParts<'_>, keys: &PublicKeyMap) -> Result<(), NotAuthentic> {
        self.verify_object(&mut parts.object(), keys)
    }

    /// The same where the content is not in `parts` and is given back: it may weigh many times what it does as text, and is not copied.
    pub fn verify_with(
        &self,
        parts: &SignedParts<'_>,
        content: Option<CanonicalJsonValue>,
        keys: &PublicKeyMap,
    ) -> Result<Option<CanonicalJsonValue>, NotAuthentic> {
        let mut object = parts.object();
        object.extend(content.map(|content| ("content".to_owned(), content)));
        self.verify_object(&mut object, keys)?;
        Ok(object.remove("content"))
    }

    fn verify_object(&self, object: &mut CanonicalJsonObject, keys: &PublicKeyMap) -> Result<(), NotAuthentic> {
        let of_origin = BTreeMap::from([(self.key.clone(), CanonicalJsonValue::String(self.signature.clone()))]);
        let signatures = BTreeMap::from([(self.origin.to_string(), CanonicalJsonValue::Object(of_origin))]);
        object.insert("signatures".into(), CanonicalJsonValue::Object(signatures));
        signatures::verify_json(keys, object).map_err(|error| NotAuthentic::Signature(error.to_string()))
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X-Matrix origin=\"{}\"", self.origin)?;
        if let Some(destination) = &self.destination {
            write!(f, ",destination=\"{destination}\"")?;
        }
        write!(f, ",key=\"{}\",sig=\"{}\"", self.key, self.signature)
    }
}

fn parse_name(name: &str) -> Result<OwnedServerName, NotAuthentic> {
    ServerName::parse(name).map_err(|_| NotAuthentic::Header("origin or destination is no server name"))
}

/// `name=token` and `name="quoted"`, separated by commas. Names are compared without case, and may stand once.
fn parameters_of(text: &str) -> Result<BTreeMap<String, String>, NotAuthentic> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(NotAuthentic::Header("a parameter has no value"))?;
        let (value, after) = value_of(after.trim_start())?;
        if fields.insert(name.trim().to_ascii_lowercase(), value).is_some() {
            return Err(NotAuthentic::Header("a parameter stands twice"));
        }
        let after = after.trim_start();
        if !after.is_empty() && !after.starts_with(',') {
            return Err(NotAuthentic::Header("parameters are not separated by commas"));
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Ok(fields)
}

/// A value and what is behind it. Old servers write values with colons without quotes.
fn value_of(text: &str) -> Result<(String, &str), NotAuthentic> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Ok((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    Err(NotAuthentic::Header("a quoted value has no end"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use ruma::{SigningKeyId, serde::Base64, signatures::Signature};

    use super::*;
    use crate::key_name;

    struct Key(SigningKey);

    impl KeyPair for Key {
        fn sign(&self, message: &[u8]) -> Signature {
            Signature::new(SigningKeyId::parse(key_name::KEY_ID).unwrap(), self.0.sign(message).to_bytes().to_vec())
        }
    }

    fn parts(content: Option<&CanonicalJsonValue>) -> SignedParts<'_> {
        SignedParts { method: "PUT", uri: "/a?b=c", origin: "origin.example", destination: "destination.example:8448", content }
    }

    fn keys(key: &Key) -> PublicKeyMap {
        let public = Base64::new(key.0.verifying_key().to_bytes().to_vec());
        BTreeMap::from([("origin.example".to_owned(), BTreeMap::from([(key_name::KEY_ID.to_owned(), public)]))])
    }

    #[test]
    fn what_is_signed_verifies_and_what_was_changed_does_not() {
        let key = Key(SigningKey::from_bytes(&[3; 32]));
        let content = CanonicalJsonValue::String("body".into());
        let header = Authorization::parse(&parts(Some(&content)).sign(&key).unwrap()).unwrap();
        assert_eq!(header.verify(&parts(Some(&content)), &keys(&key)), Ok(()));
        assert!(header.verify(&parts(None), &keys(&key)).is_err());
        assert!(header.verify(&SignedParts { uri: "/a?b=d", ..parts(Some(&content)) }, &keys(&key)).is_err());
        assert!(header.verify(&SignedParts { destination: "other.example", ..parts(Some(&content)) }, &keys(&key)).is_err());
        assert!(header.verify(&parts(Some(&content)), &keys(&Key(SigningKey::from_bytes(&[4; 32])))).is_err());
    }

    #[test]
    fn headers_of_all_ages_are_read() {
        let wanted = Authorization {
            origin: ServerName::parse("origin.example:80").unwrap(),
            destination: None,
            key: "ed25519:key1".into(),
            signature: "ABC+/".into(),
        };
        for header in [
            r#"X-Matrix origin="origin.example:80",key="ed25519:key1",sig="ABC+/""#,
            r#"x-matrix origin=origin.example:80,key=ed25519:key1,sig=ABC+/"#,
            r#"X-Matrix  Origin = "origin.example:80" , KEY="ed25519:\key1",other=1,, sig="ABC+/" "#,
        ] {
            assert_eq!(Authorization::parse(header), Ok(wanted.clone()), "{header}");
        }
        let named = Authorization { destination: Some(ServerName::parse("me.example").unwrap()), ..wanted };
        assert_eq!(Authorization::parse(&named.to_string()), Ok(named));
    }

    #[test]
    fn headers_that_are_none_are_refused() {
        for header in [
            "",
            "X-Matrix",
            "Bearer abc",
            r#"X-Matrix origin="a",key="k""#,
            r#"X-Matrix origin="a",origin="b",key="k",sig="s""#,
            r#"X-Matrix origin="a,key="k",sig="s"#,
            r#"X-Matrix origin="a b",key="k",sig="s""#,
            r#"X-Matrix origin="a" key="k" sig="s""#,
        ] {
            assert!(Authorization::parse(header).is_err(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in "(X-Matrix )?[a-z=\",\\\\ :é]{0,60}") {
            let _ = Authorization::parse(&header);
        }
    }
}
