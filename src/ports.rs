//! The five ports: all that the server asks of the world it runs in.
//!
//! Methods return boxed local futures instead of being `async fn`, so that the ports are trait objects: the server is then
//! one concrete type, compiled once, and a host or a test hands it whatever adapters it has.

use futures_util::future::LocalBoxFuture;
use ruma::OwnedServerName;
use thiserror::Error;

use crate::{
    http::{Body, Request, Response},
    storage::{Batch, Key, Row, Scan},
};

/// What a port's method returns: a future bound to one thread.
pub type Answer<'a, T, E> = LocalBoxFuture<'a, Result<T, E>>;

/// An ordered byte key-value store with tables and atomic batches.
///
/// The contract that every implementation must meet is the suite in [`crate::storage::contract`].
pub trait Store {
    /// Reads many rows at once: one value, or `None`, for each key in the order asked.
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError>;

    /// Reads a range of one table in either direction.
    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError>;

    /// Commits a batch: all of it durably, or nothing.
    ///
    /// Fails with [`StoreError::Superseded`] when another instance has claimed the database since [`Store::claim`].
    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError>;

    /// Claims the database for this instance, by raising the epoch that each commit checks.
    fn claim(&self) -> Answer<'_, (), StoreError>;

    /// Rows of each table, for people who want to see what is stored; and their bytes where these are asked for, which may
    /// take reading all there is.
    fn usage(&self, bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError>;
}

/// What one table holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableUsage {
    /// The table's name.
    pub name: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// Bytes of keys and values together, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Another instance owns the database now; this one must not write any more.
    #[error("another instance has taken over the database")]
    Superseded,
    /// The storage quota is used up.
    #[error("the storage quota is used up")]
    QuotaExceeded,
    /// Anything else, in the words of the storage underneath.
    #[error("storage failed: {0}")]
    Failed(String),
}

/// Media, streamed in and out by the host and never whole through the server's memory.
pub trait Blobs {
    /// Stores a request's body under `id`, durably, and says how many bytes it had.
    ///
    /// Fails with [`BlobError::TooLarge`] past `limit` bytes, leaving nothing behind.
    fn put<'a>(&'a self, id: &'a str, body: Body, content_type: &'a str, limit: u64) -> Answer<'a, u64, BlobError>;

    /// How many bytes the blob has, or `None` where there is none.
    fn size<'a>(&'a self, id: &'a str) -> Answer<'a, Option<u64>, BlobError>;

    /// Reads bytes `start..end` of a blob; fewer where it ends before.
    fn read<'a>(&'a self, id: &'a str, start: u64, end: u64) -> Answer<'a, Vec<u8>, BlobError>;

    /// Makes a scaled copy of the image `id` and stores it as `thumbnail`; returns its size and content type.
    fn make_thumbnail<'a>(&'a self, id: &'a str, thumbnail: &'a str, spec: ThumbnailSpec) -> Answer<'a, StoredBlob, BlobError>;

    /// Removes a blob; removing what is not there is no error.
    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, (), BlobError>;
}

/// How an image is to be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThumbnailSpec {
    /// The wanted width in pixels.
    pub width: u32,
    /// The wanted height in pixels.
    pub height: u32,
    /// Whether to fill the frame and cut what hangs over, instead of fitting inside it.
    pub crop: bool,
}

/// A blob as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its size in bytes.
    pub size: u64,
    /// Its content type.
    pub content_type: String,
}

/// Why a blob could not be stored or made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BlobError {
    /// The body is larger than the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// There is no such blob.
    #[error("no such blob")]
    Missing,
    /// The host cannot decode this content as an image.
    #[error("this content cannot be scaled as an image")]
    NotAnImage,
    /// The storage quota is used up.
    #[error("the storage quota is used up")]
    QuotaExceeded,
    /// Anything else, in the words of the storage underneath.
    #[error("blob storage failed: {0}")]
    Failed(String),
}

/// Sends a federation request to another server.
pub trait Transport {
    /// Sends `request` and waits for the answer, or for a relay to say that it keeps the request until then.
    ///
    /// The server gives up by itself after a while: an implementation need not watch the time.
    fn send<'a>(&'a self, to: &'a Destination, request: Request) -> Answer<'a, Reply, TransportError>;
}

/// Where a request is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The server's name.
    pub name: OwnedServerName,
    /// The base URLs of the relays that it is attached to, as its node record says, the best first.
    pub relays: Vec<String>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The server has answered.
    Answered(Response),
    /// The server is away, and these relays keep the request for it.
    Kept {
        /// The relays' base URLs.
        relays: Vec<String>,
        /// For how long they keep it, in milliseconds, as far as they say: the longest of them.
        retention: Option<u64>,
    },
}

/// Why a request did not get an answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TransportError {
    /// No way leads to that server from here.
    #[error("no route to {0}")]
    NoRoute(String),
    /// A way leads there, and nobody answers.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The answer did not come in time.
    #[error("{0} has not answered in time")]
    TimedOut(String),
}

/// Time.
pub trait Clock {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// Completes after `millis` milliseconds; after none, once everything else that was ready has had its turn.
    fn sleep(&self, millis: u64) -> LocalBoxFuture<'_, ()>;
}

/// Randomness fit for keys and tokens.
pub trait Entropy {
    /// Fills the slice with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}
