//! The store: order, quotas, expiry, and a disk that fails.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use redb::{Database, StorageBackend, TableDefinition, backends::InMemoryBackend};

use super::*;

const DAY: u64 = 24 * 3_600_000;

fn quotas() -> Quotas {
    Quotas { mailbox: Quota { entries: 8, bytes: 800 }, origin: Quota { entries: 6, bytes: 600 }, retention_ms: DAY, total_bytes: 2000 }
}

fn name(name: &str) -> OwnedServerName {
    ServerName::parse(name).unwrap()
}

fn entry(mailbox: &str, origin: &str, key: &str) -> NewEntry {
    let request = format!("{origin} {key}").into_bytes();
    NewEntry { mailbox: name(mailbox), origin: name(origin), key: key.into(), request, content: Content::default(), received: 0 }
}

fn store() -> Disk {
    Disk::on(|| Ok(InMemoryBackend::new()), quotas()).unwrap()
}

/// The keys of what waits in a mailbox.
async fn waiting(store: &Disk, mailbox: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), 0);
    while let Some(entry) = store.next(&name(mailbox), after).await.unwrap() {
        after = entry.id;
        found.push(String::from_utf8(entry.request).unwrap().rsplit(' ').next().unwrap().to_owned());
    }
    found
}

#[tokio::test]
async fn what_is_stored_comes_back_in_order_until_it_is_removed() {
    let store = store();
    for key in ["1", "2", "3"] {
        assert_eq!(store.append(entry("m", "o", key)).await, Ok(Appended::Stored));
    }
    assert_eq!(store.append(entry("m", "o", "2")).await, Ok(Appended::Known));
    assert_eq!(store.append(entry("m", "p", "2")).await, Ok(Appended::Stored));
    assert_eq!(store.append(entry("n", "o", "2")).await, Ok(Appended::Stored));
    assert_eq!(waiting(&store, "m").await, ["1", "2", "3", "2"]);
    store.remove(&name("m"), 2).await.unwrap();
    assert_eq!(waiting(&store, "m").await, ["1", "3", "2"]);
    // Once it is gone, it may come again, under another number.
    assert_eq!(store.append(entry("m", "o", "2")).await, Ok(Appended::Stored));
    assert_eq!(store.next(&name("m"), 4).await.unwrap().unwrap().id, 5);
}

#[tokio::test]
async fn removing_touches_one_mailbox() {
    let store = store();
    store.append(entry("m", "o", "1")).await.unwrap();
    store.append(entry("n", "o", "1")).await.unwrap();
    store.remove(&name("m"), 1).await.unwrap();
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!((waiting(&store, "m").await.len(), waiting(&store, "n").await.len()), (0, 1));
}

#[tokio::test]
async fn quotas_hold_for_mailbox_share_and_sender() {
    let store = store();
    for key in ["1", "2", "3", "4"] {
        store.append(entry("m", "o", key)).await.unwrap();
    }
    assert_eq!(store.append(entry("m", "o", "5")).await, Err(StoreError::Full("the sender's share of the mailbox")));
    store.append(entry("n", "o", "1")).await.unwrap();
    store.append(entry("n", "o", "2")).await.unwrap();
    assert_eq!(store.append(entry("n", "o", "3")).await, Err(StoreError::Full("the sender's quota")));
    for key in ["1", "2", "3", "4"] {
        store.append(entry("m", "p", key)).await.unwrap();
    }
    assert_eq!(store.append(entry("m", "q", "1")).await, Err(StoreError::Full("the mailbox")));
    // What is taken makes room.
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(store.append(entry("m", "q", "1")).await, Ok(Appended::Stored));
    let large = NewEntry { request: vec![0; 401], ..entry("x", "y", "1") };
    assert_eq!(store.append(large).await, Err(StoreError::Full("the sender's share of the mailbox")));
}

