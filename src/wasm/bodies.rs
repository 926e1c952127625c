//! Request bodies that have not been read yet, held for the server under numbers, and how they become Blobs.

use std::cell::RefCell;

use futures_util::{Stream, StreamExt, stream};
use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, ReadableStream, ReadableStreamDefaultReader, Request};

use crate::{http::Pieces, ordered::OrderedMap, ports::BlobError};

/// How much of a body is gathered before the browser may put it on the disk, as part of a Blob.
const GATHERED: u64 = 4 << 20;

/// The requests whose bodies wait for [`crate::ports::Blobs::put`].
#[derive(Default)]
pub struct Bodies {
    waiting: RefCell<OrderedMap<u32, Request>>,
}

impl Bodies {
    /// Keeps a request until its body is taken, and says under which number.
    pub fn keep(&self, request: Request) -> u32 {
        let mut waiting = self.waiting.borrow_mut();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last.wrapping_add(1));
        waiting.insert(number, request);
        number
    }

    /// The request of that number, once.
    pub fn take(&self, number: u32) -> Option<Request> {
        self.waiting.borrow_mut().remove(&number)
    }
}

/// Reads a request's body into a Blob and gives it up as soon as it is larger than `limit` bytes.
pub(super) async fn read(request: &Request, content_type: &str, limit: u64) -> Result<Blob, BlobError> {
    // Not every browser has the body as a stream: there it is read whole, by the browser and outside the wasm's memory.
    let body = Reflect::get(request, &"body".into()).unwrap_or_default();
    let blob = match body.dyn_into::<ReadableStream>() {
        Ok(stream) => read_stream(&stream, limit).await?,
        Err(_) => read_whole(request, limit).await?,
    };
    blob.slice_with_f64_and_f64_and_content_type(0.0, blob.size(), content_type).map_err(failed)
}

async fn read_whole(request: &Request, limit: u64) -> Result<Blob, BlobError> {
    let blob: Blob = JsFuture::from(request.blob().map_err(failed)?).await.map_err(failed)?.unchecked_into();
    if blob.size() > limit as f64 { Err(BlobError::TooLarge(limit)) } else { Ok(blob) }
}

async fn read_stream(stream: &ReadableStream, limit: u64) -> Result<Blob, BlobError> {
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let blob = gather(chunks(&reader), limit).await;
    if let Err(BlobError::TooLarge(_)) = blob {
        let _ = JsFuture::from(reader.cancel()).await;
    }
    blob
}

/// Reads another server's file into a Blob, and gives it up as soon as it is larger than `limit` bytes.
pub(super) async fn read_pieces(pieces: Pieces, content_type: &str, limit: u64) -> Result<Blob, BlobError> {
    let chunks = pieces.map(|piece| match piece {
        Ok(piece) => Ok(Uint8Array::from(piece.as_slice())),
        Err(error) => Err(BlobError::Failed(error.to_string())),
    });
    let blob = gather(chunks, limit).await?;
    blob.slice_with_f64_and_f64_and_content_type(0.0, blob.size(), content_type).map_err(failed)
}

async fn gather(chunks: impl Stream<Item = Result<Uint8Array, BlobError>>, limit: u64) -> Result<Blob, BlobError> {
    let mut chunks = std::pin::pin!(chunks);
    let (mut parts, mut gathered, mut total) = (Array::new(), 0, 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        total += u64::from(chunk.length());
        gathered += u64::from(chunk.length());
        if total > limit {
            return Err(BlobError::TooLarge(limit));
        }
        parts.push(&chunk);
        if gathered > GATHERED {
            parts = Array::of1(&whole(&parts)?.into());
            gathered = 0;
        }
    }
    whole(&parts)
}

/// A stream's chunks, as they come.
pub(super) fn chunks(reader: &ReadableStreamDefaultReader) -> impl Stream<Item = Result<Uint8Array, BlobError>> + use<> {
    stream::try_unfold(Clone::clone(reader), |reader| async move { Ok(next_chunk(&reader).await?.map(|chunk| (chunk, reader))) })
}

async fn next_chunk(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, BlobError> {
    let read = JsFuture::from(reader.read()).await.map_err(failed)?;
    let value = Reflect::get(&read, &"value".into()).map_err(failed)?;
    Ok((!value.is_undefined()).then(|| value.unchecked_into()))
}

/// A Blob of these parts, which the browser may keep on the disk.
pub(super) fn whole(parts: &Array) -> Result<Blob, BlobError> {
    Blob::new_with_buffer_source_sequence(parts).map_err(failed)
}

/// A Blob of bytes from the wasm's own memory.
pub(super) fn of_bytes(bytes: &[u8], content_type: &str) -> Result<Blob, BlobError> {
    let options = BlobPropertyBag::new();
    options.set_type(content_type);
    let parts = Array::of1(&Uint8Array::from(bytes));
    Blob::new_with_buffer_source_sequence_and_options(&parts, &options).map_err(failed)
}

pub(super) fn failed(error: JsValue) -> BlobError {
    BlobError::Failed(super::panic::message(&error))
}
