//! One-time and fallback keys of local devices: the stock, what is added to it, and what is handed out.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys>

use std::cell::RefCell;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    gather::Gather,
    ordered::OrderedMap,
    ports::Store,
    rows,
    server::Server,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// A device has so many unclaimed keys at most; clients keep about fifty.
const MAX_KEYS: usize = 1_000;

/// So many claimed keys of a device are remembered by name, so that an upload that is repeated because its answer was lost
/// does not bring back a key that was handed out meanwhile.
const CLAIMED_KEYS: usize = 1_000;

/// The counts of so many devices are kept in memory; past that, all are forgotten and counted again.
const COUNTED_DEVICES: usize = 1_000;

/// The algorithm of which clients are told even that there are none: some take silence for "no change".
const OLM: &str = "signed_curve25519";

/// Rows of keys that nobody has claimed, before those of keys that were claimed.
const UNCLAIMED: u8 = 0;
const CLAIMED: u8 = 1;

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredKey {
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "k")]
    key: Value,
    /// Whether a fallback key was handed out.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    used: bool,
}

/// How many keys of each algorithm are left of a device, and of which an unused fallback key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyCounts {
    pub(crate) one_time: OrderedMap<String, u64>,
    pub(crate) unused_fallback: Vec<String>,
}

/// The counts of the devices that asked last.
#[derive(Default)]
pub(crate) struct KnownCounts(RefCell<OrderedMap<(OwnedUserId, String), KeyCounts>>);

impl KnownCounts {
    /// Forgets what was counted of a user's devices, once it has changed.
    pub(crate) fn forget(&self, user: &UserId) {
        self.0.borrow_mut().retain(|(of, _), _| of != user);
    }
}

/// What is left of a device's keys.
pub(crate) async fn counts(server: &Server, user: &UserId, device: &str) -> Result<KeyCounts, Error> {
    let key = (user.to_owned(), device.to_owned());
    if let Some(counts) = server.key_counts.0.borrow().get(&key) {
        return Ok(counts.clone());
    }
    // Under the lock nobody can change them between counting and remembering.
    let _lock = server.accounts.lock(user).await;
    let store = &*server.ports.store;
    let counts = KeyCounts {
        one_time: Stock::read(store, user, device).await?.counts(),
        unused_fallback: unused_fallback(store, user, device).await?,
    };
    let mut known = server.key_counts.0.borrow_mut();
    if known.len() >= COUNTED_DEVICES {
        known.clear();
    }
    known.insert(key, counts.clone());
    Ok(counts)
}

async fn unused_fallback(store: &dyn Store, user: &UserId, device: &str) -> Result<Vec<String>, Error> {
    let keys: Vec<(_, StoredKey)> = rows::range(store, &Scan::prefix(fallback_prefix(user, device))).await?;
    let unused = keys.iter().filter(|(_, key)| !key.used);
    Ok(unused.filter_map(|(row, _)| last_text(row, 3)).collect())
}

/// A device's one-time keys.
pub(super) struct Stock<'a> {
    user: &'a UserId,
    device: &'a str,
    /// By algorithm and ID.
    unclaimed: OrderedMap<(String, String), Value>,
    /// Names by serial number.
    claimed: OrderedMap<u64, (String, String)>,
    next_serial: u64,
}

impl<'a> Stock<'a> {
    /// A stock without any key.
    pub(super) fn new(user: &'a UserId, device: &'a str) -> Self {
        Self { user, device, unclaimed: OrderedMap::new(), claimed: OrderedMap::new(), next_serial: 0 }
    }

    pub(super) async fn read(store: &dyn Store, user: &'a UserId, device: &'a str) -> Result<Self, Error> {
        let mut stock = Self::new(user, device);
        for row in store.scan(&Scan::prefix(device_prefix(user, device))).await? {
            let fits = stock.add_row(&row.key, &row.value)?;
            fits.ok_or_else(|| Error::bug("a key of one-time keys does not fit"))?;
        }
        Ok(stock)
    }

    fn add_row(&mut self, key: &[u8], value: &[u8]) -> Result<Option<()>, Error> {
        let mut key = KeyReader::new(key);
        let (Some(_), Some(_), Some(kind)) = (key.text(), key.text(), key.byte()) else { return Ok(None) };
        let algorithm = if kind == UNCLAIMED { key.text() } else { Some(String::new()) };
        let (Some(algorithm), Some(serial)) = (algorithm, key.number()) else { return Ok(None) };
        self.next_serial = self.next_serial.max(serial + 1);
        if kind == UNCLAIMED {
            let StoredKey { id, key, .. } = rows::decode(value)?;
            self.unclaimed.insert((algorithm, id), key);
        } else {
            self.claimed.insert(serial, rows::decode(value)?);
        }
        Ok(Some(()))
    }

    /// Adds new keys to a commit. A key that is there already must be the same; one that was claimed does not come back.
    pub(super) fn add(&mut self, keys: OrderedMap<String, Value>, batch: &mut Batch) -> Result<(), Error> {
        for (name, key) in keys {
            let (algorithm, id) = split_name(&name)?;
            check_form(&key)?;
            let full_name = (algorithm.to_owned(), id.to_owned());
            match self.unclaimed.get(&full_name) {
                Some(known) if *known == key => continue,
                Some(_) => return Err(Error::invalid_param(format!("There is another one-time key {name} of this device."))),
                None if self.claimed.values().any(|claimed| *claimed == full_name) => continue,
                None => {}
            }
            let stored = StoredKey { id: id.to_owned(), key: key.clone(), used: false };
            batch.put_json(unclaimed_prefix(self.user, self.device, algorithm).number(self.next_serial), &stored);
            self.next_serial += 1;
            self.unclaimed.insert(full_name, key);
        }
        if self.unclaimed.len() > MAX_KEYS {
            return Err(Error::invalid_param(format!("A device may have {MAX_KEYS} one-time keys at most.")));
        }
        self.forget_surplus(batch);
        Ok(())
    }