#[tokio::test]
async fn senders_take_turns() {
    let store = store();
    for (origin, key) in [("b", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")] {
        store.append(entry("m", origin, key)).await.unwrap();
    }
    // Others' mailboxes are not looked into, in front of this one or behind it.
    store.append(entry("l", "z", "6")).await.unwrap();
    store.append(entry("n", "d", "7")).await.unwrap();
    let turn = async |after: &str, but_not: &[&str]| {
        let but_not = but_not.iter().map(|origin| name(origin)).collect();
        store.turn(&name("m"), after, but_not).await.unwrap().map(|entry| (entry.origin.to_string(), entry.id))
    };
    let found = |origin: &str, id| Some((origin.to_owned(), id));
    assert_eq!(turn("", &[]).await, found("a", 3));
    assert_eq!(turn("a", &[]).await, found("b", 1));
    assert_eq!(turn("a", &["b"]).await, found("c", 4));
    assert_eq!(turn("c", &[]).await, found("a", 3));
    assert_eq!(turn("b", &["a", "c"]).await, found("b", 1));
    assert_eq!(turn("b", &["a", "b", "c"]).await, None);
    assert_eq!(store.first(&name("m"), &name("b")).await.unwrap().unwrap().id, 1);
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(turn("a", &[]).await, found("b", 2));
    store.remove(&name("m"), 2).await.unwrap();
    assert_eq!(turn("a", &[]).await, found("c", 4));
    assert!(store.first(&name("m"), &name("b")).await.unwrap().is_none());
    assert_eq!(store.expire(DAY + 1).await, Ok(5));
    assert_eq!(turn("", &[]).await, None);
}

#[tokio::test]
async fn of_an_empty_mailbox_nothing_is_left_and_its_numbers_are_not_used_again() {
    let store = store();
    let usage = async || store.usage().await.unwrap();
    store.append(entry("m", "o", "1")).await.unwrap();
    store.append(entry("m", "o", "2")).await.unwrap();
    store.append(entry("n", "o", "1")).await.unwrap();
    assert_eq!(usage().await, Usage { mailboxes: 2, entries: 3, bytes: 9 });
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(usage().await, Usage { mailboxes: 2, entries: 2, bytes: 6 });
    store.remove(&name("m"), 2).await.unwrap();
    assert_eq!(usage().await, Usage { mailboxes: 1, entries: 1, bytes: 3 });
    // Who says once more what it has taken removes nothing.
    store.append(entry("m", "o", "3")).await.unwrap();
    store.remove(&name("m"), 1).await.unwrap();
    store.remove(&name("m"), 2).await.unwrap();
    assert_eq!(waiting(&store, "m").await, ["3"]);
    assert_eq!(store.expire(DAY + 1).await, Ok(2));
    assert_eq!(usage().await, Usage::default());
    assert_eq!(store.waiting(&name("m"), &name("o")).await, Ok(0));
}

#[tokio::test]
async fn what_is_of_no_use_expires_first() {
    let store = store();
    store
        .append(NewEntry { content: Content { lifetime: Some(60_000), ..Content::default() }, ..entry("m", "o", "typing") })
        .await
        .unwrap();
    store.append(entry("m", "o", "message")).await.unwrap();
    assert_eq!(store.expire(60_000).await, Ok(0));
    assert_eq!(store.expire(60_001).await, Ok(1));
    assert_eq!(waiting(&store, "m").await, ["message"]);
    assert_eq!(store.expire(DAY).await, Ok(0));
    assert_eq!(store.expire(DAY + 1).await, Ok(1));
}

#[tokio::test]
async fn the_latest_receipt_replaces_older_ones() {
    let store = store();
    let receipts = |key: &str, receipts: &[&str], only_receipts| NewEntry {
        content: Content { receipts: receipts.iter().map(|&each| each.into()).collect(), only_receipts, lifetime: None },
        ..entry("m", "o", key)
    };
    store.append(receipts("1", &["a", "b"], true)).await.unwrap();
    store.append(receipts("2", &["a"], false)).await.unwrap();
    assert_eq!(waiting(&store, "m").await, ["1", "2"]);
    store.append(receipts("3", &["b"], true)).await.unwrap();
    assert_eq!(waiting(&store, "m").await, ["2", "3"]);
    // One that holds more than receipts stays, and another sender's replaces nothing.
    store.append(receipts("4", &["a"], true)).await.unwrap();
    store.append(NewEntry { origin: name("p"), ..receipts("5", &["a", "b"], true) }).await.unwrap();
    assert_eq!(waiting(&store, "m").await, ["2", "3", "4", "5"]);
}

#[tokio::test]
async fn the_last_document_of_a_kind_is_kept() {
    let store = store();
    assert_eq!(store.document(Document::Keys, &name("m")).await, Ok(None));
    store.keep(Document::Keys, &name("m"), b"1".to_vec()).await.unwrap();
    store.keep(Document::Keys, &name("m"), b"2".to_vec()).await.unwrap();
    assert_eq!(store.document(Document::Keys, &name("m")).await, Ok(Some(b"2".to_vec())));
    assert_eq!(store.document(Document::Record, &name("m")).await, Ok(None));
}

#[tokio::test]
async fn what_a_server_leaves_is_kept_as_long_as_it_comes_back() {
    let store = store();
    let server = name("m");
    store.see(&server, 0).await.unwrap();
    store.keep(Document::Keys, &server, b"keys".to_vec()).await.unwrap();
    store.see(&server, DAY / 2).await.unwrap();
    assert_eq!(store.expire(DAY + 1).await, Ok(0));
    assert_eq!(store.seen(&server).await, Ok(Some(DAY / 2)));
    assert_eq!(store.expire(DAY / 2 + DAY + 1).await, Ok(0));
    assert_eq!((store.seen(&server).await, store.document(Document::Keys, &server).await), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn servers_that_leave_nothing_have_a_limit_too() {
    let store = store();
    for server in ["a", "b", "c"] {
        store.see(&name(server), 0).await.unwrap();
    }
    assert_eq!(store.see(&name("d"), 0).await, Err(StoreError::Full("the relay")));
    // Who was here comes back.
    store.see(&name("a"), DAY / 2).await.unwrap();
    assert_eq!(store.expire(DAY + 1).await, Ok(0));
    store.see(&name("d"), DAY).await.unwrap();
}

#[tokio::test]
async fn all_together_have_a_limit_too() {
    let store = store();
    store.keep(Document::Profiles, &name("m"), vec![0; 1995]).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "1234")).await, Err(StoreError::Full("the relay")));
    assert_eq!(store.keep(Document::Keys, &name("m"), vec![0; 10]).await, Err(StoreError::Full("the relay")));
    // What takes the place of something larger frees room, and so does what is taken.
    store.keep(Document::Profiles, &name("m"), vec![0; 1990]).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "1234")).await, Ok(Appended::Stored));
    assert_eq!(store.append(entry("m", "o", "12345")).await, Err(StoreError::Full("the relay")));
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "12345")).await, Ok(Appended::Stored));
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.redb");
    let store = Disk::open(&file, quotas()).unwrap();
    store.append(entry("m", "o", "1")).await.unwrap();
    drop(store);
    let store = Disk::open(&file, quotas()).unwrap();
    assert_eq!(waiting(&store, "m").await, ["1"]);
    assert_eq!(store.append(entry("m", "o", "1")).await, Ok(Appended::Known));
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_filled_up() {
    const QUEUES: TableDefinition<'_, (&str, &str, u64), ()> = TableDefinition::new("queues");
    const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
    const MAILBOXES: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("mailboxes");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.redb");
    let store = Disk::open(&file, quotas()).unwrap();
    store.append(entry("m", "o", "1")).await.unwrap();
    store.append(entry("m", "p", "2")).await.unwrap();
    drop(store);
    let database = Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(QUEUES).unwrap() && transaction.delete_table(COUNTERS).unwrap());
    // Such versions kept the last number of every mailbox.
    transaction.open_table(MAILBOXES).unwrap().insert("emptied", (0, 0, 7)).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let store = Disk::open(&file, quotas()).unwrap();
    assert_eq!(store.usage().await.unwrap(), Usage { mailboxes: 1, entries: 2, bytes: 6 });
    assert_eq!(store.turn(&name("m"), "o", BTreeSet::new()).await.unwrap().unwrap().id, 2);
    store.append(entry("emptied", "o", "3")).await.unwrap();
    assert_eq!(store.next(&name("emptied"), 0).await.unwrap().unwrap().id, 8);
}

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

