//! The signature of an answer, without which whoever carries it could say anything in a node's place.
//!
//! It is an X-Matrix signature with the answer's status in the place of a method, which no request can have. It covers what the answer
//! is to: the request's own signature, and a nonce beside it, so that an answer of yesterday is none to the same question today.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, ServerName,
    serde::{Base64, base64::Standard},
    signatures::KeyPair,
};
use sha2::{Digest, Sha256};

use crate::{
    key_name::{KEY_ID, verify_key_of},
    x_matrix::{Authorization, SignedParts},
};

/// An answer and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct SignedAnswer<'a> {
    /// The request's path and query, as they stand in the request line.
    pub uri: &'a str,
    /// The request's `Authorization` header, as it came: it names who has asked, and its signature covers the whole request.
    pub authorization: &'a str,
    /// Who answers.
    pub answerer: &'a ServerName,
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// An `Authorization` header with a nonce, to which no answer was ever given.
pub fn with_nonce(authorization: &str, nonce: [u8; 8]) -> String {
    format!("{authorization},nonce=\"{:016x}\"", u64::from_be_bytes(nonce))
}

impl SignedAnswer<'_> {
    /// The value of the header [`ANSWER_HEADER`](crate::path::ANSWER_HEADER); `None` where the request names nobody who has asked.
    pub fn sign(&self, key: &impl KeyPair) -> Option<String> {
        self.with_parts(|parts| parts.sign(key).ok())
    }

    /// Whether this is the value that the answerer, whose name is made of a key, has signed.
    pub fn is_signed(&self, header: &str) -> bool {
        let verify = |parts: &SignedParts<'_>| {
            let authorization = Authorization::parse(header).ok().filter(|authorization| authorization.origin == self.answerer)?;
            let keys = BTreeMap::from([(self.answerer.to_string(), BTreeMap::from([(KEY_ID.to_owned(), verify_key_of(self.answerer)?)]))]);
            authorization.verify(parts, &keys).ok()
        };
        self.with_parts(verify).is_some()
    }

    fn with_parts<T>(&self, act: impl FnOnce(&SignedParts<'_>) -> Option<T>) -> Option<T> {
        let asker = Authorization::parse(self.authorization).ok()?.origin;
        let hash = Base64::<Standard, _>::new(Sha256::digest(self.body).to_vec()).encode();
        let mut content = CanonicalJsonObject::new();
        content.insert("request".into(), CanonicalJsonValue::String(self.authorization.to_owned()));
        content.insert("sha256".into(), CanonicalJsonValue::String(hash));
        act(&SignedParts {
            method: &self.status.to_string(),
            uri: self.uri,
            origin: self.answerer.as_str(),
            destination: asker.as_str(),
            content: Some(&CanonicalJsonValue::Object(content)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signed::tests::server;

    #[test]
    fn an_answer_is_believed_when_the_node_has_signed_it_for_this_request() {
        let ((asker, asker_key), (answerer, key)) = (server(1), server(2));
        let request = |content: Option<&CanonicalJsonValue>| {
            let parts = SignedParts { method: "POST", uri: "/a", origin: asker.as_str(), destination: answerer.as_str(), content };
            parts.sign(&asker_key).unwrap()
        };
        let (authorization, other_content) = (with_nonce(&request(None), [1; 8]), request(Some(&CanonicalJsonValue::Null)));
        let other_nonce = with_nonce(&request(None), [2; 8]);
        assert!(Authorization::parse(&authorization).is_ok());
        let answer = SignedAnswer { uri: "/a", authorization: &authorization, answerer: &answerer, status: 200, body: b"{\"pdus\":{}}" };
        let header = answer.sign(&key).unwrap();
        assert!(answer.is_signed(&header));
        for other in [
            SignedAnswer { uri: "/b", ..answer },
            SignedAnswer { authorization: &other_content, ..answer },
            SignedAnswer { authorization: &other_nonce, ..answer },
            SignedAnswer { authorization: "", ..answer },
            SignedAnswer { answerer: &asker, ..answer },
            SignedAnswer { status: 400, ..answer },
            SignedAnswer { body: b"{}", ..answer },
        ] {
            assert!(!other.is_signed(&header), "{other:?}");
        }
        assert!(!answer.is_signed(&answer.sign(&asker_key).unwrap()));
        assert!(!answer.is_signed(""));
    }
}
