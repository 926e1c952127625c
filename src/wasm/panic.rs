//! Words for what goes wrong: JavaScript's errors, and the message of a panic before it ends the instance.

use js_sys::{Error, Reflect};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn report(message: &str);
}

/// Makes panics say what happened. What follows is a trap, which the service worker sees and answers with a new instance.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| report(&panic.to_string())));
}

/// A thrown value's message.
pub(super) fn message(thrown: &JsValue) -> String {
    let message = Reflect::get(thrown, &"message".into()).ok().and_then(|message| message.as_string());
    message.or_else(|| thrown.as_string()).unwrap_or_else(|| "unknown error".into())
}

/// An error to throw.
pub(super) fn error(message: &str) -> JsValue {
    Error::new(message).into()
}
