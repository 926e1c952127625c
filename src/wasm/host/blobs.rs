//! The media of a host: it reads uploads from their requests itself, so that they never pass through the wasm's memory.

use std::{cell::RefCell, rc::Rc};

use futures_util::{FutureExt, StreamExt};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsError, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::{Host, code, pair, store};
use crate::{
    http::{Body, Pieces},
    ports::{Answer, BlobError, Blobs, StoreError, StoredBlob, ThumbnailSpec},
    wasm::Bodies,
};

/// The blobs of a host that is no browser.
pub(crate) struct HostBlobs {
    host: Host,
    bodies: Rc<Bodies>,
}

impl HostBlobs {
    /// The host's blobs; uploads come from `bodies`.
    pub(crate) fn new(host: Host, bodies: Rc<Bodies>) -> Self {
        Self { host, bodies }
    }

    /// The body as the host takes it; what has to live meanwhile is kept with it.
    fn incoming(&self, body: Body) -> Result<(JsValue, Option<Next>), BlobError> {
        if let Body::Coming(coming) = body {
            let next = next_of(coming.take().ok_or(BlobError::Missing)?);
            return Ok((next.as_ref().clone(), Some(next)));
        }
        Ok((self.at_hand(body)?, None))
    }

    fn at_hand(&self, body: Body) -> Result<JsValue, BlobError> {
        match body {
            Body::Incoming(number) => self.bodies.take(number).map(JsValue::from).ok_or(BlobError::Missing),
            Body::Bytes(bytes) => Ok(Uint8Array::from(bytes.as_slice()).into()),
            Body::Empty => Ok(Uint8Array::new_with_length(0).into()),
            Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => Err(BlobError::Failed("a request has no stored body".into())),
        }
    }
}

/// A function that gives the next piece, or `undefined` behind the last.
type Next = Closure<dyn FnMut() -> Promise>;

fn next_of(pieces: Pieces) -> Next {
    let pieces = Rc::new(RefCell::new(Some(pieces)));
    Closure::new(move || {
        let pieces = Rc::clone(&pieces);
        future_to_promise(async move {
            // The host asks for one piece after the other.
            let Some(mut coming) = pieces.take() else { return Ok(JsValue::UNDEFINED) };
            let Some(piece) = coming.next().await else { return Ok(JsValue::UNDEFINED) };
            let piece = piece.map_err(|error| JsError::new(&error.to_string()))?;
            *pieces.borrow_mut() = Some(coming);
            Ok(Uint8Array::from(piece.as_slice()).into())
        })
    })
}

fn failed(thrown: JsValue, limit: u64) -> BlobError {
    match code(&thrown).as_deref() {
        Some("TOO_LARGE") => return BlobError::TooLarge(limit),
        Some("NO_IMAGE") => return BlobError::NotAnImage,
        Some("ENOENT") => return BlobError::Missing,
        _ => {}
    }
    match store::failed(thrown) {
        StoreError::QuotaExceeded => BlobError::QuotaExceeded,
        other => BlobError::Failed(other.to_string()),
    }
}

fn size(value: &JsValue) -> u64 {
    value.as_f64().unwrap_or_default() as u64
}

impl Blobs for HostBlobs {
    fn put<'a>(&'a self, id: &'a str, body: Body, _: &'a str, limit: u64) -> Answer<'a, u64, BlobError> {
        async move {
            let (body, _next) = self.incoming(body)?;
            let stored = JsFuture::from(self.host.put_blob(id, &body, limit as f64)).await;
            stored.map(|stored| size(&stored)).map_err(|thrown| failed(thrown, limit))
        }
        .boxed_local()
    }

    fn size<'a>(&'a self, id: &'a str) -> Answer<'a, Option<u64>, BlobError> {
        async move {
            let found = JsFuture::from(self.host.blob_size(id)).await.map_err(|thrown| failed(thrown, 0))?;
            Ok((!found.is_undefined()).then(|| size(&found)))
        }
        .boxed_local()
    }

    fn read<'a>(&'a self, id: &'a str, start: u64, end: u64) -> Answer<'a, Vec<u8>, BlobError> {
        async move {
            let read = JsFuture::from(self.host.read_blob(id, start as f64, end as f64)).await.map_err(|thrown| failed(thrown, 0))?;
            Ok(read.unchecked_ref::<Uint8Array>().to_vec())
        }
        .boxed_local()
    }

    fn make_thumbnail<'a>(&'a self, id: &'a str, thumbnail: &'a str, spec: ThumbnailSpec) -> Answer<'a, StoredBlob, BlobError> {
        async move {
            let made = JsFuture::from(self.host.make_thumbnail(id, thumbnail, spec.width, spec.height, spec.crop)).await;
            let made = made.map_err(|thrown| failed(thrown, 0))?;
            let (stored, content_type) = pair(&made);
            Ok(StoredBlob { size: size(&stored), content_type: content_type.as_string().unwrap_or_default() })
        }
        .boxed_local()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, (), BlobError> {
        async move { JsFuture::from(self.host.remove_blob(id)).await.map(drop).map_err(|thrown| failed(thrown, 0)) }.boxed_local()
    }
}
