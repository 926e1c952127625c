//! What a relay keeps: mailboxes of stored requests, and documents that nodes leave with it.
//!
//! The trait is small, so that a clustered queue can take the place of the database beneath it. What a method has reported as done
//! survives a crash at any moment.

mod budget;
mod disk;
mod reads;
mod tables;

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use inglenook_protocol::limits::Quota;
use ruma::{OwnedServerName, ServerName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::address::Address;

pub use disk::Disk;

/// A request that is to wait for its destination.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Whose mailbox.
    pub mailbox: OwnedServerName,
    /// Who has signed the request.
    pub origin: OwnedServerName,
    /// What is the same when the same request comes again: its transaction ID.
    pub key: String,
    /// The request as a binary message, as it came.
    pub request: Vec<u8>,
    /// What is known of its content.
    pub content: Content,
    /// When it came.
    pub received: u64,
    /// Who has brought it, whoever has signed it: `None` where that is nobody in particular.
    pub from: Option<Address>,
}

/// What decides how long a request is of use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// After which time, in milliseconds, nothing in it is; `None` where something never expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// Read receipts in it, by what they replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<String>,
    /// Whether it is of use only as long as one of its receipts is the latest.
    #[serde(default)]
    pub only_receipts: bool,
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the mailbox, which is never used again.
    pub id: u64,
    /// Who has signed it.
    pub origin: OwnedServerName,
    /// The request as a binary message.
    pub request: Vec<u8>,
}

/// What became of a request that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durably stored.
    Stored,
    /// It already was.
    Known,
}

/// Why something was not stored or read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// A quota does not allow it.
    #[error("{0} is full")]
    Full(&'static str),
    /// The database failed.
    #[error("the database: {0}")]
    Failed(String),
}

/// How much waits in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Mailboxes that hold something.
    pub mailboxes: u64,
    /// Requests.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// In one mailbox.
    pub mailbox: Quota,
    /// Of one sender in all mailboxes.
    pub origin: Quota,
    /// How long.
    pub retention_ms: u64,
    /// Of everything, documents too.
    pub total_bytes: u64,
    /// Of what one address has brought; zero means that there is no limit.
    pub address_bytes: u64,
}

/// A sender gets no more than this part of a mailbox, so that nobody fills it alone.
pub const SHARE_OF_MAILBOX: u64 = 2;

/// And what comes from one address no more than this part of it, by whatever names. A machine with an address of either version has two of
/// them, and one with a whole network of the sixth version three.
pub const PART_OF_MAILBOX: u64 = 4;

/// What kinds of documents there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// When a node that is served here was last attached: see [`Store::see`].
    Seen,
    /// Its node record.
    Record,
    /// The signed answer to `/_matrix/key/v2/server`.
    Keys,
    /// Its users' profiles.
    Profiles,
    /// Its users' devices.
    Devices,
    /// Its users' fallback keys.
    Fallback,
}

impl Document {
    const ALL: [Self; 6] = [Self::Seen, Self::Record, Self::Keys, Self::Profiles, Self::Devices, Self::Fallback];

    fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Record => "record",
            Self::Keys => "keys",
            Self::Profiles => "profiles",
            Self::Devices => "devices",
            Self::Fallback => "fallback",
        }
    }

    /// The kind of deposit of that name.
    pub fn deposit(kind: &str) -> Option<Self> {
        [Self::Keys, Self::Profiles, Self::Devices, Self::Fallback].into_iter().find(|document| document.as_str() == kind)
    }
}

/// What a method promises for later.
pub type Promise<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The database, as the relay sees it.
pub trait Store: Send + Sync {
    /// Puts a request at the end of a mailbox, unless it is there already or a quota does not allow it.
    fn append(&self, entry: NewEntry) -> Promise<'_, Appended>;
    /// The first request of a mailbox behind the number `after`.
    fn next(&self, mailbox: &ServerName, after: u64) -> Promise<'_, Option<Entry>>;
    /// The first request of the sender whose turn it is: the next one behind `after`, in a circle, that is none of `but_not`.
    fn turn(&self, mailbox: &ServerName, after: &str, but_not: BTreeSet<OwnedServerName>) -> Promise<'_, Option<Entry>>;
    /// The first request of a sender.
    fn first(&self, mailbox: &ServerName, origin: &ServerName) -> Promise<'_, Option<Entry>>;
    /// Removes a request; one that is not there is none the less gone.
    fn remove(&self, mailbox: &ServerName, id: u64) -> Promise<'_, ()>;
    /// How many requests of `origin` wait in a mailbox.
    fn waiting(&self, mailbox: &ServerName, origin: &ServerName) -> Promise<'_, u64>;
    /// Removes what has expired by `now`, and says how many requests that were.
    fn expire(&self, now: u64) -> Promise<'_, u64>;
    /// How much waits.
    fn usage(&self) -> Promise<'_, Usage>;
    /// Keeps a document that somebody has brought in place of the last one of its kind.
    fn keep(&self, document: Document, server: &ServerName, bytes: Vec<u8>, from: Option<Address>) -> Promise<'_, ()>;
    /// Notes that a server is here, and where it has come from. What it leaves is kept for the retention time after the last such note.
    fn see(&self, server: &ServerName, now: u64, from: Option<Address>) -> Promise<'_, ()>;
    /// When a server was last here, if that is not too long ago.
    fn seen(&self, server: &ServerName) -> Promise<'_, Option<u64>>;
    /// The document of that kind.
    fn document(&self, document: Document, server: &ServerName) -> Promise<'_, Option<Vec<u8>>>;
}

#[cfg(test)]
mod tests;
