//! What the log says happened.

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{
    ordered::OrderedMap,
    room_server::{EventNumber, Position, RoomNumber},
};

/// One entry of the log. Readers look up the rest by the numbers and names in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k")]
pub enum Output {
    /// A room got an event that clients are told of.
    #[serde(rename = "event")]
    Event {
        /// The room.
        #[serde(rename = "r")]
        room: RoomNumber,
        /// The event.
        #[serde(rename = "e")]
        event: EventNumber,
        /// Events that came into the current state.
        #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
        added: Vec<EventNumber>,
        /// Events that went out of the current state.
        #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<EventNumber>,
        /// Local users whose membership it changes: they are told even if they are not in the room.
        #[serde(rename = "u", default, skip_serializing_if = "Vec::is_empty")]
        users: Vec<OwnedUserId>,
        /// What the federation sender asks of it.
        #[serde(rename = "f", default, skip_serializing_if = "Federated::is_default")]
        federated: Box<Federated>,
    },
    /// A user's account data changed, for all rooms or one.
    #[serde(rename = "account_data")]
    AccountData {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
        /// The room, or `None` for the account as a whole.
        #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
        room: Option<OwnedRoomId>,
    },
    /// Somebody has read a room up to some event.
    #[serde(rename = "receipt")]
    Receipt {
        /// The room.
        #[serde(rename = "r")]
        room: RoomNumber,
        /// Who has read.
        #[serde(rename = "u")]
        user: OwnedUserId,
        /// Whether only the user themselves are told.
        #[serde(rename = "p")]
        private: bool,
    },
    /// A local user's device came, changed or went: a step of the user's device list, with this entry's position as its ID.
    #[serde(rename = "devices")]
    Devices {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
        /// The device.
        #[serde(rename = "d", default)]
        device: String,
        /// The step before.
        #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
        prev: Option<Position>,
    },
    /// A message came for a local device.
    #[serde(rename = "to_device")]
    ToDevice {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
        /// The device.
        #[serde(rename = "d")]
        device: String,
    },
    /// Messages are to go to devices of another server's users.
    #[serde(rename = "to_device_remote")]
    ToDeviceRemote {
        /// The server.
        #[serde(rename = "s")]
        destination: OwnedServerName,
    },
    /// A local user's cross-signing keys changed.
    #[serde(rename = "signing_keys")]
    SigningKeys {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
    },
    /// A local user has signed another user's master key, which nobody else is told.
    #[serde(rename = "user_signature")]
    UserSignature {
        /// Who has signed.
        #[serde(rename = "u")]
        user: OwnedUserId,
        /// Whose key.
        #[serde(rename = "o")]
        of: OwnedUserId,
    },
    /// More or something else is known of the devices or cross-signing keys of another server's user.
    #[serde(rename = "remote_devices")]
    RemoteDevices {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
    },
    /// A user's presence changed, of this server or another.
    #[serde(rename = "presence")]
    Presence {
        /// The user.
        #[serde(rename = "u")]
        user: OwnedUserId,
    },
}

/// What an event means for other servers, so that the federation sender need not look at the event to know where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federated {
    /// Whether it is for this server to send it to the others: it was made here, or handed in here to be passed on.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub outgoing: bool,
    /// The server of a user who is put out of the room, and need not have been in it: one who was invited, or had knocked.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<OwnedServerName>,
    /// How many more users of other servers are joined in the current state because of it.
    #[serde(rename = "j", default, skip_serializing_if = "OrderedMap::is_empty")]
    pub joined: OrderedMap<OwnedServerName, i64>,
}

impl Federated {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
