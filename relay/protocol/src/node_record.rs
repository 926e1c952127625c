//! Where a node can be reached: its relays, in a record that it signs and that anybody may pass on.

use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, signatures::KeyPair};
use serde::{Deserialize, Serialize};

use crate::signed::{self, NotSigned};

/// What tells the record from everything else that a node signs.
const PURPOSE: &str = "inglenook.node_record.v1";

/// A node that is on more relays costs each of its peers too many requests.
pub const MAX_RELAYS: usize = 8;

/// Of a relay's base URL.
pub const MAX_URL: usize = 256;

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Whose record it is.
    pub name: OwnedServerName,
    /// The base URLs of its relays, the first to be tried first. None means that it cannot be reached.
    pub relays: Vec<String>,
    /// Of two records, the one with the higher number holds.
    pub seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    purpose: String,
    #[serde(flatten)]
    record: NodeRecord,
}

impl NodeRecord {
    /// The record as a signed object.
    pub fn sign(&self, key: &impl KeyPair) -> Result<CanonicalJsonObject, NotSigned> {
        self.check()?;
        let signed = Signed { purpose: PURPOSE.into(), record: self.clone() };
        signed::sign(&signed, &self.name, key)
    }

    /// Reads a record that `name` has signed.
    pub fn verify(object: &CanonicalJsonObject, name: &ServerName) -> Result<Self, NotSigned> {
        let Signed { purpose, record } = signed::verify(object, name)?;
        if purpose != PURPOSE || record.name != name {
            return Err(NotSigned::Form("it is no node record of that server".into()));
        }
        record.check()?;
        Ok(record)
    }

    /// Whether this record takes the place of `known`.
    pub fn replaces(&self, known: &Self) -> bool {
        self.name == known.name && self.seq > known.seq
    }

    fn check(&self) -> Result<(), NotSigned> {
        let is_sound = self.relays.len() <= MAX_RELAYS && self.relays.iter().all(|url| host_of(url).is_some());
        is_sound.then_some(()).ok_or_else(|| NotSigned::Form("a relay's URL is none, or there are too many".into()))
    }
}

/// The host, and the port where it is not the scheme's own, of a relay's base URL: `https://host[:port][/path]`, or `http` in tests.
pub fn host_of(base_url: &str) -> Option<String> {
    let (rest, default_port) = match base_url.split_once("://")? {
        ("https" | "wss", rest) => (rest, ":443"),
        ("http" | "ws", rest) => (rest, ":80"),
        _ => return None,
    };
    let host = rest.split('/').next().unwrap_or_default();
    // A list of URLs is separated by commas; nobody's password belongs into one.
    let is_sound = |byte: u8| byte.is_ascii_graphic() && !b",@?#\\\"<>".contains(&byte);
    if host.is_empty() || base_url.len() > MAX_URL || !base_url.bytes().all(is_sound) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    Some(host.strip_suffix(default_port).map(str::to_owned).unwrap_or(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signed::tests::server;

    fn record(seq: u64) -> NodeRecord {
        NodeRecord { name: server(1).0, relays: vec!["https://relay.example".into(), "https://other.example:444/base".into()], seq }
    }

    #[test]
    fn a_record_is_believed_when_its_node_signed_it() {
        let ((name, key), (other, other_key)) = (server(1), server(2));
        let object = record(3).sign(&key).unwrap();
        assert_eq!(NodeRecord::verify(&object, &name), Ok(record(3)));
        assert!(NodeRecord::verify(&object, &other).is_err());
        // Another node's signature over a record of this one.
        let forged = record(4).sign(&other_key).unwrap();
        assert!(NodeRecord::verify(&forged, &name).is_err());
        assert!(NodeRecord::verify(&forged, &other).is_err());
    }

    #[test]
    fn what_a_node_signed_for_another_purpose_is_no_record() {
        let (name, key) = server(1);
        let object = signed::sign(&record(3), &name, &key).unwrap();
        assert!(NodeRecord::verify(&object, &name).is_err());
    }

    #[test]
    fn the_highest_sequence_number_holds() {
        assert!(record(2).replaces(&record(1)));
        assert!(!record(1).replaces(&record(1)));
        assert!(!record(1).replaces(&record(2)));
        assert!(!NodeRecord { name: server(2).0, ..record(9) }.replaces(&record(1)));
    }

    #[test]
    fn relays_are_named_by_sound_urls_and_are_few() {
        let (_, key) = server(1);
        for url in ["relay.example", "ftp://relay.example", "https://", "https://a b", "https://a,b", "https://user@relay", "https://r?x"] {
            assert!(NodeRecord { relays: vec![url.into()], ..record(1) }.sign(&key).is_err(), "{url}");
        }
        assert!(NodeRecord { relays: vec!["https://a".into(); MAX_RELAYS + 1], ..record(1) }.sign(&key).is_err());
        assert!(NodeRecord { relays: vec![format!("https://a/{}", "b".repeat(MAX_URL))], ..record(1) }.sign(&key).is_err());
    }

    #[test]
    fn a_host_is_the_same_however_its_url_is_written() {
        for url in ["https://Relay.example", "https://relay.example:443/", "wss://relay.example/_inglenook/relay/v1/tunnel"] {
            assert_eq!(host_of(url).as_deref(), Some("relay.example"), "{url}");
        }
        assert_eq!(host_of("http://127.0.0.1:8448/").as_deref(), Some("127.0.0.1:8448"));
        assert_eq!(host_of("https://relay.example:80").as_deref(), Some("relay.example:80"));
    }
}