/// Appends while the disk fails at the `n`th write or sync, and checks that what was acknowledged is there afterwards.
async fn survives(writes: i64, syncs: i64) {
    const NEVER: i64 = i64::MAX;
    let disk = Arc::new(InMemoryBackend::new());
    let (writes_left, syncs_left) = (Arc::new(AtomicI64::new(NEVER)), Arc::new(AtomicI64::new(NEVER)));
    let (here, w, s) = (disk.clone(), writes_left.clone(), syncs_left.clone());
    let backend = move || Ok(Failing { disk: here.clone(), writes_left: w.clone(), syncs_left: s.clone() });
    let generous = Quota { entries: 1000, bytes: 1 << 20 };
    let store = Disk::on(backend, Quotas { mailbox: generous, origin: generous, total_bytes: 1 << 20, ..quotas() }).unwrap();
    writes_left.store(writes, Ordering::SeqCst);
    syncs_left.store(syncs, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    let mut failures = 0;
    for number in 0..30 {
        match store.append(entry("m", "o", &number.to_string())).await {
            Ok(_) => acknowledged.push(number.to_string()),
            Err(_) => failures += 1,
        }
    }
    assert_eq!(failures, 1, "one failure costs one transaction ({writes}, {syncs})");
    let found = waiting(&store, "m").await;
    // What failed may be there nevertheless; nothing else is missing or out of order.
    assert_eq!(found.iter().filter(|key| acknowledged.contains(key)).collect::<Vec<_>>(), acknowledged.iter().collect::<Vec<_>>());
    assert!(found.len() <= acknowledged.len() + 1);
}

#[tokio::test]
async fn a_failed_write_or_sync_is_reported_and_loses_nothing_that_was_acknowledged() {
    for n in 0..40 {
        survives(n, i64::MAX).await;
    }
    for n in 0..12 {
        survives(i64::MAX, n).await;
    }
}
