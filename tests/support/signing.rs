//! Signing keys of clients: devices with identity and one-time keys, and cross-signing keys.

use ed25519_dalek::{Signer as _, SigningKey};
use ruma::serde::Base64;
use serde_json::{Value, json};

/// A signing key, as a device or a user has it.
pub(crate) struct Signer {
    key: SigningKey,
    user: String,
    /// What stands behind `ed25519:` in the key's ID.
    name: String,
}

impl Signer {
    /// The signing key of a device.
    pub(crate) fn of_device(user: &str, device: &str, seed: u8) -> Self {
        Self { key: SigningKey::from_bytes(&[seed; 32]), user: user.into(), name: device.into() }
    }

    /// A cross-signing key, which has its public half as name.
    pub(crate) fn of_user(user: &str, seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let name = public_half(&key);
        Self { key, user: user.into(), name }
    }

    /// The public half.
    pub(crate) fn public(&self) -> String {
        public_half(&self.key)
    }

    /// The key's ID.
    pub(crate) fn id(&self) -> String {
        format!("ed25519:{}", self.name)
    }

    /// The object with this key's signature beside those that it has.
    pub(crate) fn sign(&self, mut object: Value) -> Value {
        let mut said = object.clone();
        let fields = said.as_object_mut().unwrap();
        fields.remove("signatures");
        fields.remove("unsigned");
        // Maps are sorted, so that this is canonical JSON for all that these tests sign.
        let signature = self.key.sign(said.to_string().as_bytes()).to_bytes();
        object["signatures"][&self.user][self.id()] = Base64::<ruma::serde::base64::Standard, _>::new(signature).encode().into();
        object
    }

    /// The identity keys of the device, signed by itself.
    pub(crate) fn device_keys(&self) -> Value {
        let curve = format!("curve25519:{}", self.name);
        self.sign(json!({
            "user_id": self.user, "device_id": self.name, "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": { self.id(): self.public(), curve: "curve" },
        }))
    }

    /// One-time keys of these IDs.
    pub(crate) fn one_time_keys(&self, ids: &[&str]) -> Value {
        ids.iter().map(|id| (format!("signed_curve25519:{id}"), self.sign(json!({ "key": format!("public {id}") })))).collect()
    }

    /// A fallback key of that ID.
    pub(crate) fn fallback_key(&self, id: &str) -> Value {
        json!({ format!("signed_curve25519:{id}"): self.sign(json!({ "key": format!("public {id}"), "fallback": true })) })
    }
}

fn public_half(key: &SigningKey) -> String {
    Base64::<ruma::serde::base64::Standard, _>::new(key.verifying_key().to_bytes()).encode()
}

/// The three cross-signing keys of a user.
pub(crate) struct CrossSigner {
    pub(crate) master: Signer,
    pub(crate) self_signing: Signer,
    pub(crate) user_signing: Signer,
}

impl CrossSigner {
    /// Keys made of three seeds from this one on.
    pub(crate) fn new(user: &str, seed: u8) -> Self {
        let of_user = |seed| Signer::of_user(user, seed);
        Self { master: of_user(seed), self_signing: of_user(seed + 1), user_signing: of_user(seed + 2) }
    }

    /// The master key, not signed by any other.
    pub(crate) fn master_key(&self) -> Value {
        key(&self.master, "master")
    }

    /// What a client uploads.
    pub(crate) fn upload(&self) -> Value {
        json!({
            "master_key": self.master_key(),
            "self_signing_key": self.master.sign(key(&self.self_signing, "self_signing")),
            "user_signing_key": self.master.sign(key(&self.user_signing, "user_signing")),
        })
    }
}

fn key(signer: &Signer, usage: &str) -> Value {
    json!({ "user_id": signer.user, "usage": [usage], "keys": { signer.id(): signer.public() } })
}
