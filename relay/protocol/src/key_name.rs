//! Server names that are made of a signing key, which anybody can verify without a look-up.

use base32ct::{Base32Unpadded, Encoding};
use ruma::{ServerName, serde::Base64};

/// The ID of every such server's key. A name that is made of the key leaves nothing to rotate to, so it is the same everywhere.
pub const KEY_ID: &str = "ed25519:1";

/// How many letters and digits 32 bytes take.
const LENGTH: usize = 52;

/// The label that is made of a public key: 52 lower-case letters and digits.
pub fn label_of(public_key: &[u8; 32]) -> String {
    Base32Unpadded::encode_string(public_key)
}

/// The public key that a server's name is made of, if it is: the name, or its first label below a gateway's domain.
///
/// Only the canonical spelling is a name: 52 characters have four bits to spare, and one key must not have sixteen names.
pub fn public_key_of(name: &ServerName) -> Option<[u8; 32]> {
    let host = name.host();
    let label = host.split('.').next().filter(|label| label.len() == LENGTH && name.port().is_none())?;
    let bytes = Base32Unpadded::decode_vec(label).ok()?;
    let key = <[u8; 32]>::try_from(bytes).ok()?;
    (label_of(&key) == label).then_some(key)
}

/// The same as ruma's signatures take it.
pub fn verify_key_of(name: &ServerName) -> Option<Base64> {
    public_key_of(name).map(|key| Base64::new(key.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(name: &str) -> Option<[u8; 32]> {
        public_key_of(&ServerName::parse(name).unwrap())
    }

    #[test]
    fn a_name_leads_back_to_its_key() {
        let key = [7; 32];
        let label = label_of(&key);
        assert_eq!(parsed(&label), Some(key));
        assert_eq!(parsed(&format!("{label}.relay.example.org")), Some(key));
    }

    #[test]
    fn one_key_has_one_name() {
        let label = label_of(&[0; 32]);
        // The last character carries one bit of the key and four to spare.
        assert_eq!(parsed(&format!("{}b", &label[..51])), None);
        assert_eq!(parsed(&label.to_uppercase()), None);
        assert_eq!(parsed(&format!("{label}:8448")), None);
    }

    #[test]
    fn an_ordinary_name_is_made_of_no_key() {
        assert_eq!(parsed("matrix.example.org"), None);
        assert_eq!(parsed(&format!("a.{}", label_of(&[7; 32]))), None);
    }
}
