//! A host that is no browser: a JavaScript object that keeps rows and files and reaches other servers.
//!
//! It is handed in where a node is started (`npm/host` has one for Node.js). The server below is the same as in a browser.

mod answer;
mod blobs;
mod store;
mod transport;

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

pub use self::store::HostStore;
pub(super) use self::{answer::answer, blobs::HostBlobs, transport::HostTransport};

#[wasm_bindgen]
extern "C" {
    /// What such a host offers. Rows have keys and values of bytes; a method that fails throws an error whose `code` says how.
    #[derive(Clone)]
    pub type Host;

    /// Each key's value, or `undefined`.
    #[wasm_bindgen(method, catch, js_name = getMany)]
    async fn get_many(this: &Host, keys: Array) -> Result<JsValue, JsValue>;

    /// The rows from `start` (included) to `end` (excluded): key, value, key, value.
    #[wasm_bindgen(method, catch)]
    async fn scan(this: &Host, start: Uint8Array, end: Uint8Array, reverse: bool, limit: f64) -> Result<JsValue, JsValue>;

    /// Writes key, value, key, value (`undefined` removes the row), all or nothing, provided that the epoch is still this one.
    #[wasm_bindgen(method, catch)]
    async fn commit(this: &Host, writes: Array, strict: bool, epoch: f64) -> Result<JsValue, JsValue>;

    /// Raises the epoch and returns it.
    #[wasm_bindgen(method, catch)]
    async fn claim(this: &Host) -> Result<JsValue, JsValue>;

    /// How many rows there are from `start` to `end`, and how many bytes.
    #[wasm_bindgen(method, catch)]
    async fn measure(this: &Host, start: Uint8Array, end: Uint8Array) -> Result<JsValue, JsValue>;

    /// Stores bytes, or the body of a request that [`super::Node::handle`] was given, and returns the size.
    #[wasm_bindgen(method, catch, js_name = putBlob)]
    async fn put_blob(this: &Host, id: &str, body: &JsValue, limit: f64) -> Result<JsValue, JsValue>;

    /// A blob's size, or `undefined`.
    #[wasm_bindgen(method, catch, js_name = blobSize)]
    async fn blob_size(this: &Host, id: &str) -> Result<JsValue, JsValue>;

    /// A part of a blob.
    #[wasm_bindgen(method, catch, js_name = readBlob)]
    async fn read_blob(this: &Host, id: &str, start: f64, end: f64) -> Result<JsValue, JsValue>;

    /// Stores a scaled copy of an image as `thumbnail`, and returns its size and content type.
    #[wasm_bindgen(method, catch, js_name = makeThumbnail)]
    async fn make_thumbnail(this: &Host, id: &str, thumbnail: &str, width: u32, height: u32, crop: bool) -> Result<JsValue, JsValue>;

    /// Removes a blob.
    #[wasm_bindgen(method, catch, js_name = removeBlob)]
    async fn remove_blob(this: &Host, id: &str) -> Result<JsValue, JsValue>;

    /// Whether a server of that name can be looked up and connected to.
    #[wasm_bindgen(method)]
    fn reaches(this: &Host, name: &str) -> bool;

    /// Sends a request to a server and returns `{ status, headers, body }`; headers are pairs.
    #[wasm_bindgen(method, catch)]
    async fn send(
        this: &Host,
        name: &str,
        method: &str,
        target: &str,
        headers: Array,
        body: Option<Uint8Array>,
    ) -> Result<JsValue, JsValue>;
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

/// Both parts of a pair.
fn pair(value: &JsValue) -> (JsValue, JsValue) {
    let pair: &Array = value.unchecked_ref();
    (pair.get(0), pair.get(1))
}
