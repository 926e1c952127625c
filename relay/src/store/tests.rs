//! The store: order, quotas and expiry.

mod faults;

use std::collections::BTreeSet;

use redb::{Database, TableDefinition, backends::InMemoryBackend};

use super::*;

const DAY: u64 = 24 * 3_600_000;

fn quotas() -> Quotas {
    Quotas {
        mailbox: Quota { entries: 8, bytes: 800 },
        origin: Quota { entries: 6, bytes: 600 },
        retention_ms: DAY,
        total_bytes: 2000,
        address_bytes: 0,
    }
}

fn name(name: &str) -> OwnedServerName {
    ServerName::parse(name).unwrap()
}

fn entry(mailbox: &str, origin: &str, key: &str) -> NewEntry {
    let request = format!("{origin} {key}").into_bytes();
    NewEntry {
        mailbox: name(mailbox),
        origin: name(origin),
        key: key.into(),
        request,
        content: Content::default(),
        received: 0,
        from: None,
    }
}

fn store() -> Disk {
    Disk::on(|| Ok(InMemoryBackend::new()), quotas()).unwrap()
}

/// With room in each mailbox.
fn roomy(address_bytes: u64) -> Quotas {
    let generous = Quota { entries: 1000, bytes: 1 << 20 };
    Quotas { mailbox: generous, origin: generous, total_bytes: 1 << 20, address_bytes, ..quotas() }
}

/// Of which one address has so many bytes.
fn store_with(address_bytes: u64) -> Disk {
    Disk::on(|| Ok(InMemoryBackend::new()), Quotas { address_bytes, total_bytes: 1 << 30, ..quotas() }).unwrap()
}

const ONE: &str = "1.1.1.1";
const OTHER: &str = "1.1.1.2";
const SHARE: StoreError = StoreError::Full("the address's share of the relay");
const PART: StoreError = StoreError::Full("the address's part of the mailbox");

fn address(text: &str) -> Option<Address> {
    Address::of(text.parse().unwrap())
}

