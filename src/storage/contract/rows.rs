//! Clauses about single rows: what is put is read, until it is overwritten or removed.

use super::{Ground, batch, log};
use crate::{
    ports::TableUsage,
    storage::{Batch, Key, Table},
};

/// Rows come in the order of the keys, over tables, and what is missing is `None`.
pub async fn rows_come_in_the_order_asked(ground: &impl Ground) {
    let store = ground.open().await;
    let (one, two, other) = (log(b"1"), log(b"2"), Key::new(Table::Heads).raw(b"1"));
    assert_eq!(store.commit(batch(&[(one.clone(), b"a"), (two.clone(), b"b"), (other.clone(), b"c")])).await, Ok(()));
    let read = store.get_many(&[two.clone(), log(b"missing"), other, one, two]).await;
    let value = |value: &str| Some(value.as_bytes().to_vec());
    assert_eq!(read, Ok(vec![value("b"), None, value("c"), value("a"), value("b")]));
}

/// No keys, no values; no writes, no failure.
pub async fn asking_for_nothing_answers_nothing(ground: &impl Ground) {
    let store = ground.open().await;
    assert_eq!(store.get_many(&[]).await, Ok(vec![]));
    assert_eq!(store.commit(Batch::new()).await, Ok(()));
}

/// A put replaces, a delete removes, and deleting what is not there is no error. Relaxed or strict makes no difference to that.
pub async fn a_put_overwrites_and_a_delete_removes(ground: &impl Ground) {
    let store = ground.open().await;
    let keys = [log(b"1")];
    assert_eq!(store.commit(batch(&[(log(b"1"), b"a")])).await, Ok(()));
    let mut again = Batch::relaxed();
    again.put(log(b"1"), "b");
    assert_eq!(store.commit(again).await, Ok(()));
    assert_eq!(store.get_many(&keys).await, Ok(vec![Some(b"b".to_vec())]));
    for _ in 0..2 {
        let mut removal = Batch::new();
        removal.delete(log(b"1"));
        assert_eq!(store.commit(removal).await, Ok(()));
        assert_eq!(store.get_many(&keys).await, Ok(vec![None]));
    }
}

/// Within one batch the order of the writes decides.
pub async fn the_later_write_of_a_batch_wins(ground: &impl Ground) {
    let store = ground.open().await;
    let mut batch = Batch::new();
    batch.put(log(b"1"), "first");
    batch.put(log(b"2"), "gone");
    batch.put(Key::new(Table::Heads), "between");
    batch.put(log(b"1"), "second");
    batch.delete(log(b"2"));
    batch.delete(log(b"3"));
    batch.put(log(b"3"), "back");
    assert_eq!(store.commit(batch).await, Ok(()));
    let read = store.get_many(&[log(b"1"), log(b"2"), log(b"3")]).await;
    assert_eq!(read, Ok(vec![Some(b"second".to_vec()), None, Some(b"back".to_vec())]));
}

/// A value may be empty, and a key may be, or hold any byte.
pub async fn empty_values_and_odd_keys_are_kept(ground: &impl Ground) {
    let store = ground.open().await;
    let keys = [log(b""), log(&[0]), log(&[0, 0]), log(&[0xff]), log(&[0xff, 0xff, 0]), log("ü".as_bytes())];
    let rows: Vec<_> = keys.iter().map(|key| (key.clone(), key.bytes.as_slice())).collect();
    assert_eq!(store.commit(batch(&rows)).await, Ok(()));
    let values = keys.iter().map(|key| Some(key.bytes.clone())).collect();
    assert_eq!(store.get_many(&keys).await, Ok(values));
}

/// A value of 1 MiB comes back byte for byte.
pub async fn large_values_are_kept(ground: &impl Ground) {
    let store = ground.open().await;
    let value: Vec<u8> = (0..1_u32 << 20).map(|index| (index % 251) as u8).collect();
    assert_eq!(store.commit(batch(&[(log(b"1"), &value)])).await, Ok(()));
    let read = store.get_many(&[log(b"1")]).await;
    assert!(read == Ok(vec![Some(value)]), "a value of 1 MiB comes back changed");
}

/// A batch of 2,000 rows is kept, and read back by as many keys.
pub async fn large_batches_are_kept(ground: &impl Ground) {
    let store = ground.open().await;
    let keys: Vec<_> = (0..2_000).map(|number| Key::new(Table::Log).number(number)).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.clone(), key.bytes.as_slice())).collect();
    assert_eq!(store.commit(batch(&rows)).await, Ok(()));
    let values = keys.iter().map(|key| Some(key.bytes.clone())).collect();
    assert!(store.get_many(&keys).await == Ok(values), "2,000 rows come back changed");
}

/// Usage names each table with its rows and their bytes.
pub async fn usage_counts_rows_and_bytes(ground: &impl Ground) {
    let store = ground.open().await;
    assert_eq!(store.commit(batch(&[(log(b"1"), b"abc"), (log(b"22"), b"")])).await, Ok(()));
    for counted in [true, false] {
        let usage = store.usage(counted).await.unwrap_or_default();
        let table = |table: Table, rows, bytes| TableUsage { name: table.name(), rows, bytes: counted.then_some(bytes) };
        assert!(usage.contains(&table(Table::Log, 2, 6)), "wrong: {usage:?}");
        assert!(usage.contains(&table(Table::Heads, 0, 0)), "wrong: {usage:?}");
    }
}
