//! The signature of an answer, without which a relay could say in a node's place what has become of a transaction.
//!
//! It is an X-Matrix signature with the answer's status in the place of a method, which no request can have.

use std::collections::BTreeMap;

use ruma::{CanonicalJsonValue, ServerName, signatures::KeyPair};

use crate::{
    key_name::{KEY_ID, verify_key_of},
    x_matrix::{Authorization, SignedParts},
};

/// An answer and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct SignedAnswer<'a> {
    /// The request's path and query, as they stand in the request line.
    pub uri: &'a str,
    /// Who has asked.
    pub asker: &'a ServerName,
    /// Who answers.
    pub answerer: &'a ServerName,
    /// The status code.
    pub status: u16,
    /// The body, which is JSON.
    pub body: &'a [u8],
}

impl SignedAnswer<'_> {
    /// The value of the header [`ANSWER_HEADER`](crate::path::ANSWER_HEADER); `None` where the body is no canonical JSON.
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
        let content: CanonicalJsonValue = serde_json::from_slice(self.body).ok()?;
        act(&SignedParts {
            method: &self.status.to_string(),
            uri: self.uri,
            origin: self.answerer.as_str(),
            destination: self.asker.as_str(),
            content: Some(&content),
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
        let answer = SignedAnswer { uri: "/send/1", asker: &asker, answerer: &answerer, status: 200, body: b"{\"pdus\":{}}" };
        let header = answer.sign(&key).unwrap();
        assert!(answer.is_signed(&header));
        for other in [
            SignedAnswer { uri: "/send/2", ..answer },
            SignedAnswer { asker: &answerer, ..answer },
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
