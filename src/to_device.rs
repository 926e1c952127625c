//! Messages to devices: sent, kept until their device has them, and handed over to other servers.
//!
//! A message to a local device stands in the device's inbox under its position in the log, and goes when a later sync shows
//! that it was received. Messages to another server's devices are one entry of the log for each server: the log is the outbox.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

mod inbox;
mod receive;

use futures_util::lock::OwnedMutexGuard;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use self::{
    inbox::{Inbox, Inboxes, forget_delivered, inbox},
    receive::{ReceivedMessages, receive},
};
use crate::{
    error::Error,
    gather::Gather,
    keys::remote::by_server,
    log::{Output, Positions},
    ordered::{OrderedMap, OrderedSet},
    ports::Store,
    room_server::Position,
    rows,
    server::Server,
    sharing::share_room,
    storage::{Batch, Key, Scan, Table},
};

/// An inbox that holds so many messages takes none of users with whom its own shares no room: anybody can make servers, and would
/// fill the disk of whoever is away for long. Between those who talk there is no limit.
const STRANGERS_INBOX: usize = 100;

/// Contents by user and device, or by user and [`ALL_DEVICES`].
pub(crate) type Messages = OrderedMap<OwnedUserId, OrderedMap<String, Map<String, Value>>>;

/// Stands for all devices of a user.
const ALL_DEVICES: &str = "*";

/// A message as its device is told of it, and as it is stored.
#[derive(Debug, Serialize)]
struct Message<'a> {
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
    content: Map<String, Value>,
}

/// Sends messages of a local user, with other rows in the same commit.
pub(crate) async fn send(server: &Server, sender: &UserId, kind: &str, messages: Messages, rows: Batch) -> Result<(), Error> {
    let (local, remote) = by_server(server, messages);
    let recipients = Recipients::of(server, local).await?;
    let appending = server.log.append(|positions| {
        let mut batch = rows;
        recipients.write(sender, kind, positions, &mut batch);
        for (destination, messages) in remote {
            write_outgoing(server, sender, kind, destination, messages, positions, &mut batch);
        }
        batch
    });
    appending.await
}

/// The content of `m.direct_to_device`. Its ID is made of its place in this life of the database.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>
fn write_outgoing(
    server: &Server,
    sender: &UserId,
    kind: &str,
    destination: OwnedServerName,
    messages: Messages,
    positions: &mut Positions,
    batch: &mut Batch,
) {
    let position = positions.assign(Output::ToDeviceRemote { destination: destination.clone() });
    let message_id = format!("{}.{}", server.identity.incarnation(), position.0);
    let content = json!({ "sender": sender, "type": kind, "message_id": message_id, "messages": messages });
    batch.put_json(outgoing_prefix(&destination).number(position.0), &content);
}

/// The content of the `m.direct_to_device` that an entry of the log stands for.
pub(crate) async fn outgoing(store: &dyn Store, destination: &ServerName, position: Position) -> Result<Option<Value>, Error> {
    rows::one(store, outgoing_prefix(destination).number(position.0)).await
}

/// Adds to a commit that what entries up to a position stand for was delivered to a server, and need not be kept.
pub(crate) async fn forget_outgoing(store: &dyn Store, destination: &ServerName, upto: Position, batch: &mut Batch) -> Result<(), Error> {
    let prefix = || outgoing_prefix(destination);
    for row in store.scan(&Scan::range(prefix(), prefix().number(upto.0 + 1))).await? {
        batch.delete(Key::new(Table::ToDeviceOut).raw(&row.key));
    }
    Ok(())
}

/// Local devices that get messages. While this is held, none of them can be deleted.
struct Recipients {
    devices: Vec<(OwnedUserId, String, Map<String, Value>)>,
    _locks: Vec<OwnedMutexGuard<()>>,
}

impl Recipients {
    /// The devices that there are of those that are named.
    async fn of(server: &Server, messages: Messages) -> Result<Self, Error> {
        let (mut devices, mut locks) = (Vec::new(), Vec::new());
        // In the order of the users, so that no two requests wait for each other.
        for (user, mut of_user) in messages {
            locks.push(server.accounts.lock(&user).await);
            let for_all = of_user.remove(ALL_DEVICES);
            for device in server.accounts.devices(&user).await? {
                if let Some(content) = of_user.remove(&device.device_id).or_else(|| for_all.clone()) {
                    devices.push((user.clone(), device.device_id, content));
                }
            }
        }
        Ok(Self { devices, _locks: locks })
    }

    /// Leaves out devices whose inboxes are full, where the sender and the device's user share no room. Returns whether they do anywhere.
    ///
    /// Who shares a room costs a look-up for each user; a full inbox is many messages, which are read for strangers alone.
    async fn leave_out_full(&mut self, server: &Server, sender: &UserId) -> Result<bool, Error> {
        let users: OrderedSet<_> = self.devices.iter().map(|(user, ..)| user.clone()).gather();
        let mut known = OrderedSet::new();
        for user in users {
            if share_room(server, &user, sender).await? {
                known.insert(user);
            }
        }
        for place in (0..self.devices.len()).rev() {
            let Some((user, device, _)) = self.devices.get(place).filter(|(user, ..)| !known.contains(user)) else { continue };
            let kept = server.ports.store.scan(&Scan::prefix(inbox_prefix(user, device)).limited(STRANGERS_INBOX)).await?;
            if kept.len() == STRANGERS_INBOX {
                self.devices.remove(place);
            }
        }
        Ok(!known.is_empty())
    }

    fn write(&self, sender: &UserId, kind: &str, positions: &mut Positions, batch: &mut Batch) {
        for (user, device, content) in &self.devices {
            let position = positions.assign(Output::ToDevice { user: user.clone(), device: device.clone() });
            let message = Message { sender, kind, content: content.clone() };
            batch.put_json(inbox_prefix(user, device).number(position.0), &message);
        }
    }
}

/// Adds to a commit that a device's messages go.
pub(crate) async fn write_deletion(store: &dyn Store, user: &UserId, device: &str, batch: &mut Batch) -> Result<(), Error> {
    for row in store.scan(&Scan::prefix(inbox_prefix(user, device))).await? {
        batch.delete(Key::new(Table::ToDevice).raw(&row.key));
    }
    Ok(())
}

fn inbox_prefix(user: &UserId, device: &str) -> Key {
    Key::new(Table::ToDevice).text(user.as_str()).text(device)
}

fn outgoing_prefix(destination: &ServerName) -> Key {
    Key::new(Table::ToDeviceOut).text(destination.as_str())
}
