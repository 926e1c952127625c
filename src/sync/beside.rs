//! What a sync tells beside rooms and account data: presence, messages to the device, changes of device lists, and what keys are left of the device.

use std::rc::Rc;

use ruma::UserId;
use serde_json::{Value, json};

use super::{
    device_lists::{Circle, DeviceLists},
    presence,
    rooms::{RoomOfUser, rooms_of},
    window::{Since, Window},
};
use crate::{
    error::Error,
    keys::one_time::{self, KeyCounts},
    room_server::Position,
    sections::Sections,
    server::Server,
    to_device::{self, Inbox},
};

/// What a sync tells beside rooms and account data.
pub(crate) struct Beside {
    device_lists: Option<DeviceLists>,
    keys: KeyCounts,
    to_device: Inbox,
    presence: Vec<Value>,
}

impl Beside {
    /// Reads it for one window.
    pub(crate) async fn read(server: &Rc<Server>, window: &Window, rooms: &[RoomOfUser]) -> Result<Self, Error> {
        let keys = one_time::counts(server, &window.user, &window.device).await?;
        let circle = match window.since {
            Some(Since { position, .. }) => Circle::read(server, &window.user, rooms, position, window.upto).await?,
            None => Circle::of(rooms),
        };
        let device_lists = match window.since {
            Some(Since { position, .. }) => Some(DeviceLists::read(server, &window.user, &circle, position, window.upto).await?),
            None => None,
        };
        let presence = presence::events(server, window, &circle).await?;
        let to_device = to_device::inbox(server, window).await?;
        Ok(Self { device_lists, keys, to_device, presence })
    }

    /// Whether there is nothing that a client waits for.
    pub(crate) fn is_empty(&self) -> bool {
        self.device_lists.as_ref().is_none_or(DeviceLists::is_empty) && self.to_device.messages.is_empty() && self.presence.is_empty()
    }

    /// The position up to which messages to the device are told.
    pub(crate) fn to_device_upto(&self) -> Position {
        self.to_device.upto
    }

    /// Adds it to an answer.
    pub(crate) fn add_to(self, answer: &mut Sections) {
        answer.insert_some("device_lists", self.device_lists.map(|lists| lists.to_json()));
        answer.insert("presence", &json!({ "events": self.presence }));
        answer.insert("to_device", &json!({ "events": self.to_device.messages }));
        answer.insert("device_one_time_keys_count", &self.keys.one_time);
        answer.insert("device_unused_fallback_key_types", &self.keys.unused_fallback);
    }
}

/// Whose keys have changed for a user since a token was given out.
pub(crate) async fn device_list_changes(server: &Server, user: &UserId, since: Since) -> Result<Value, Error> {
    let (since, upto) = (since.position, server.log.end());
    let circle = Circle::read(server, user, &rooms_of(server, user).await?, since, upto).await?;
    Ok(DeviceLists::read(server, user, &circle, since, upto).await?.to_json())
}
