//! What a sync tells beside rooms and account data: changes of device lists, and what keys are left of the device.

use std::rc::Rc;

use ruma::UserId;
use serde_json::{Map, Value, json};

use super::{
    device_lists::{Circle, DeviceLists},
    rooms::{RoomOfUser, rooms_of},
    window::{Since, Window},
};
use crate::{
    error::Error,
    keys::one_time::{self, KeyCounts},
    server::Server,
};

/// What a sync tells beside rooms and account data.
pub(crate) struct Beside {
    device_lists: Option<DeviceLists>,
    keys: KeyCounts,
}

impl Beside {
    /// Reads it for one window.
    pub(crate) async fn read(server: &Rc<Server>, window: &Window, rooms: &[RoomOfUser]) -> Result<Self, Error> {
        let keys = one_time::counts(server, &window.user, &window.device).await?;
        let device_lists = match window.since {
            Some(Since { position, .. }) => {
                let circle = Circle::read(server, &window.user, rooms, position, window.upto).await?;
                Some(DeviceLists::read(server, &window.user, &circle, position, window.upto).await?)
            }
            None => None,
        };
        Ok(Self { device_lists, keys })
    }

    /// Whether there is nothing that a client waits for.
    pub(crate) fn is_empty(&self) -> bool {
        self.device_lists.as_ref().is_none_or(DeviceLists::is_empty)
    }

    /// Adds it to an answer.
    pub(crate) fn add_to(self, answer: &mut Map<String, Value>) {
        if let Some(lists) = self.device_lists {
            answer.insert("device_lists".into(), lists.to_json());
        }
        answer.insert("device_one_time_keys_count".into(), json!(self.keys.one_time));
        answer.insert("device_unused_fallback_key_types".into(), json!(self.keys.unused_fallback));
    }
}

/// Whose keys have changed for a user since a token was given out.
pub(crate) async fn device_list_changes(server: &Server, user: &UserId, since: Since) -> Result<Value, Error> {
    let (since, upto) = (since.position, server.log.end());
    let circle = Circle::read(server, user, &rooms_of(server, user).await?, since, upto).await?;
    Ok(DeviceLists::read(server, user, &circle, since, upto).await?.to_json())
}
