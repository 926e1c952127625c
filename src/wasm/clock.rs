//! The clock: the browser's date and its timers.

use futures_util::{FutureExt, future::LocalBoxFuture};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

use crate::ports::Clock;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, millis: f64);
}

/// The browser's clock.
pub(super) struct BrowserClock;

impl Clock for BrowserClock {
    fn now(&self) -> u64 {
        js_sys::Date::now() as u64
    }

    fn sleep(&self, millis: u64) -> LocalBoxFuture<'_, ()> {
        async move {
            let elapsed = Promise::new(&mut |resolve, _| set_timeout(&resolve, millis as f64));
            let _ = JsFuture::from(elapsed).await;
        }
        .boxed_local()
    }
}
