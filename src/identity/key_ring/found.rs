//! Keys that were found, and which of them were valid when.

use ruma::{OwnedServerName, serde::Base64};
use serde::{Deserialize, Serialize};

use super::server_keys::KnownKeys;
use crate::{
    event::{PublicKeys, RoomVersion},
    gather::Gather,
    ordered::OrderedMap,
};

/// A key, and until when what it signed counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FoundKey {
    #[serde(rename = "k")]
    pub(super) key: Base64,
    /// In milliseconds since the Unix epoch.
    #[serde(rename = "u")]
    pub(super) valid_until: u64,
}

/// The keys of servers whose keys could be had.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundKeys {
    pub(super) keys: OrderedMap<String, OrderedMap<String, FoundKey>>,
    /// What somebody has newly vouched for; [`super::KeyRing::keep_vouched`] keeps it.
    pub(super) vouched: Vec<(OwnedServerName, KnownKeys)>,
}

impl FoundKeys {
    /// Whether the server's keys could be had.
    pub(crate) fn has_any(&self, server: &str) -> bool {
        self.keys.contains_key(server)
    }

    /// The keys that count for an event of that time, in a room of that version.
    ///
    /// <https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period>
    pub(crate) fn valid_at(&self, origin_server_ts: u64, version: &RoomVersion) -> PublicKeys {
        let time = version.rules.enforce_key_validity.then_some(origin_server_ts);
        let is_valid = |key: &FoundKey| time.is_none_or(|time| key.valid_until >= time);
        let of_server = |keys: &OrderedMap<String, FoundKey>| {
            keys.iter().filter(|(_, key)| is_valid(key)).map(|(id, key)| (id.clone(), key.key.clone())).gather()
        };
        self.keys.iter().map(|(server, keys)| (server.clone(), of_server(keys))).gather()
    }
}
