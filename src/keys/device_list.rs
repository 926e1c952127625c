//! Changes of users' devices and cross-signing keys: the steps that other servers are told of, and which user's keys a
//! client must ask for again.
//!
//! Each step of a local user's device list is an entry of the log; its position is the `stream_id`, and it names the step
//! before it. A second table has, in the order of positions, the users whose keys have changed: one row for each user.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user>

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    log::{Output, Positions},
    ports::Store,
    room_server::Position,
    rows,
    storage::{Batch, Key, Scan, Table},
};

/// How far a user's device list has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DeviceList {
    /// The last step of a local user's list.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream_id: Option<Position>,
    /// Where clients were last told of a change.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    changed: Option<Position>,
}

/// What a commit changes about a local user's devices and keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The devices that came, changed or went.
    pub(crate) devices: Vec<String>,
    /// Whether cross-signing keys changed.
    pub(crate) signing_keys: bool,
    /// Whether it changes nothing that a client encrypts by.
    pub(crate) is_minor: bool,
}

impl Changes {
    /// The change of these devices.
    pub(crate) fn of_devices(devices: Vec<String>) -> Self {
        Self { devices, ..Self::default() }
    }
}

/// A user whose keys have changed, and who is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Changed {
    #[serde(rename = "u")]
    user: OwnedUserId,
    /// The one user who is told, where it is not all who share a room.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    only_for: Option<OwnedUserId>,
}

impl DeviceList {
    /// How far a user's device list has come; to be read and written under the user's lock.
    pub(crate) async fn read(store: &dyn Store, user: &UserId) -> Result<Self, Error> {
        Ok(rows::one(store, list_key(user)).await?.unwrap_or_default())
    }

    /// Adds changes of a local user's devices and keys to a commit. Returns where in the log the last of them is.
    pub(crate) fn write(mut self, user: &UserId, changes: &Changes, positions: &mut Positions, batch: &mut Batch) -> Option<Position> {
        let mut last = None;
        for device in &changes.devices {
            let step = Output::Devices { user: user.to_owned(), device: device.clone(), prev: self.stream_id };
            self.stream_id = Some(positions.assign(step));
            last = self.stream_id;
        }
        if changes.signing_keys {
            last = Some(positions.assign(Output::SigningKeys { user: user.to_owned() }));
        }
        match last {
            Some(position) if !changes.is_minor => self.tell(user, position, batch),
            Some(_) => batch.put_json(list_key(user), &self),
            None => {}
        }
        last
    }

    /// Adds to a commit that clients are told at this position to ask for the user's keys again.
    pub(crate) fn tell(mut self, user: &UserId, position: Position, batch: &mut Batch) {
        if let Some(before) = self.changed.replace(position) {
            batch.delete(changed_key(before));
        }
        batch.put_json(changed_key(position), &Changed { user: user.to_owned(), only_for: None });
        batch.put_json(list_key(user), &self);
    }
}

/// Adds to a commit that only `viewer` is told at this position to ask for the user's keys again.
pub(crate) fn tell_one(viewer: &UserId, user: &UserId, position: Position, batch: &mut Batch) {
    batch.put_json(changed_key(position), &Changed { user: user.to_owned(), only_for: Some(viewer.to_owned()) });
}

/// The users whose keys have changed behind `since` and up to `upto`, as far as that concerns a viewer.
pub(crate) async fn changed_since(store: &dyn Store, viewer: &UserId, since: Position, upto: Position) -> Result<Vec<OwnedUserId>, Error> {
    let range = Scan::range(changed_key(Position(since.0 + 1)), changed_key(Position(upto.0 + 1)));
    let changed: Vec<(_, Changed)> = rows::range(store, &range).await?;
    let concerns = |changed: &Changed| changed.only_for.as_ref().is_none_or(|only| only == viewer);
    Ok(changed.into_iter().map(|(_, changed)| changed).filter(concerns).map(|changed| changed.user).collect())
}

fn list_key(user: &UserId) -> Key {
    Key::new(Table::DeviceLists).text(user.as_str())
}

fn changed_key(position: Position) -> Key {
    Key::new(Table::DeviceListLog).number(position.0)
}
