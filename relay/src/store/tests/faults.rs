//! A disk that fails.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::*;

/// A disk in memory that outlives the database on it, and fails after so many operations of a kind.
#[derive(Debug)]
struct Failing {
    disk: Arc<InMemoryBackend>,
    /// What reached the disk at the last sync: a failed one may have lost everything since.
    writes_left: Arc<AtomicI64>,
    syncs_left: Arc<AtomicI64>,
}

fn spend(left: &AtomicI64) -> io::Result<()> {
    if left.fetch_sub(1, Ordering::SeqCst) == 0 { Err(io::Error::other("injected")) } else { Ok(()) }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        spend(&self.syncs_left)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        spend(&self.writes_left)?;
        self.disk.write(offset, data)
    }
}

/// A disk that fails at the `n`th write or sync once it is told to, and the store on it, of which an address has [`ROOM`].
fn failing() -> (Disk, impl Fn(i64, i64)) {
    let disk = Arc::new(InMemoryBackend::new());
    let (writes_left, syncs_left) = (Arc::new(AtomicI64::new(NEVER)), Arc::new(AtomicI64::new(NEVER)));
    let (w, s) = (writes_left.clone(), syncs_left.clone());
    let backend = move || Ok(Failing { disk: disk.clone(), writes_left: w.clone(), syncs_left: s.clone() });
    let fail = move |writes, syncs| {
        writes_left.store(writes, Ordering::SeqCst);
        syncs_left.store(syncs, Ordering::SeqCst);
    };
    (Disk::on(backend, roomy(ROOM as u64)).unwrap(), fail)
}

const NEVER: i64 = i64::MAX;
const ROOM: usize = 4_096;

/// Checks that so much of an address's room is taken, to the byte.
async fn takes(store: &Disk, bytes: usize) {
    let rest = |bytes: usize| from(ONE, NewEntry { request: vec![0; bytes], ..entry("rest", "rest", "1") });
    assert_eq!(store.append(rest(ROOM - bytes + 1)).await, Err(SHARE));
    assert_eq!(store.append(rest(ROOM - bytes)).await, Ok(Appended::Stored));
}

/// Appends while the disk fails at the `n`th write or sync, and checks that what was acknowledged is there afterwards, and what is there counted.
async fn survives(writes: i64, syncs: i64) {
    let (store, fail) = failing();
    fail(writes, syncs);
    let mut acknowledged = Vec::new();
    let mut failures = 0;
    for number in 0..30 {
        match store.append(from(ONE, entry("m", "o", &number.to_string()))).await {
            Ok(_) => acknowledged.push(number.to_string()),
            Err(_) => failures += 1,
        }
    }
    assert_eq!(failures, 1, "one failure costs one transaction ({writes}, {syncs})");
    let found = waiting(&store, "m").await;
    // What failed may be there nevertheless; nothing else is missing or out of order.
    assert_eq!(found.iter().filter(|key| acknowledged.contains(key)).collect::<Vec<_>>(), acknowledged.iter().collect::<Vec<_>>());
    assert!(found.len() <= acknowledged.len() + 1);
    takes(&store, found.iter().map(|key| "o ".len() + key.len()).sum()).await;
}

/// Removes and replaces while the disk fails, and checks that nothing is counted that is gone.
async fn forgets(writes: i64, syncs: i64) {
    let (store, fail) = failing();
    for number in 0..20 {
        store.append(from(ONE, entry("m", "o", &number.to_string()))).await.unwrap();
    }
    fail(writes, syncs);
    let mut failures = 0;
    for number in 1..=20 {
        while store.remove(&name("m"), number).await.is_err() {
            failures += 1;
        }
        while store.keep(Document::Keys, &name("m"), vec![0; number as usize], address(ONE)).await.is_err() {
            failures += 1;
        }
    }
    assert_eq!(failures, 1, "one failure costs one transaction ({writes}, {syncs})");
    takes(&store, 20).await;
}

#[tokio::test]
async fn a_failed_write_or_sync_is_reported_and_loses_nothing_that_was_acknowledged() {
    for n in 0..40 {
        survives(n, NEVER).await;
        forgets(n, NEVER).await;
    }
    for n in 0..12 {
        survives(NEVER, n).await;
        forgets(NEVER, n).await;
    }
}
