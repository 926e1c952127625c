//! Clauses about commits and instances: whole or nothing, one writer, and everything is found again.

use futures_util::{
    FutureExt,
    future::{join, join_all},
};

use super::{Ground, batch, log};
use crate::{
    ports::StoreError,
    storage::{Batch, Key, Scan, Table},
};

/// Whoever reads while a batch is committed sees all of it or nothing; afterwards, all.
pub async fn a_batch_is_seen_whole_or_not_at_all(ground: &impl Ground) {
    let store = ground.open().await;
    let keys = [log(b"1"), Key::new(Table::Heads).raw(b"2"), log(b"3")];
    let rows = keys.each_ref().map(|key| (key.clone(), b"x".as_slice()));
    let (committed, read) = join(store.commit(batch(&rows)), store.get_many(&keys)).await;
    assert_eq!(committed, Ok(()));
    let read = read.unwrap_or_default();
    assert!(read.iter().all(Option::is_some) || read.iter().all(Option::is_none), "half a batch was seen");
    let read = store.get_many(&keys).await.unwrap_or_default();
    assert!(read.len() == 3 && read.iter().all(Option::is_some), "a committed batch was not seen");
}

/// Reads that are under way together each get what they asked for, whichever of them are given up.
pub async fn concurrent_reads_are_told_apart(ground: &impl Ground) {
    let store = ground.open().await;
    let key = |number: u64| Key::new(Table::Log).number(number);
    let mut rows = Batch::new();
    (0..40).for_each(|number| rows.put(key(number), number.to_be_bytes()));
    rows.put(Key::new(Table::Heads), "head");
    assert_eq!(store.commit(rows).await, Ok(()));
    let read = |number: u64| {
        let store = &store;
        async move {
            let wanted = [key(number), Key::new(Table::Heads), key(number + 100), key(number + 1)];
            let bytes = |number: u64| Some(number.to_be_bytes().to_vec());
            assert_eq!(store.get_many(&wanted).await, Ok(vec![bytes(number), Some(b"head".to_vec()), None, bytes(number + 1)]));
            let behind = Scan::range(key(number), key(100));
            for (scan, first) in [(behind.clone().limited(2), number), (behind.reversed().limited(3), 39)] {
                assert_eq!(store.scan(&scan).await.unwrap_or_default().first().map(|row| row.value.clone()), bytes(first));
            }
        }
    };
    let given_up = store.get_many(&[key(1)]).now_or_never();
    assert!(given_up.is_none_or(|read| read.is_ok()));
    join_all((0..39).map(read)).await;
}

/// Commits that are under way together are all kept.
pub async fn concurrent_commits_are_all_kept(ground: &impl Ground) {
    let store = ground.open().await;
    let commits = (0..20).map(|number| {
        let mut batch = Batch::new();
        batch.put(Key::new(Table::Log).number(number), "x");
        batch.put(Key::new(Table::Heads), number.to_be_bytes());
        store.commit(batch)
    });
    assert!(join_all(commits).await.iter().all(Result::is_ok));
    let rows = store.scan(&Scan::prefix(Key::new(Table::Log))).await.unwrap_or_default();
    assert_eq!(rows.len(), 20);
    assert_eq!(store.get_many(&[Key::new(Table::Heads)]).await, Ok(vec![Some(19_u64.to_be_bytes().to_vec())]));
}

/// Once a later instance has claimed the database, the earlier one can read and not write; what it tried leaves nothing.
pub async fn a_superseded_instance_cannot_write(ground: &impl Ground) {
    let (first, second) = (ground.open().await, ground.open().await);
    assert_eq!(first.claim().await, Ok(()));
    assert_eq!(first.commit(batch(&[(log(b"1"), b"first")])).await, Ok(()));
    assert_eq!(second.claim().await, Ok(()));
    let late = batch(&[(log(b"1"), b"late"), (log(b"2"), b"late")]);
    assert_eq!(first.commit(late).await, Err(StoreError::Superseded));
    let expected = Ok(vec![Some(b"first".to_vec()), None]);
    assert_eq!(first.get_many(&[log(b"1"), log(b"2")]).await, expected);
    assert_eq!(second.get_many(&[log(b"1"), log(b"2")]).await, expected);
    assert_eq!(second.commit(batch(&[(log(b"2"), b"second")])).await, Ok(()));
    assert_eq!(first.claim().await, Ok(()));
    assert_eq!(first.commit(batch(&[(log(b"3"), b"again")])).await, Ok(()));
}

/// An instance that is opened when the others are gone finds what they committed.
pub async fn a_later_instance_finds_everything(ground: &impl Ground) {
    let first = ground.open().await;
    assert_eq!(first.claim().await, Ok(()));
    assert_eq!(first.commit(batch(&[(log(b"1"), b"a"), (Key::new(Table::Media), b"b")])).await, Ok(()));
    drop(first);
    let second = ground.open().await;
    let read = second.get_many(&[log(b"1"), Key::new(Table::Media)]).await;
    assert_eq!(read, Ok(vec![Some(b"a".to_vec()), Some(b"b".to_vec())]));
    assert_eq!(second.commit(batch(&[(log(b"2"), b"unclaimed")])).await, Err(StoreError::Superseded));
}