/// The same, brought from there.
fn from(text: &str, entry: NewEntry) -> NewEntry {
    NewEntry { from: address(text), ..entry }
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
async fn an_address_has_a_share_by_whatever_names_and_gets_it_back() {
    let store = store_with(12);
    let append = async |address: &str, name: &str| store.append(from(address, entry(name, name, "1"))).await;
    let fills = async |address: &str| {
        for name in ["a", "b", "c", "d"] {
            assert_eq!(append(address, name).await, Ok(Appended::Stored), "{address} {name}");
        }
        assert_eq!(append(address, "e").await, Err(SHARE), "{address}");
    };
    fills(ONE).await;
    // The same again is no more, and others have what is theirs.
    assert_eq!(append(ONE, "a").await, Ok(Appended::Known));
    assert_eq!(append(OTHER, "e").await, Ok(Appended::Stored));
    assert_eq!(append("127.0.0.1", "f").await, Ok(Appended::Stored));
    // What is taken makes room, for as much.
    store.remove(&name("b"), 1).await.unwrap();
    store.remove(&name("b"), 1).await.unwrap();
    assert_eq!(append(ONE, "g").await, Ok(Appended::Stored));
    assert_eq!(append(ONE, "h").await, Err(SHARE));
    // And so does what nobody took.
    assert_eq!(store.expire(DAY + 1).await, Ok(6));
    fills(ONE).await;
}

#[tokio::test]
async fn what_is_replaced_counts_no_more() {
    // A receipt has a row, which is much more than what it comes in.
    let store = Disk::on(|| Ok(InMemoryBackend::new()), roomy(2 * (3 + 256))).unwrap();
    let content = Content { receipts: vec!["a".into()], only_receipts: true, lifetime: None };
    for key in ["1", "2", "3", "4"] {
        let receipt = NewEntry { content: content.clone(), ..entry("m", "o", key) };
        assert_eq!(store.append(from(ONE, receipt)).await, Ok(Appended::Stored), "{key}");
    }
    assert_eq!(store.append(from(ONE, entry("n", "o", &"x".repeat(258)))).await, Err(SHARE));
    assert_eq!(store.append(from(ONE, entry("n", "o", &"x".repeat(257)))).await, Ok(Appended::Stored));
}

#[tokio::test]
async fn an_address_has_a_part_of_a_mailbox_by_whatever_names() {
    let store = store();
    for origin in ["a", "b"] {
        assert_eq!(store.append(from(ONE, entry("m", origin, "1"))).await, Ok(Appended::Stored));
    }
    assert_eq!(store.append(from(ONE, entry("m", "c", "1"))).await, Err(PART));
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(store.append(from(ONE, entry("m", "c", "1"))).await, Ok(Appended::Stored));
    for (address, mailbox) in [(ONE, "n"), (OTHER, "m"), ("127.0.0.1", "m")] {
        assert_eq!(store.append(from(address, entry(mailbox, "d", address))).await, Ok(Appended::Stored), "{address} {mailbox}");
        assert_eq!(store.append(from(address, entry(mailbox, "e", address))).await, Ok(Appended::Stored), "{address} {mailbox}");
    }
    let large = |bytes| from(ONE, NewEntry { request: vec![0; bytes], ..entry("x", "y", "1") });
    assert_eq!(store.append(large(201)).await, Err(PART));
    assert_eq!(store.append(large(200)).await, Ok(Appended::Stored));
}

#[tokio::test]
async fn a_network_has_as_much_as_two_addresses() {
    let store = store_with(6);
    let append = async |address: &str, mailbox: &str, origin: &str| store.append(from(address, entry(mailbox, origin, "1"))).await;
    for (network, origin) in [("1", "a"), ("1", "b"), ("2", "c"), ("2", "d")] {
        assert_eq!(append(&format!("2a00:1:2:{network}::1"), "m", origin).await, Ok(Appended::Stored));
    }
    assert_eq!(append("2a00:1:2:3::1", "m", "e").await, Err(PART));
    assert_eq!(append("2a00:1:2:3::1", "n", "e").await, Err(SHARE));
    assert_eq!(append("2a00:1:3:3::1", "m", "e").await, Ok(Appended::Stored));
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(append("2a00:1:2:3::1", "m", "f").await, Ok(Appended::Stored));
}

/// Lets addresses bring what they can, by many names, and says what one more is told that brings a single request.
async fn after_many(addresses: usize, store: &Disk, mailbox: impl Fn(usize) -> String) -> Result<Appended, StoreError> {
    let bring = async |address: usize, key: usize| {
        let request = NewEntry { request: vec![0; 100], ..entry(&mailbox(address), &format!("o{address}.{key}"), "1") };
        store.append(from(&format!("1.1.2.{address}"), request)).await
    };
    for address in 0..addresses {
        for key in 0.. {
            if bring(address, key).await.is_err() {
                break;
            }
        }
    }
    bring(addresses, 0).await
}

#[tokio::test]
async fn many_addresses_together_leave_room_for_one_more() {
    // Twenty could fill it, if each had its share whatever the others hold.
    let relay = Disk::on(|| Ok(InMemoryBackend::new()), Quotas { total_bytes: 20_000, ..roomy(1_000) }).unwrap();
    assert_eq!(after_many(40, &relay, |address| format!("m{address}")).await, Ok(Appended::Stored));
    // And four a mailbox.
    let mailbox = Quota { entries: 200, bytes: 1 << 20 };
    let mailbox_of_entries = Disk::on(|| Ok(InMemoryBackend::new()), Quotas { mailbox, ..roomy(0) }).unwrap();
    assert_eq!(after_many(12, &mailbox_of_entries, |_| "m".into()).await, Ok(Appended::Stored));
    let mailbox = Quota { entries: 1_000, bytes: 40_000 };
    let mailbox_of_bytes = Disk::on(|| Ok(InMemoryBackend::new()), Quotas { mailbox, ..roomy(0) }).unwrap();
    assert_eq!(after_many(12, &mailbox_of_bytes, |_| "m".into()).await, Ok(Appended::Stored));
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
    let store = Disk::on(|| Ok(InMemoryBackend::new()), roomy(0)).unwrap();
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
    store.keep(Document::Keys, &name("m"), b"1".to_vec(), None).await.unwrap();
    store.keep(Document::Keys, &name("m"), b"2".to_vec(), None).await.unwrap();
    assert_eq!(store.document(Document::Keys, &name("m")).await, Ok(Some(b"2".to_vec())));
    assert_eq!(store.document(Document::Record, &name("m")).await, Ok(None));
}

#[tokio::test]
async fn what_a_server_leaves_is_kept_as_long_as_it_comes_back() {
    let store = store();
    let server = name("m");
    store.see(&server, 0, None).await.unwrap();
    store.keep(Document::Keys, &server, b"keys".to_vec(), None).await.unwrap();
    store.see(&server, DAY / 2, None).await.unwrap();
    assert_eq!(store.expire(DAY + 1).await, Ok(0));
    assert_eq!(store.seen(&server).await, Ok(Some(DAY / 2)));
    assert_eq!(store.expire(DAY / 2 + DAY + 1).await, Ok(0));
    assert_eq!((store.seen(&server).await, store.document(Document::Keys, &server).await), (Ok(None), Ok(None)));
}

#[tokio::test]
async fn what_is_left_counts_for_who_has_brought_it() {
    // Room for two nodes, and a bit.
    let store = store_with(1100);
    let see = async |server: &str, now, from| store.see(&name(server), now, address(from)).await;
    let leave = async |server: &str, bytes, from| store.keep(Document::Keys, &name(server), vec![0; bytes], address(from)).await;
    for server in ["a", "b"] {
        see(server, 0, ONE).await.unwrap();
        see(server, 0, ONE).await.unwrap();
    }
    assert_eq!((see("c", 0, ONE).await, store.seen(&name("c")).await), (Err(SHARE), Ok(None)));
    leave("a", 76, ONE).await.unwrap();
    leave("a", 76, ONE).await.unwrap();
    assert_eq!((leave("a", 77, ONE).await, leave("b", 1, ONE).await), (Err(SHARE), Err(SHARE)));
    assert_eq!(store.document(Document::Keys, &name("a")).await, Ok(Some(vec![0; 76])));
    // Who comes from elsewhere counts there.
    see("a", 1, OTHER).await.unwrap();
    assert_eq!((see("c", 1, ONE).await, see("d", 1, ONE).await), (Ok(()), Err(SHARE)));
    see("d", 1, OTHER).await.unwrap();
    // Where there is no room for it, who was here comes back nevertheless, and counts where it did.
    see("b", 2, OTHER).await.unwrap();
    assert_eq!((see("e", 2, ONE).await, see("e", 2, OTHER).await), (Err(SHARE), Err(SHARE)));
    leave("a", 1, OTHER).await.unwrap();
    assert_eq!(leave("b", 76, ONE).await, Ok(()));
    // What is forgotten counts no more.
    assert_eq!(store.expire(DAY + 3).await, Ok(0));
    for (server, from) in [("e", ONE), ("f", ONE), ("g", OTHER), ("h", OTHER)] {
        see(server, DAY, from).await.unwrap();
    }
    assert_eq!((leave("e", 76, ONE).await, leave("e", 77, ONE).await), (Ok(()), Err(SHARE)));
}

#[tokio::test]
async fn servers_that_leave_nothing_have_a_limit_too() {
    let store = store();
    for server in ["a", "b", "c"] {
        store.see(&name(server), 0, None).await.unwrap();
    }
    assert_eq!(store.see(&name("d"), 0, None).await, Err(StoreError::Full("the relay")));
    // Who was here comes back.
    store.see(&name("a"), DAY / 2, None).await.unwrap();
    assert_eq!(store.expire(DAY + 1).await, Ok(0));
    store.see(&name("d"), DAY, None).await.unwrap();
}

#[tokio::test]
async fn all_together_have_a_limit_too() {
    let store = store();
    store.keep(Document::Profiles, &name("m"), vec![0; 1995], None).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "1234")).await, Err(StoreError::Full("the relay")));
    assert_eq!(store.keep(Document::Keys, &name("m"), vec![0; 10], None).await, Err(StoreError::Full("the relay")));
    // What takes the place of something larger frees room, and so does what is taken.
    store.keep(Document::Profiles, &name("m"), vec![0; 1990], None).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "1234")).await, Ok(Appended::Stored));
    assert_eq!(store.append(entry("m", "o", "12345")).await, Err(StoreError::Full("the relay")));
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(store.append(entry("m", "o", "12345")).await, Ok(Appended::Stored));
}

