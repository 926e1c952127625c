//! Room versions: which there are, and the rules of each.

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

use crate::error::Error;

/// The version of rooms that are made without naming one.
pub const DEFAULT_ROOM_VERSION: RoomVersionId = RoomVersionId::V12;

/// Every room version that this server supports; all are stable.
///
/// <https://spec.matrix.org/v1.19/rooms/>
pub const STABLE_ROOM_VERSIONS: [RoomVersionId; 12] = [
    RoomVersionId::V1,
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// A room's version with its rules.
#[derive(Clone, Debug)]
pub struct RoomVersion {
    /// The version's name.
    pub id: RoomVersionId,
    /// The version's rules.
    pub rules: RoomVersionRules,
}

impl RoomVersion {
    /// The version of that name, if this server supports it.
    pub fn parse(name: &str) -> Option<Self> {
        let id = STABLE_ROOM_VERSIONS.into_iter().find(|id| id.as_str() == name)?;
        let rules = id.rules()?;
        Some(Self { id, rules })
    }

    /// The version of that name, or the specification's refusal.
    pub fn supported(name: &str) -> Result<Self, Error> {
        Self::parse(name)
            .ok_or_else(|| Error::refused(400, "M_UNSUPPORTED_ROOM_VERSION", format!("This server does not know room version {name}.")))
    }

    /// Whether a room's ID is the hash of its create event.
    pub fn room_id_is_create_hash(&self) -> bool {
        self.rules.authorization.room_create_event_id_as_room_id
    }
}
