//! How a Blob lies in the database: as it is, or as its type and bytes where the browser keeps no Blobs.

use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag};

use super::bodies::failed;
use crate::ports::BlobError;

/// The Blob's type and bytes, outside the wasm's memory: a private window of WebKit stores no Blobs.
pub(super) async fn taken_apart(blob: &Blob) -> Result<JsValue, BlobError> {
    let bytes = JsFuture::from(blob.array_buffer()).await.map_err(failed)?;
    Ok(Array::of2(&blob.type_().into(), &bytes).into())
}

/// The Blob that a value of the database is.
pub(super) fn restored(value: JsValue) -> Option<Blob> {
    value.dyn_into().or_else(put_together).ok()
}

fn put_together(value: JsValue) -> Result<Blob, JsValue> {
    let parts: Array = value.dyn_into()?;
    let options = BlobPropertyBag::new();
    options.set_type(&parts.get(0).as_string().unwrap_or_default());
    let bytes: ArrayBuffer = parts.get(1).dyn_into()?;
    Blob::new_with_buffer_source_sequence_and_options(&Array::of1(&Uint8Array::new(&bytes)), &options)
}
