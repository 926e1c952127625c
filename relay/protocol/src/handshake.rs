//! How a node proves to a relay who it is, before a tunnel is opened. Three text messages:
//!
//! 1. the relay sends a [`Challenge`];
//! 2. the node answers with a signed [`Proof`], which names the relay as the node dialled it, so that it is worth nothing elsewhere;
//! 3. the relay sends a [`Verdict`]: a signed welcome, or why not.

use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, serde::Base64, signatures::KeyPair};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    limits::Limits,
    signed::{self, NotSigned},
};

/// What tells these objects from everything else that a node or a relay signs.
const PURPOSE: &str = "inglenook.relay.tunnel.v1";
const WELCOME_PURPOSE: &str = "inglenook.relay.welcome.v1";

/// Of each of the three messages, in bytes.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// How old a challenge may be when its answer comes, for connections through the slowest of networks.
pub const MAX_AGE_MS: u64 = 30_000;

/// The close code of a WebSocket whose tunnel was taken over by another holder of the same key.
pub const CLOSE_SUPERSEDED: u16 = 4001;
/// The close code of a WebSocket whose handshake was refused; the verdict, sent before, says why.
pub const CLOSE_REFUSED: u16 = 4003;
/// The close code of a WebSocket whose relay stops ("going away", as RFC 6455 has it).
pub const CLOSE_STOPPING: u16 = 1001;

/// What the relay asks to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The relay's own server name.
    pub relay: OwnedServerName,
    /// Random, and never used again.
    pub nonce: Base64,
    /// The relay's time, in milliseconds since 1970.
    pub ts: u64,
}

/// What the node signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    purpose: String,
    /// The node's name, which is made of the key that signs.
    pub node: OwnedServerName,
    /// The host of the URL that the node has dialled, as [`crate::node_record::host_of`] gives it.
    pub dialled: String,
    /// The challenge.
    #[serde(flatten)]
    pub challenge: Challenge,
}

/// How the relay decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The tunnel is open: a signed [`Welcome`].
    Accepted(CanonicalJsonObject),
    /// The relay closes the socket.
    Refused(Refusal),
}

/// Why the relay does not open a tunnel.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("{errcode}: {error}")]
pub struct Refusal {
    /// `M_UNAUTHORIZED` for a wrong proof, `M_FORBIDDEN` for a node that may not use this relay, `M_LIMIT_EXCEEDED` when the relay is
    /// full.
    pub errcode: String,
    /// A sentence for people.
    pub error: String,
}

/// What an accepted node is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    purpose: String,
    /// The node that is welcome.
    pub node: OwnedServerName,
    /// The challenge that it has answered.
    #[serde(flatten)]
    pub challenge: Challenge,
    /// What the relay takes.
    pub limits: Limits,
    /// Whether this tunnel took the place of another one of the same name: that was this node before it was cut off, or there are two
    /// holders of its key.
    pub replaced: bool,
}

impl Challenge {
    /// A new challenge. The nonce has to be random.
    pub fn new(relay: OwnedServerName, nonce: [u8; 32], ts: u64) -> Self {
        Self { relay, nonce: Base64::new(nonce.to_vec()), ts }
    }

    /// The node's answer, given the host of the URL that it has dialled.
    pub fn prove(&self, dialled: &str, node: &ServerName, key: &impl KeyPair) -> Result<CanonicalJsonObject, NotSigned> {
        let proof = Proof { purpose: PURPOSE.into(), node: node.into(), dialled: dialled.into(), challenge: self.clone() };
        signed::sign(&proof, node, key)
    }

    /// Checks the answer to this challenge, which the relay has made for this very socket, and says who the node is.
    ///
    /// `is_own_host` says whether a host is one that leads to this relay. It must not be taken from the connecting side.
    pub fn check(
        &self,
        answer: &CanonicalJsonObject,
        now: u64,
        is_own_host: impl FnOnce(&str) -> bool,
    ) -> Result<OwnedServerName, Refusal> {
        let claimed = answer.get("node").and_then(|node| node.as_str()).and_then(|node| ServerName::parse(node).ok());
        let node = claimed.ok_or_else(|| Refusal::unauthorized("The answer names no node."))?;
        let proof: Proof = signed::verify(answer, &node).map_err(|error| Refusal::unauthorized(format!("The answer: {error}.")))?;
        if proof.purpose != PURPOSE || proof.challenge != *self {
            return Err(Refusal::unauthorized("This is no answer to the challenge."));
        }
        if !is_own_host(&proof.dialled) {
            return Err(Refusal::unauthorized(format!("The answer is for {}, which is not this relay.", proof.dialled)));
        }
        if now.saturating_sub(self.ts) > MAX_AGE_MS {
            return Err(Refusal::unauthorized("The answer came too late."));
        }
        Ok(node)
    }
}

impl Refusal {
    /// The proof is wrong.
    pub fn unauthorized(error: impl Into<String>) -> Self {
        Self { errcode: "M_UNAUTHORIZED".into(), error: error.into() }
    }
}

impl Welcome {
    /// The relay's last word before the tunnel, signed.
    pub fn sign(
        challenge: &Challenge,
        node: &ServerName,
        limits: Limits,
        replaced: bool,
        key: &impl KeyPair,
    ) -> Result<Verdict, NotSigned> {
        let welcome = Self { purpose: WELCOME_PURPOSE.into(), node: node.into(), challenge: challenge.clone(), limits, replaced };
        signed::sign(&welcome, &challenge.relay, key).map(Verdict::Accepted)
    }
}

impl Verdict {
    /// Reads the verdict on the node's answer to `challenge`, checking that it is the challenger's own.
    ///
    /// A relay's name is made of its key, so a node that remembers the names of its relays notices another one at the same URL.
    pub fn read(&self, challenge: &Challenge, node: &ServerName) -> Result<Welcome, Refusal> {
        let object = match self {
            Self::Accepted(object) => object,
            Self::Refused(refusal) => return Err(refusal.clone()),
        };
        let welcome: Welcome = signed::verify(object, &challenge.relay).map_err(|error| Refusal::unauthorized(error.to_string()))?;
        let is_for_us = welcome.purpose == WELCOME_PURPOSE && welcome.challenge == *challenge && welcome.node == node;
        is_for_us.then_some(welcome).ok_or_else(|| Refusal::unauthorized("The relay's welcome is for another."))
    }
}

#[cfg(test)]
mod tests;
