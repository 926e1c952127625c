//! Databases of other versions: older ones are brought up to date, newer ones are refused with a reason.

use inglenook::{
    ports::{Store, StoreError},
    storage::{Batch, Key, Migration, Scan, Table},
    wasm::IndexedDbStore,
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::fresh_name;

const OLDER: &[Migration] = &[Migration { version: 1, adds: &[Table::Meta, Table::Log] }];
const NEWER: &[Migration] = &[
    Migration { version: 1, adds: &[Table::Meta, Table::Log] },
    Migration { version: 2, adds: &[Table::Heads] },
    Migration { version: 5, adds: &[Table::Events, Table::Media] },
];

fn batch(table: Table) -> Batch {
    let mut batch = Batch::new();
    batch.put(Key::new(table).text("row"), "kept");
    batch
}

#[wasm_bindgen_test]
async fn a_database_of_an_older_version_is_brought_up_to_date() {
    let name = fresh_name();
    let older = IndexedDbStore::open_with(&name, OLDER).await.expect("opens");
    older.commit(batch(Table::Log)).await.expect("commits");
    drop(older);
    let newer = IndexedDbStore::open_with(&name, NEWER).await.expect("opens");
    let rows = newer.scan(&Scan::prefix(Key::new(Table::Log))).await.expect("scans");
    assert_eq!(rows.len(), 1, "rows are lost");
    for table in [Table::Heads, Table::Events, Table::Media] {
        newer.commit(batch(table)).await.expect("commits to an added table");
    }
}

#[wasm_bindgen_test]
async fn a_database_of_a_newer_version_is_refused_with_a_reason() {
    let name = fresh_name();
    drop(IndexedDbStore::open_with(&name, NEWER).await.expect("opens"));
    let Err(StoreError::Failed(reason)) = IndexedDbStore::open_with(&name, OLDER).await else { panic!("an older version opened it") };
    assert!(reason.contains("newer version of Inglenook"), "unclear: {reason}");
}

#[wasm_bindgen_test]
async fn an_open_database_gives_way_to_a_newer_version() {
    let name = fresh_name();
    let older = IndexedDbStore::open_with(&name, OLDER).await.expect("opens");
    assert!(!older.is_closed());
    let newer = IndexedDbStore::open_with(&name, NEWER).await.expect("is not blocked");
    assert!(older.is_closed());
    assert!(older.commit(batch(Table::Log)).await.is_err(), "a closed connection still writes");
    newer.commit(batch(Table::Media)).await.expect("commits");
}
