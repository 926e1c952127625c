//! Databases of other versions: older ones are brought up to date, newer ones are refused with a reason.

use inglenook::{
    ports::{Store, StoreError},
    storage::{Batch, Key, MIGRATIONS, Migration, Scan, Table},
    wasm::IndexedDbStore,
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    fresh_name,
    node::{call, node_on},
};

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

/// A server's rows in a database as its first version made it, with the tables of that version alone.
async fn as_of_the_first_version(name: &str) -> String {
    let (store, first) = (IndexedDbStore::open(name).await.expect("opens"), fresh_name());
    let older = IndexedDbStore::open_with(&first, &MIGRATIONS[..1]).await.expect("opens");
    let mut batch = Batch::new();
    for table in MIGRATIONS[0].adds {
        for row in store.scan(&Scan::prefix(Key::new(*table))).await.expect("scans") {
            batch.put(Key::new(*table).raw(&row.key), row.value);
        }
    }
    older.commit(batch).await.expect("commits");
    first
}

#[wasm_bindgen_test]
async fn a_server_of_the_first_version_goes_on_with_todays() {
    let name = fresh_name();
    let node = node_on(&name).await;
    let account = r#"{"username":"ada","password":"correct horse battery","auth":{"type":"m.login.dummy"}}"#;
    let token = call(&node, "POST", "/_matrix/client/v3/register", account).await["access_token"].as_str().expect("registers").to_owned();
    let with_token = |path: &str| format!("/_matrix/client/v3/{path}?access_token={token}");
    let made = call(&node, "POST", &with_token("createRoom"), r#"{"name":"Kept"}"#).await;
    let room = made["room_id"].as_str().expect("makes a room");
    node.stop();
    let node = node_on(&as_of_the_first_version(&name).await).await;
    assert_eq!(call(&node, "GET", &with_token(&format!("rooms/{room}/state/m.room.name")), "").await["name"], "Kept");
    let sent = call(&node, "PUT", &with_token(&format!("rooms/{room}/send/m.room.message/1")), r#"{"body":"On"}"#).await;
    assert!(sent["event_id"].is_string(), "{sent}");
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
