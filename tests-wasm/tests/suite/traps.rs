//! What browsers do that a store must not fall for. Each test spoils or watches one call of the real code path.

use futures_util::FutureExt;
use inglenook::{
    ports::{Store, StoreError},
    storage::{Batch, Key, Table},
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{Patched, fresh_store, script};

fn log(number: u64) -> Key {
    Key::new(Table::Log).number(number)
}

fn batch(numbers: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::new();
    numbers.for_each(|number| batch.put(log(number), "x"));
    batch
}

/// In Firefox, half of such a batch stays on the disk if `commit()` was called on the transaction.
#[wasm_bindgen_test]
async fn a_put_that_fails_in_the_middle_leaves_nothing() {
    let store = fresh_store().await;
    store.commit(batch(0..1)).await.expect("commits");
    let failed = {
        // The fifth put becomes an `add` of a key that is there: the request is accepted, and fails.
        let _patched = Patched::new(
            "IDBObjectStore.prototype.put",
            "function (value, key) { self.puts = (self.puts ?? 0) + 1; return self.puts === 5 ? this.add(value, new Uint8Array(8)) : original.call(this, value, key); }",
        );
        script("self.puts = 0");
        store.commit(batch(1..11)).await
    };
    assert!(matches!(&failed, Err(StoreError::Failed(reason)) if reason.contains("ConstraintError")), "the reason is lost: {failed:?}");
    let keys: Vec<_> = (1..11).map(log).collect();
    assert_eq!(store.get_many(&keys).await, Ok(vec![None; 10]));
    store.commit(batch(1..11)).await.expect("the store goes on");
}

#[wasm_bindgen_test]
async fn a_put_that_throws_leaves_nothing() {
    let store = fresh_store().await;
    let failed = {
        let _patched = Patched::new(
            "IDBObjectStore.prototype.put",
            "function (value, key) { self.puts += 1; if (self.puts === 5) throw new DOMException('no', 'DataError'); return original.call(this, value, key); }",
        );
        script("self.puts = 0");
        store.commit(batch(1..11)).await
    };
    assert!(matches!(failed, Err(StoreError::Failed(_))));
    let keys: Vec<_> = (1..11).map(log).collect();
    assert_eq!(store.get_many(&keys).await, Ok(vec![None; 10]));
}

#[wasm_bindgen_test]
async fn commit_is_never_called_on_a_transaction() {
    let store = fresh_store().await;
    script("self.commits = 0");
    let _patched = Patched::new("IDBTransaction.prototype.commit", "function () { self.commits += 1; return original.call(this); }");
    store.claim().await.expect("claims");
    store.commit(batch(0..3)).await.expect("commits");
    assert_eq!(script("self.commits"), 0);
}

#[wasm_bindgen_test]
async fn commits_are_as_durable_as_asked() {
    let store = fresh_store().await;
    let _patched = Patched::new(
        "IDBDatabase.prototype.transaction",
        "function (stores, mode, options) { self.durability = options?.durability; return original.call(this, stores, mode, options); }",
    );
    store.commit(batch(0..1)).await.expect("commits");
    assert_eq!(script("self.durability"), "strict");
    store.commit(Batch::relaxed()).await.expect("commits");
    assert_eq!(script("self.durability"), "relaxed");
    store.claim().await.expect("claims");
    assert_eq!(script("self.durability"), "strict");
}

#[wasm_bindgen_test]
async fn a_commit_that_is_given_up_leaves_nothing() {
    let store = fresh_store().await;
    assert_eq!(store.commit(batch(0..5)).now_or_never(), None, "it was done before it could be given up");
    let keys: Vec<_> = (0..5).map(log).collect();
    assert_eq!(store.get_many(&keys).await, Ok(vec![None; 5]));
}

/// IndexedDB has no getter for the quota's exception that a test could provoke by itself: its name is what counts.
#[wasm_bindgen_test]
async fn a_full_quota_is_told_apart() {
    let store = fresh_store().await;
    let _patched = Patched::new("IDBObjectStore.prototype.put", "function () { throw new DOMException('full', 'QuotaExceededError'); }");
    assert_eq!(store.commit(batch(0..1)).await, Err(StoreError::QuotaExceeded));
}
