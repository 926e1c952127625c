//! Keys of other servers' users: what is kept of their device lists, and what is asked of their servers.
//!
//! A list is kept for users who share a room with a local one. It is filled by asking their server, follows that server's
//! updates, and is marked stale when one of them is missing, and when they share no room any more.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

mod ask;
mod following;
mod receive;

use std::pin::pin;

use futures_util::future::{Either, select};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::following::follow;
pub(crate) use self::receive::{Received, receive_device_list_update, receive_signing_key_update};
use super::{
    claim::{Claimed, Claims},
    device_list::DeviceList,
    query::Query,
    signed::Signed,
    upload::{SIGNED, is_signed},
};
use crate::{
    error::Error,
    federation_client::PeerError,
    gather::Gather,
    log::Output,
    ordered::OrderedMap,
    ports::{Store, TransportError},
    rows,
    server::Server,
    sharing,
    storage::{Batch, Key, Table},
};

/// So many devices of one user are kept at most; a server that tells of more is not believed.
const MAX_DEVICES: usize = 1_000;

/// How long other servers are waited for, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct Patience(u64);

impl Patience {
    /// No client has others waited for longer.
    const MAX: Self = Self(60_000);

    /// `asking` may be given up anywhere: it must write nothing.
    async fn wait<T>(self, server: &Server, destination: &ServerName, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let time = server.ports.clock.sleep(self.min(Self::MAX).0);
        match select(pin!(asking), time).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(PeerError::from(TransportError::TimedOut(destination.to_string())).into()),
        }
    }
}

impl Default for Patience {
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>
    fn default() -> Self {
        Self(10_000)
    }
}

/// What is known of the devices and cross-signing keys of another server's user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteDeviceList {
    /// The last step of the list that is in it.
    #[serde(rename = "i")]
    pub(crate) stream_id: u64,
    /// The last step that was heard of; the list is stale while it lags behind.
    #[serde(rename = "h", default)]
    heard_of: u64,
    /// Whether a step is missing.
    #[serde(rename = "s", default)]
    pub(crate) is_stale: bool,
    #[serde(rename = "d", default)]
    pub(crate) devices: OrderedMap<String, RemoteDevice>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) master_key: Option<Signed>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(crate) self_signing_key: Option<Signed>,
}

/// A device of another server's user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteDevice {
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Signed>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
}

/// A device list as its server tells it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid>
#[derive(Debug, Deserialize)]
pub(crate) struct ToldDeviceList {
    user_id: OwnedUserId,
    stream_id: u64,
    #[serde(default)]
    devices: Vec<ToldDevice>,
    master_key: Option<Signed>,
    self_signing_key: Option<Signed>,
}

#[derive(Debug, Deserialize)]
struct ToldDevice {
    device_id: String,
    keys: Option<Signed>,
    device_display_name: Option<String>,
}

impl RemoteDeviceList {
    /// The list as its server tells it, which lags behind where that server's updates were quicker.
    fn of_told(user: &UserId, told: ToldDeviceList, known: Option<&Self>) -> Self {
        let heard_of = known.map_or(told.stream_id, |known| known.heard_of.max(told.stream_id));
        let mut list = Self { stream_id: told.stream_id, heard_of, is_stale: told.stream_id < heard_of, ..Self::default() };
        for ToldDevice { device_id, keys, device_display_name } in told.devices.into_iter().take(MAX_DEVICES) {
            let keys = keys.filter(|keys| super::upload::check(user, &device_id, keys).is_ok());
            list.devices.insert(device_id, RemoteDevice { keys, display_name: device_display_name });
        }
        list.master_key = told.master_key.filter(|key| key.is_of(user));
        list.self_signing_key = told.self_signing_key.filter(|key| key.is_of(user));
        list
    }

    /// The keys of the wanted devices, or of all.
    fn keys(&self, wanted: &[String]) -> OrderedMap<String, Signed> {
        let wanted = self.devices.iter().filter(|(id, _)| wanted.is_empty() || wanted.contains(id));
        let keys = wanted.filter_map(|(id, device)| Some((id.clone(), device.keys.clone()?.named(device.display_name.as_deref()))));
        keys.gather()
    }
}

