//! A host that is no browser: a JavaScript object that keeps rows and files and reaches other servers.
//!
//! It is handed in where a node is started (`npm/host` has one for Node.js). The server below is the same as in a browser.

mod answer;
mod blobs;
mod store;
mod transport;

use js_sys::{Array, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

pub use self::store::HostStore;
pub(super) use self::{answer::answer, blobs::HostBlobs, transport::HostTransport};
use crate::http::Headers;

#[wasm_bindgen]
extern "C" {
    /// What such a host offers. Rows have keys and values of bytes; a Promise that is rejected has an error whose `code` says how
    /// it failed. Nothing is thrown.
    #[derive(Clone)]
    pub type Host;

    /// Each key's value, or `undefined`.
    #[wasm_bindgen(method, js_name = getMany)]
    fn get_many(this: &Host, keys: Array) -> Promise;

    /// The rows from `start` (included) to `end` (excluded): key, value, key, value.
    #[wasm_bindgen(method)]
    fn scan(this: &Host, start: Uint8Array, end: Uint8Array, reverse: bool, limit: f64) -> Promise;

    /// Writes key, value, key, value (`undefined` removes the row), all or nothing, provided that the epoch is still this one.
    #[wasm_bindgen(method)]
    fn commit(this: &Host, writes: Array, strict: bool, epoch: f64) -> Promise;

    /// Raises the epoch and returns it.
    #[wasm_bindgen(method)]
    fn claim(this: &Host) -> Promise;

    /// How many rows there are from `start` to `end`, and how many bytes.
    #[wasm_bindgen(method)]
    fn measure(this: &Host, start: Uint8Array, end: Uint8Array) -> Promise;

    /// Stores bytes, the body of a request that [`super::Node::handle`] was given, or what a function gives piece by piece, and
    /// returns the size.
    #[wasm_bindgen(method, js_name = putBlob)]
    fn put_blob(this: &Host, id: &str, body: &JsValue, limit: f64) -> Promise;

    /// A blob's size, or `undefined`.
    #[wasm_bindgen(method, js_name = blobSize)]
    fn blob_size(this: &Host, id: &str) -> Promise;

    /// A part of a blob.
    #[wasm_bindgen(method, js_name = readBlob)]
    fn read_blob(this: &Host, id: &str, start: f64, end: f64) -> Promise;

    /// Stores a scaled copy of an image as `thumbnail`, and returns its size and content type.
    #[wasm_bindgen(method, js_name = makeThumbnail)]
    fn make_thumbnail(this: &Host, id: &str, thumbnail: &str, width: u32, height: u32, crop: bool) -> Promise;

    /// Removes a blob.
    #[wasm_bindgen(method, js_name = removeBlob)]
    fn remove_blob(this: &Host, id: &str) -> Promise;

    /// Whether a server of that name can be looked up and connected to.
    #[wasm_bindgen(method)]
    fn reaches(this: &Host, name: &str) -> bool;

    /// Sends a request to a server and returns `{ status, headers, body }`; headers are pairs. The body is bytes, or of a file a
    /// function that gives it piece by piece.
    #[wasm_bindgen(method)]
    fn send(this: &Host, name: &str, method: &str, target: &str, headers: Array, body: Option<Uint8Array>) -> Promise;
}

/// The host among the options of a node, if there is one.
pub(super) fn among(options: &JsValue) -> Option<Host> {
    let host = Reflect::get(options, &"host".into()).ok()?;
    host.is_object().then(|| host.unchecked_into())
}

/// What a host's error says of itself.
fn code(thrown: &JsValue) -> Option<String> {
    Reflect::get(thrown, &"code".into()).ok()?.as_string()
}

/// Headers as pairs.
fn pairs(headers: &Headers) -> Array {
    headers.iter().map(|(name, value)| Array::of2(&name.into(), &value.into())).collect()
}

/// Both parts of a pair.
fn pair(value: &JsValue) -> (JsValue, JsValue) {
    let pair: &Array = value.unchecked_ref();
    (pair.get(0), pair.get(1))
}
