//! What a client may ask of a new room.

use ruma::{OwnedRoomAliasId, OwnedUserId, RoomAliasId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{error::Error, event::RoomVersion, gather::Gather, ordered::OrderedSet};

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom_request>
#[derive(Deserialize)]
pub(super) struct CreateRoomRequest {
    #[serde(default)]
    creation_content: Option<CreationContent>,
    #[serde(default)]
    pub(super) initial_state: Vec<StateEvent>,
    #[serde(default)]
    pub(super) invite: Vec<OwnedUserId>,
    #[serde(default)]
    invite_3pid: Vec<Invite3pid>,
    #[serde(default)]
    pub(super) is_direct: bool,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) power_level_content_override: Map<String, Value>,
    preset: Option<Preset>,
    room_alias_name: Option<String>,
    pub(super) room_version: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) visibility: Option<Visibility>,
}

/// Keys of the create event.
#[derive(Deserialize)]
struct CreationContent {
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// A state event that the client wants in the room from the beginning.
#[derive(Deserialize)]
pub(super) struct StateEvent {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) state_key: String,
    pub(super) content: Map<String, Value>,
}

/// An invitation of somebody whose user ID is not known.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Invite3pid {
    id_server: String,
    id_access_token: String,
    medium: String,
    address: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Preset {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "public_chat")]
    Public,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Visibility {
    Public,
    Private,
}

impl CreateRoomRequest {
    /// Refuses what can be refused before the room's version is looked at.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.invite_3pid.is_empty() { Ok(()) } else { Err(super::membership::no_identity_server()) }
    }

    pub(super) fn preset(&self) -> Preset {
        self.preset.unwrap_or(match self.visibility {
            Some(Visibility::Public) => Preset::Public,
            _ => Preset::Private,
        })
    }

    /// The alias that the room shall have.
    pub(super) fn alias(&self, server: &ServerName) -> Result<Option<OwnedRoomAliasId>, Error> {
        let Some(name) = &self.room_alias_name else { return Ok(None) };
        let invalid = || Error::invalid_param(format!("{name:?} cannot be the name of a room."));
        if name.is_empty() || name.contains(|letter: char| letter == ':' || letter.is_whitespace()) {
            return Err(invalid());
        }
        RoomAliasId::parse(format!("#{name}:{server}")).map(Some).map_err(|_| invalid())
    }

    /// The create event's content, as far as the client has a say in it.
    pub(super) fn create_content(&self, creator: &UserId, version: &RoomVersion) -> Map<String, Value> {
        let Some(asked) = &self.creation_content else { return self.with_creators(Map::new(), OrderedSet::new(), creator, version) };
        self.with_creators(asked.more.clone(), asked.additional_creators.iter().gather(), creator, version)
    }

    fn with_creators<'a>(
        &'a self,
        mut content: Map<String, Value>,
        mut creators: OrderedSet<&'a OwnedUserId>,
        creator: &UserId,
        version: &RoomVersion,
    ) -> Map<String, Value> {
        if version.rules.authorization.additional_room_creators && self.preset() == Preset::TrustedPrivate {
            creators.extend(&self.invite);
        }
        creators.retain(|user| **user != creator);
        if !creators.is_empty() {
            content.insert("additional_creators".into(), creators.into_iter().map(|user| Value::from(user.as_str())).collect());
        }
        content
    }
}