/// What is kept of a user's device list.
pub(crate) async fn cached(store: &dyn Store, user: &UserId) -> Result<Option<RemoteDeviceList>, Error> {
    rows::one(store, row_key(user)).await
}

/// Stores a device list as its server told it, and has clients ask again where it is another than before.
///
/// Not kept where the user shares no room with a local one, since that server's updates do not come here then.
pub(crate) async fn store(server: &Server, user: &UserId, told: ToldDeviceList) -> Result<RemoteDeviceList, Error> {
    let _lock = server.accounts.lock(user).await;
    let known = cached(&*server.ports.store, user).await?;
    let list = RemoteDeviceList::of_told(user, told, known.as_ref());
    if known.as_ref() != Some(&list) && sharing::is_seen(server, user).await? {
        write(server, user, &list).await?;
    }
    Ok(list)
}

/// Stores a list and has clients ask again for the user's keys.
async fn write(server: &Server, user: &UserId, list: &RemoteDeviceList) -> Result<(), Error> {
    let changes = DeviceList::read(&*server.ports.store, user).await?;
    let appending = server.log.append(|positions| {
        let mut batch = Batch::new();
        batch.put_json(row_key(user), list);
        let position = positions.assign(Output::RemoteDevices { user: user.to_owned() });
        changes.tell(user, position, &mut batch);
        batch
    });
    appending.await
}

/// Asks a user's server for the device list, as long as somebody waits for it, and stores the answer: for a list that is stale or
/// not there yet.
async fn resync(server: &Server, user: &UserId, patience: Patience) -> Result<RemoteDeviceList, Error> {
    let told = patience.wait(server, user.server_name(), ask::devices(server, user)).await?;
    if told.user_id != user {
        return Err(PeerError::Malformed("these are another user's devices".into()).into());
    }
    store(server, user, told).await
}

/// Keys as a server tells them of users who need share no room with anybody here.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery>
#[derive(Debug, Deserialize)]
struct ToldKeys {
    #[serde(default)]
    device_keys: OrderedMap<OwnedUserId, OrderedMap<String, Signed>>,
    #[serde(default)]
    master_keys: OrderedMap<OwnedUserId, Signed>,
    #[serde(default)]
    self_signing_keys: OrderedMap<OwnedUserId, Signed>,
}

/// What another server's users were found to have.
#[derive(Debug, Default)]
pub(crate) struct RemoteKeys {
    pub(crate) device_keys: OrderedMap<OwnedUserId, OrderedMap<String, Signed>>,
    pub(crate) master_keys: OrderedMap<OwnedUserId, Signed>,
    pub(crate) self_signing_keys: OrderedMap<OwnedUserId, Signed>,
    /// Why not all of it is there, or new.
    pub(crate) failure: Option<Value>,
}

impl RemoteKeys {
    fn add(&mut self, user: OwnedUserId, wanted: &[String], list: RemoteDeviceList) {
        self.device_keys.insert(user.clone(), list.keys(wanted));
        self.master_keys.extend(list.master_key.map(|key| (user.clone(), key)));
        self.self_signing_keys.extend(list.self_signing_key.map(|key| (user, key)));
    }

    /// Adds what a server tells of the users it was asked for.
    fn add_told(&mut self, asked: &Query, told: ToldKeys) {
        for (user, devices) in told.device_keys.into_iter().filter(|(user, _)| asked.contains_key(user)) {
            let right = devices.into_iter().take(MAX_DEVICES).filter(|(id, keys)| super::upload::check(&user, id, keys).is_ok());
            let right = right.gather();
            self.device_keys.insert(user, right);
        }
        let is_right = |(user, key): &(OwnedUserId, Signed)| asked.contains_key(user) && key.is_of(user);
        self.master_keys.extend(told.master_keys.into_iter().filter(is_right));
        self.self_signing_keys.extend(told.self_signing_keys.into_iter().filter(is_right));
    }
}