#[tokio::test]
async fn what_was_stored_is_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.redb");
    let quotas = Quotas { address_bytes: 3 + 512, ..quotas() };
    let store = Disk::open(&file, quotas).unwrap();
    store.append(from(ONE, entry("m", "o", "1"))).await.unwrap();
    store.see(&name("m"), 0, address(ONE)).await.unwrap();
    drop(store);
    let store = Disk::open(&file, quotas).unwrap();
    assert_eq!(waiting(&store, "m").await, ["1"]);
    assert_eq!(store.append(from(ONE, entry("m", "o", "1"))).await, Ok(Appended::Known));
    // What counts for an address still does, once, until it is gone.
    assert_eq!(store.append(from(ONE, entry("m", "o", "2"))).await, Err(SHARE));
    store.remove(&name("m"), 1).await.unwrap();
    assert_eq!(store.append(from(ONE, entry("m", "o", "2"))).await, Ok(Appended::Stored));
    assert_eq!(store.see(&name("n"), 0, address(ONE)).await, Err(SHARE));
    assert_eq!(store.expire(DAY + 1).await, Ok(1));
    assert_eq!(store.see(&name("n"), DAY, address(ONE)).await, Ok(()));
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_filled_up() {
    const QUEUES: TableDefinition<'_, (&str, &str, u64), ()> = TableDefinition::new("queues");
    const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
    const MAILBOXES: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("mailboxes");
    const ADDRESSES: TableDefinition<'_, &str, u64> = TableDefinition::new("addresses");
    const PARTS: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("parts");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.redb");
    let store = Disk::open(&file, quotas()).unwrap();
    store.append(entry("m", "o", "1")).await.unwrap();
    store.append(entry("m", "p", "2")).await.unwrap();
    drop(store);
    let database = Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(QUEUES).unwrap() && transaction.delete_table(COUNTERS).unwrap());
    assert!(transaction.delete_table(ADDRESSES).unwrap() && transaction.delete_table(PARTS).unwrap());
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
