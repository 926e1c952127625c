//! The store's contract on IndexedDB, and random commands on it and on the store in memory.

use std::rc::Rc;

use futures_util::{FutureExt, future::LocalBoxFuture};
use inglenook::{
    ports::Store,
    storage::{
        MemoryStore,
        contract::{self, Ground},
    },
    wasm::IndexedDbStore,
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::fresh_name;

/// A database's name; each instance is a connection of its own.
struct Named(String);

impl Ground for Named {
    fn open(&self) -> LocalBoxFuture<'_, Rc<dyn Store>> {
        async { Rc::new(IndexedDbStore::open(&self.0).await.expect("opens")) as Rc<dyn Store> }.boxed_local()
    }
}

macro_rules! in_browser {
    ($clause:ident, $ground:expr) => {
        #[wasm_bindgen_test]
        async fn $clause() {
            contract::$clause(&$ground).await;
        }
    };
}

inglenook::store_contract!(in_browser, Named(fresh_name()));

#[wasm_bindgen_test]
async fn indexed_db_agrees_with_memory() {
    for round in 0..6 {
        let seed = (js_sys::Date::now() as u64) << 8 | round;
        let store = IndexedDbStore::open(&fresh_name()).await.expect("opens");
        contract::agree(&MemoryStore::new(), &store, seed, 100).await;
    }
}
