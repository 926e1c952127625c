//! The ports of a test's host: a clock in hand, seeded randomness, media in memory, and no way to other servers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use futures_channel::oneshot;
use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use inglenook::{
    http::{Body, Pieces, Request},
    ports::{Answer, BlobError, Blobs, Clock, Destination, Entropy, Reply, StoredBlob, ThumbnailSpec, Transport, TransportError},
};

use super::failing_store::yield_once;

/// A clock that stands still until it is moved.
pub(crate) struct ManualClock {
    now: Cell<u64>,
    sleepers: RefCell<Vec<(u64, oneshot::Sender<()>)>>,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self { now: Cell::new(1_700_000_000_000), sleepers: RefCell::default() }
    }

    /// Sets the clock back, as people do.
    pub(crate) fn set_back(&self, millis: u64) {
        self.now.set(self.now.get() - millis);
    }

    /// Moves the clock and wakes whoever sleeps until then.
    pub(crate) fn advance(&self, millis: u64) {
        self.now.set(self.now.get() + millis);
        let (due, sleeping) = self.sleepers.take().into_iter().partition(|(until, _)| *until <= self.now.get());
        *self.sleepers.borrow_mut() = sleeping;
        for (_, sleeper) in due {
            // A sleeper that is gone need not be woken.
            let _: Result<(), ()> = sleeper.send(());
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn sleep(&self, millis: u64) -> LocalBoxFuture<'_, ()> {
        if millis == 0 {
            return yield_once().boxed_local();
        }
        let (sender, receiver) = oneshot::channel();
        self.sleepers.borrow_mut().push((self.now.get() + millis, sender));
        receiver.map(drop).boxed_local()
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
pub(crate) struct SeededEntropy(Cell<u64>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut value = self.0.get();
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}

/// Media in memory. What begins with [`IMAGE`] counts as an image.
#[derive(Default)]
pub(crate) struct MemoryBlobs {
    blobs: RefCell<BTreeMap<String, Vec<u8>>>,
    /// How many bytes were read of blobs.
    pub(crate) read: Cell<u64>,
    /// The largest piece of a body that came.
    pub(crate) largest_piece: Cell<usize>,
    /// What has to happen before bodies that come are read on.
    held: RefCell<Option<oneshot::Receiver<()>>>,
}

/// The beginning of an image, as these blobs see it. Its thumbnail says which size was asked for.
pub(crate) const IMAGE: &[u8] = b"image:";

impl MemoryBlobs {
    /// The names of all blobs.
    pub(crate) fn names(&self) -> Vec<String> {
        self.blobs.borrow().keys().cloned().collect()
    }

    /// Reads the next body that comes no further than its first piece, until what is returned is dropped.
    pub(crate) fn hold(&self) -> oneshot::Sender<()> {
        let (sender, receiver) = oneshot::channel();
        *self.held.borrow_mut() = Some(receiver);
        sender
    }

    async fn put_pieces(&self, id: &str, mut pieces: Pieces, limit: u64) -> Result<u64, BlobError> {
        let (mut bytes, held) = (Vec::new(), self.held.take());
        let first = pieces.next().await;
        if let Some(held) = held {
            let _: Result<(), _> = held.await;
        }
        let mut pieces = stream::iter(first).chain(pieces);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| BlobError::Failed(error.to_string()))?;
            self.largest_piece.set(self.largest_piece.get().max(piece.len()));
            bytes.extend(piece);
            if bytes.len() as u64 > limit {
                return Err(BlobError::TooLarge(limit));
            }
        }
        let size = bytes.len() as u64;
        self.blobs.borrow_mut().insert(id.into(), bytes);
        Ok(size)
    }

    pub(crate) fn read(&self, id: &str, start: u64, end: u64) -> Vec<u8> {
        self.blobs.borrow()[id][usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec()
    }
}

impl Blobs for MemoryBlobs {
    fn put<'a>(&'a self, id: &'a str, body: Body, _content_type: &'a str, limit: u64) -> Answer<'a, u64, BlobError> {
        let bytes = match body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes,
            Body::Coming(coming) => return self.put_pieces(id, coming.take().expect("nobody has taken it"), limit).boxed_local(),
            Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) => panic!("this host has whole bodies only"),
        };
        let size = bytes.len() as u64;
        let fits = size <= limit;
        if fits {
            self.blobs.borrow_mut().insert(id.into(), bytes);
        }
        async move { if fits { Ok(size) } else { Err(BlobError::TooLarge(limit)) } }.boxed_local()
    }

    fn size<'a>(&'a self, id: &'a str) -> Answer<'a, Option<u64>, BlobError> {
        let size = self.blobs.borrow().get(id).map(|bytes| bytes.len() as u64);
        async move { Ok(size) }.boxed_local()
    }

    fn read<'a>(&'a self, id: &'a str, start: u64, end: u64) -> Answer<'a, Vec<u8>, BlobError> {
        let read = self.blobs.borrow().get(id).map(|bytes| {
            let end = usize::try_from(end).unwrap().min(bytes.len());
            bytes[usize::try_from(start).unwrap().min(end)..end].to_vec()
        });
        self.read.set(self.read.get() + read.as_ref().map_or(0, |read| read.len() as u64));
        async move { read.ok_or(BlobError::Missing) }.boxed_local()
    }

    fn make_thumbnail<'a>(&'a self, id: &'a str, thumbnail: &'a str, spec: ThumbnailSpec) -> Answer<'a, StoredBlob, BlobError> {
        let mut blobs = self.blobs.borrow_mut();
        let made = match blobs.get(id) {
            Some(image) if image.starts_with(IMAGE) => {
                let made = format!("{}x{} {}", spec.width, spec.height, if spec.crop { "crop" } else { "scale" });
                let size = made.len() as u64;
                blobs.insert(thumbnail.into(), made.into_bytes());
                Ok(StoredBlob { size, content_type: "image/png".into() })
            }
            Some(_) => Err(BlobError::NotAnImage),
            None => Err(BlobError::Missing),
        };
        async { made }.boxed_local()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, (), BlobError> {
        self.blobs.borrow_mut().remove(id);
        async { Ok(()) }.boxed_local()
    }
}

/// No way leads to any other server.
pub(crate) struct NoTransport;

impl Transport for NoTransport {
    fn send<'a>(&'a self, to: &'a Destination, _: Request) -> Answer<'a, Reply, TransportError> {
        async move { Err(TransportError::NoRoute(to.name.to_string())) }.boxed_local()
    }
}
