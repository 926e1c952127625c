//! What is tested in a browser below the service worker's script: the adapters, and the node as JavaScript sees it.

mod blobs;
mod contract;
mod migrations;
mod node;
mod traps;

use std::{cell::Cell, rc::Rc};

use inglenook::wasm::IndexedDbStore;

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// The name of a database that no other test uses, nor an earlier run.
fn fresh_name() -> String {
    let number = MADE.with(|made| made.replace(made.get() + 1));
    format!("test-{}-{number}", js_sys::Date::now())
}

async fn fresh_store() -> Rc<IndexedDbStore> {
    Rc::new(IndexedDbStore::open(&fresh_name()).await.expect("opens"))
}

/// Runs a script of the test's own and gives what it evaluates to.
fn script(source: &str) -> wasm_bindgen::JsValue {
    js_sys::eval(source).expect("the script runs")
}

/// Replaces a method while it lives.
struct Patched(&'static str);

impl Patched {
    /// `replacement` is a function expression, in which `original` is the method.
    fn new(method: &'static str, replacement: &str) -> Self {
        script(&format!("{{ const original = {method}; self.unpatch = () => {{ {method} = original; }}; {method} = {replacement}; }}"));
        Self(method)
    }
}

impl Drop for Patched {
    fn drop(&mut self) {
        script(&format!("self.unpatch() /* {} */", self.0));
    }
}