/// The keys of one server's users: what is kept of them, or else what their server says. Where it cannot be asked, what was
/// known before is better than nothing: a server that is away gets its messages later.
///
/// Of users who share a room here, each one's list is asked for and kept; the others' keys are asked for together.
pub(crate) async fn query(server: &Server, destination: &ServerName, query: Query, patience: Patience) -> Result<RemoteKeys, Error> {
    let (mut keys, mut unknown) = (RemoteKeys::default(), OrderedMap::new());
    for (user, wanted) in query {
        match cached(&*server.ports.store, &user).await? {
            Some(list) if !list.is_stale => keys.add(user, &wanted, list),
            known => drop(unknown.insert(user, (wanted, known))),
        }
    }
    let seen = sharing::seen(server, unknown.keys().cloned().gather()).await?;
    let strangers: Query =
        unknown.iter().filter(|(user, _)| !seen.contains(*user)).map(|(user, (wanted, _))| (user.clone(), wanted.clone())).gather();
    if !strangers.is_empty() {
        match patience.wait(server, destination, ask::keys(server, destination, &strangers)).await {
            Ok(told) => {
                unknown.retain(|user, _| seen.contains(user));
                keys.add_told(&strangers, told);
            }
            Err(error) => keys.failure = Some(failure(&error)),
        }
    }
    for (user, (wanted, known)) in unknown {
        // Who has failed to answer is not asked for each of many users.
        let is_asked = keys.failure.is_none() && seen.contains(&user);
        let asked = if is_asked { Some(resync(server, &user, patience).await) } else { None };
        match (asked, known) {
            (Some(Ok(list)), _) => keys.add(user, &wanted, list),
            (asked, known) => {
                keys.failure = keys.failure.or(asked.and_then(Result::err).map(|error| failure(&error)));
                if let Some(list) = known {
                    keys.add(user, &wanted, list);
                }
            }
        }
    }
    Ok(keys)
}

/// Claims keys of another server's users.
pub(crate) async fn claim(server: &Server, destination: &ServerName, claims: Claims, patience: Patience) -> Result<Claimed, Error> {
    let mut one_time_keys = patience.wait(server, destination, ask::claim(server, destination, &claims)).await?;
    one_time_keys.retain(|user, devices| {
        let wanted = claims.get(user);
        devices.retain(|device, _| wanted.is_some_and(|wanted| wanted.contains_key(device)));
        wanted.is_some()
    });
    for (user, devices) in one_time_keys.iter_mut() {
        let Some(list) = cached(&*server.ports.store, user).await? else { continue };
        for (device, keys) in devices.iter_mut() {
            // Whose device is not known here is for the client to judge.
            let Some(identity) = list.devices.get(device).and_then(|known| known.keys.as_ref()) else { continue };
            keys.retain(|name, key| !name.starts_with(SIGNED) || is_signed(user, device, identity, key));
        }
    }
    Ok(one_time_keys)
}

/// A server's failure as `failures` tells it.
pub(crate) fn failure(error: &Error) -> Value {
    error.body().into()
}

/// What is asked of local users, and what of other servers' users, by server.
pub(crate) fn by_server<T>(
    server: &Server,
    asked: OrderedMap<OwnedUserId, T>,
) -> (OrderedMap<OwnedUserId, T>, OrderedMap<OwnedServerName, OrderedMap<OwnedUserId, T>>) {
    let mut local = OrderedMap::new();
    let mut remote: OrderedMap<OwnedServerName, OrderedMap<OwnedUserId, T>> = OrderedMap::new();
    for (user, what) in asked {
        if user.server_name() == server.name() {
            local.insert(user, what);
        } else {
            remote.entry(user.server_name().to_owned()).or_default().insert(user, what);
        }
    }
    (local, remote)
}

fn row_key(user: &UserId) -> Key {
    Key::new(Table::RemoteDevices).text(user.as_str())
}
