//! What a relay takes, as it publishes it.

use serde::{Deserialize, Serialize};

/// A relay's limits: answered at [`crate::path::LIMITS`], and in the welcome of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What the relay runs.
    pub software: Software,
    /// The domain whose labels ordinary homeservers reach nodes by; `None` where the relay is no gateway.
    pub gateway: Option<String>,
    /// Whether only nodes that the operator lists may attach.
    pub allow_list: bool,
    /// Of a request or a response that passes through, in bytes.
    pub max_body: u64,
    /// Of a request that is stored, in bytes.
    pub max_stored_body: u64,
    /// Of one mailbox.
    pub mailbox: Quota,
    /// Of one sender, over all mailboxes.
    pub origin: Quota,
    /// How long a stored request is kept.
    pub retention_ms: u64,
    /// Of each kind of deposit, in bytes.
    pub max_deposit: u64,
    /// How long the relay waits for a node's answer.
    pub request_timeout_ms: u64,
    /// Of one address, over HTTP.
    #[serde(default)]
    pub address: AddressLimits,
    /// How many requests a node may make in a minute, up its tunnel; zero means that there is no limit.
    #[serde(default)]
    pub node_requests_per_minute: u64,
    /// How many of them may go on to other relays and servers.
    #[serde(default)]
    pub node_outside_per_minute: u64,
}

/// What an address may do; zero means that there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressLimits {
    /// How many requests, and openings of tunnels, it may make in a minute.
    pub requests_per_minute: u64,
    /// How many connections it may have at a time.
    pub connections: u64,
    /// How much of what it has brought is kept, in bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// The name and version of a relay's software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Requests.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}