    fn forget_surplus(&self, batch: &mut Batch) {
        let surplus = self.claimed.len().saturating_sub(CLAIMED_KEYS);
        for serial in self.claimed.keys().take(surplus) {
            batch.delete(claimed_key(self.user, self.device, *serial));
        }
    }

    /// How many keys there are of each algorithm.
    pub(super) fn counts(&self) -> OrderedMap<String, u64> {
        let mut counts = OrderedMap::from([(OLM.to_owned(), 0)]);
        for (algorithm, _) in self.unclaimed.keys() {
            *counts.entry(algorithm.clone()).or_default() += 1;
        }
        counts
    }
}

/// A device's fallback keys by name.
pub(crate) async fn fallback_keys(store: &dyn Store, user: &UserId, device: &str) -> Result<OrderedMap<String, Value>, Error> {
    let keys: Vec<(_, StoredKey)> = rows::range(store, &Scan::prefix(fallback_prefix(user, device))).await?;
    let named = keys.into_iter().filter_map(|(row, key)| Some((format!("{}:{}", last_text(&row, 3)?, key.id), key.key)));
    Ok(named.gather())
}

/// Adds a device's fallback keys to a commit, each in place of the one of its algorithm.
pub(super) async fn replace_fallback(
    store: &dyn Store,
    user: &UserId,
    device: &str,
    keys: OrderedMap<String, Value>,
    batch: &mut Batch,
) -> Result<(), Error> {
    for (name, key) in keys {
        let (algorithm, id) = split_name(&name)?;
        check_form(&key)?;
        let row = fallback_prefix(user, device).text(algorithm);
        let new = StoredKey { id: id.to_owned(), key, used: false };
        let old: Option<StoredKey> = rows::one(store, row.clone()).await?;
        // One that comes again because an answer was lost may have been used meanwhile.
        if !old.is_some_and(|old| old.id == new.id && old.key == new.key) {
            batch.put_json(row, &new);
        }
    }
    Ok(())
}

/// Takes a device's oldest one-time key of an algorithm, or its fallback key; the commit makes it so. Returns name and key. Where one-time keys
/// are spared, the fallback key comes first.
///
/// The user's lock must be held until the commit is done.
pub(super) async fn take(
    store: &dyn Store,
    user: &UserId,
    (device, algorithm): (&str, &str),
    is_sparing: bool,
    batch: &mut Batch,
) -> Result<Option<(String, Value)>, Error> {
    let row = fallback_prefix(user, device).text(algorithm);
    let fallback = rows::one::<StoredKey>(store, row.clone()).await?;
    let oldest = Scan::prefix(unclaimed_prefix(user, device, algorithm)).limited(1);
    let name = |id: &str| format!("{algorithm}:{id}");
    if !(is_sparing && fallback.is_some())
        && let Some((row, stored)) = rows::range::<StoredKey>(store, &oldest).await?.pop()
    {
        let serial = row.last_chunk().map(|serial| u64::from_be_bytes(*serial)).unwrap_or_default();
        batch.put_json(claimed_key(user, device, serial), &(algorithm, &stored.id));
        batch.delete(Key::new(Table::OneTimeKeys).raw(&row));
        return Ok(Some((name(&stored.id), stored.key)));
    }
    let Some(mut fallback) = fallback else { return Ok(None) };
    if !std::mem::replace(&mut fallback.used, true) {
        batch.put_json(row, &fallback);
    }
    Ok(Some((name(&fallback.id), fallback.key)))
}

/// Adds to a commit that a device's one-time and fallback keys go.
pub(super) async fn write_deletion(store: &dyn Store, user: &UserId, device: &str, batch: &mut Batch) -> Result<(), Error> {
    for prefix in [device_prefix(user, device), fallback_prefix(user, device)] {
        let table = prefix.table;
        for row in store.scan(&Scan::prefix(prefix)).await? {
            batch.delete(Key::new(table).raw(&row.key));
        }
    }
    Ok(())
}

fn split_name(name: &str) -> Result<(&str, &str), Error> {
    let parts = name.split_once(':').filter(|(algorithm, id)| !algorithm.is_empty() && !id.is_empty());
    parts.ok_or_else(|| Error::invalid_param(format!("{name:?} is no name of a key: it should be an algorithm, a colon and an ID.")))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#key-algorithms>
fn check_form(key: &Value) -> Result<(), Error> {
    let is_signed = key.get("key").is_some_and(Value::is_string) && key.get("signatures").is_some_and(Value::is_object);
    let fits = key.is_string() || is_signed;
    if fits { Ok(()) } else { Err(Error::bad_json("A key is a string, or an object with key and signatures.")) }
}

/// The text at this place of a key.
fn last_text(key: &[u8], place: usize) -> Option<String> {
    let mut reader = KeyReader::new(key);
    (0..place).map(|_| reader.text()).last().flatten()
}

fn device_prefix(user: &UserId, device: &str) -> Key {
    Key::new(Table::OneTimeKeys).text(user.as_str()).text(device)
}

fn unclaimed_prefix(user: &UserId, device: &str, algorithm: &str) -> Key {
    device_prefix(user, device).byte(UNCLAIMED).text(algorithm)
}

fn claimed_key(user: &UserId, device: &str, serial: u64) -> Key {
    device_prefix(user, device).byte(CLAIMED).number(serial)
}

fn fallback_prefix(user: &UserId, device: &str) -> Key {
    Key::new(Table::FallbackKeys).text(user.as_str()).text(device)
}
