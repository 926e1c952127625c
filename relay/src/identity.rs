//! The relay's own key and name.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use ed25519_dalek::{Signer, SigningKey};
use inglenook_protocol::{
    key_name::{KEY_ID, label_of},
    signed,
};
use ruma::{
    OwnedServerName, ServerName, SigningKeyId,
    serde::Base64,
    signatures::{KeyPair, Signature},
};
use serde_json::{Value, json};

/// How long others may believe the published keys, in milliseconds: the key never changes, as the name is made of it.
const KEYS_VALID_MS: u64 = 7 * 24 * 3_600_000;

/// Who this relay is.
pub(crate) struct Identity {
    name: OwnedServerName,
    key: SigningKey,
}

impl Identity {
    /// Reads the key from that file, or makes one.
    pub(crate) fn load_or_make(file: &Path) -> io::Result<Self> {
        match fs::read_to_string(file) {
            Ok(seed) => {
                let seed = Base64::<ruma::serde::base64::Standard>::parse(seed.trim()).map_err(io::Error::other)?;
                let seed = <[u8; 32]>::try_from(seed.as_bytes()).map_err(|_| io::Error::other("the key is not 32 bytes long"))?;
                Self::of(seed)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(file),
            Err(error) => Err(error),
        }
    }

    fn make(file: &Path) -> io::Result<Self> {
        let seed: [u8; 32] = random()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        writeln!(file, "{}", Base64::<ruma::serde::base64::Standard, _>::new(seed))?;
        file.sync_all()?;
        Self::of(seed)
    }

    /// The relay with that secret key.
    pub(crate) fn of(seed: [u8; 32]) -> io::Result<Self> {
        let key = SigningKey::from_bytes(&seed);
        let name = ServerName::parse(label_of(&key.verifying_key().to_bytes())).map_err(io::Error::other)?;
        Ok(Self { name, key })
    }

    /// The name, which is made of the key.
    pub(crate) fn name(&self) -> &OwnedServerName {
        &self.name
    }

    /// The signed answer to `/_matrix/key/v2/server`.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server>
    pub(crate) fn keys(&self, now: u64) -> Value {
        let key = Base64::<ruma::serde::base64::Standard, _>::new(self.key.verifying_key().to_bytes());
        let keys = json!({
            "server_name": self.name,
            "verify_keys": { KEY_ID: { "key": key } },
            "old_verify_keys": {},
            "valid_until_ts": now + KEYS_VALID_MS,
        });
        signed::sign(&keys, &self.name, self).ok().and_then(|keys| serde_json::to_value(keys).ok()).unwrap_or_default()
    }
}

impl KeyPair for Identity {
    fn sign(&self, message: &[u8]) -> Signature {
        let key_id = SigningKeyId::parse(KEY_ID).unwrap_or_else(|_| unreachable!("the key ID is a constant"));
        Signature::new(key_id, self.key.sign(message).to_bytes().to_vec())
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_and_the_key_is_the_owners() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let first = Identity::load_or_make(&file).unwrap();
        assert_eq!(Identity::load_or_make(&file).unwrap().name(), first.name());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "short").unwrap();
        assert!(Identity::load_or_make(&file).is_err());
    }
}
