//! The Node host's store, run in Node.js: the contract over LevelDB and over memory, and random commands beside the store in memory.

#![cfg(target_arch = "wasm32")]

use std::rc::Rc;

use futures_util::{FutureExt, future::LocalBoxFuture};
use inglenook::{
    ports::{Store, StoreError},
    storage::{
        Batch, Key, MemoryStore, Scan, Table,
        contract::{self, Ground},
    },
    wasm::{Host, HostStore},
};
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;

/// The host's module, and where its folders lie while a test runs.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../npm/host/store.mjs");
const FOLDERS: &str = env!("CARGO_TARGET_TMPDIR");

/// A database of the host. Its folder has one owner, so instances share what it opened.
struct Rows {
    host: Host,
    folder: String,
}

impl Rows {
    async fn on_disk() -> Self {
        Self::in_folder(&fresh_folder()).await
    }

    async fn in_memory() -> Self {
        Self::in_folder(":memory:").await
    }

    async fn in_folder(folder: &str) -> Self {
        let opened = eventually(&format!("import('file://{MODULE}').then((module) => module.openStore('{folder}'))")).await;
        Self { host: opened.unchecked_into(), folder: folder.to_owned() }
    }

    async fn close(&self) {
        js_sys::Reflect::set(&js_sys::global(), &"closing".into(), &self.host).expect("sets");
        eventually("globalThis.closing.close()").await;
    }

    async fn remove(self) {
        self.close().await;
        eventually(&format!("import('node:fs/promises').then((fs) => fs.rm('{}', {{ recursive: true, force: true }}))", self.folder)).await;
    }
}

impl Ground for Rows {
    fn open(&self) -> LocalBoxFuture<'_, Rc<dyn Store>> {
        async { Rc::new(HostStore::new(self.host.clone())) as Rc<dyn Store> }.boxed_local()
    }
}

fn fresh_folder() -> String {
    format!("{FOLDERS}/rows-{}", js_sys::Math::random())
}

async fn eventually(source: &str) -> JsValue {
    let promise: Promise = js_sys::eval(source).expect("runs").unchecked_into();
    JsFuture::from(promise).await.expect("succeeds")
}

macro_rules! in_node {
    ($clause:ident, $ground:expr) => {
        #[wasm_bindgen_test]
        async fn $clause() {
            let ground = $ground.await;
            contract::$clause(&ground).await;
            ground.remove().await;
        }
    };
}

mod on_disk {
    use super::*;

    inglenook::store_contract!(in_node, Rows::on_disk());
}

mod in_memory {
    use super::*;

    inglenook::store_contract!(in_node, Rows::in_memory());
}

#[wasm_bindgen_test]
async fn level_agrees_with_memory() {
    for round in 0..6 {
        let seed = (js_sys::Date::now() as u64) << 8 | round;
        let rows = Rows::on_disk().await;
        contract::agree(&MemoryStore::new(), &*rows.open().await, seed, 200).await;
        rows.remove().await;
    }
}

fn batch(value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(Key::new(Table::Log).text("row"), value);
    batch
}

/// Rows and claims outlive the process that made them.
#[wasm_bindgen_test]
async fn a_folder_that_is_opened_again_has_its_rows_and_its_epoch() {
    let folder = fresh_folder();
    let rows = Rows::in_folder(&folder).await;
    let first = HostStore::new(rows.host.clone());
    first.claim().await.expect("claims");
    first.commit(batch("kept")).await.expect("commits");
    rows.close().await;
    let rows = Rows::in_folder(&folder).await;
    let second = HostStore::new(rows.host.clone());
    assert_eq!(second.scan(&Scan::prefix(Key::new(Table::Log))).await.expect("scans").len(), 1);
    assert_eq!(second.commit(batch("unclaimed")).await, Err(StoreError::Superseded));
    second.claim().await.expect("claims");
    assert_eq!(second.commit(batch("claimed")).await, Ok(()));
    rows.remove().await;
}
