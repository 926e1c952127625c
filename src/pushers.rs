//! Pushers: where users want their notifications sent.

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    parse,
    ports::Store,
    server::Server,
    storage::{Batch, Key, Row, Scan, Table},
};

/// A pusher, and the device that set it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pusher {
    #[serde(rename = "u")]
    pub(crate) user: OwnedUserId,
    #[serde(rename = "d")]
    pub(crate) device: String,
    #[serde(rename = "a")]
    pub(crate) app_id: String,
    #[serde(rename = "k")]
    pub(crate) pushkey: String,
    /// The pusher as clients see it.
    #[serde(rename = "p")]
    pub(crate) value: Value,
}

/// The pushers of a user.
pub(crate) async fn of_user(store: &dyn Store, user: &UserId) -> Result<Vec<Pusher>, Error> {
    store.scan(&Scan::prefix(Key::new(Table::Pushers).text(user.as_str()))).await?.iter().map(decode).collect()
}

/// Sets a pusher. Unless it is to stand beside them, it takes the place of other users' pushers of the same app and key.
pub(crate) async fn put(server: &Server, pusher: &Pusher, append: bool) -> Result<(), Error> {
    let mut batch = Batch::new();
    if !append {
        for row in server.ports.store.scan(&Scan::prefix(Key::new(Table::Pushers))).await? {
            let other = decode(&row)?;
            if (&other.app_id, &other.pushkey) == (&pusher.app_id, &pusher.pushkey) {
                batch.delete(key(&other.user, &other.app_id, &other.pushkey));
            }
        }
    }
    batch.put_json(key(&pusher.user, &pusher.app_id, &pusher.pushkey), pusher);
    Ok(server.ports.store.commit(batch).await?)
}

/// Removes a pusher; removing what is not there is no error.
pub(crate) async fn remove(server: &Server, user: &UserId, app_id: &str, pushkey: &str) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.delete(key(user, app_id, pushkey));
    Ok(server.ports.store.commit(batch).await?)
}

/// Adds to a batch that the pushers go which a device has set.
pub(crate) async fn write_deletion(store: &dyn Store, user: &UserId, device: &str, batch: &mut Batch) -> Result<(), Error> {
    for pusher in of_user(store, user).await? {
        if pusher.device == device {
            batch.delete(key(user, &pusher.app_id, &pusher.pushkey));
        }
    }
    Ok(())
}

fn decode(row: &Row) -> Result<Pusher, Error> {
    parse::json(&row.value).map_err(|error| Error::bug(format!("a stored pusher: {error}")))
}

fn key(user: &UserId, app_id: &str, pushkey: &str) -> Key {
    Key::new(Table::Pushers).text(user.as_str()).text(app_id).text(pushkey)
}
