//! Turns the server's response into one of fetch.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::JsValue;
use web_sys::{Blob, Headers, Response as FetchResponse, ResponseInit};

use super::{
    blobs::BrowserBlobs,
    panic::{error, message},
    request::refused,
};
use crate::http::{Body, Response};

/// Makes the response; without its body where it answers a HEAD. What cannot be read from the blobs is an answer as well.
pub(super) async fn write(response: Response, head: bool, blobs: &BrowserBlobs) -> Result<FetchResponse, JsValue> {
    match make(response, head, blobs).await {
        Ok(made) => Ok(made),
        Err(thrown) => make(refused(500, "M_UNKNOWN", &message(&thrown)), head, blobs).await,
    }
}

async fn make(response: Response, head: bool, blobs: &BrowserBlobs) -> Result<FetchResponse, JsValue> {
    let init = ResponseInit::new();
    init.set_status(response.status);
    init.set_headers(&headers(&response)?.into());
    // A Response with one of these statuses cannot be made with a body, not even an empty one.
    if head || matches!(response.status, 204 | 205 | 304) {
        return FetchResponse::new_with_opt_str_and_init(None, &init);
    }
    match response.body {
        Body::Bytes(bytes) => FetchResponse::new_with_opt_js_u8_array_and_init(Some(&Uint8Array::from(bytes.as_slice())), &init),
        Body::Stored { id, start, end } => FetchResponse::new_with_opt_blob_and_init(Some(&stored(&id, start, end, blobs).await?), &init),
        Body::Parts(parts) => FetchResponse::new_with_opt_blob_and_init(Some(&joined(parts, blobs).await?), &init),
        Body::Empty | Body::Incoming(_) | Body::Coming(_) => FetchResponse::new_with_opt_str_and_init(None, &init),
    }
}

fn headers(response: &Response) -> Result<Headers, JsValue> {
    let headers = Headers::new()?;
    for (name, value) in &response.headers {
        headers.set(name, value)?;
    }
    if let Some(length) = length(&response.body).filter(|_| !response.headers.contains_key("content-length")) {
        headers.set("content-length", &length.to_string())?;
    }
    Ok(headers)
}

/// How many bytes a body has, where it is known.
pub(super) fn length(body: &Body) -> Option<u64> {
    match body {
        Body::Bytes(bytes) => Some(bytes.len() as u64),
        Body::Stored { start, end, .. } => Some(end.saturating_sub(*start)),
        Body::Parts(parts) => parts.iter().map(length).sum(),
        Body::Empty | Body::Incoming(_) | Body::Coming(_) => None,
    }
}

/// A part of a Blob, which the browser reads from the disk while it is sent.
async fn stored(id: &str, start: u64, end: u64, blobs: &BrowserBlobs) -> Result<Blob, JsValue> {
    let found = blobs.find(id).await.map_err(|failure| error(&failure.to_string()))?;
    let blob = found.ok_or_else(|| error("the blob is gone"))?;
    blob.slice_with_f64_and_f64(start as f64, end as f64)
}

/// One Blob of several parts, of which the browser copies none that is on the disk.
async fn joined(parts: Vec<Body>, blobs: &BrowserBlobs) -> Result<Blob, JsValue> {
    let sequence = Array::new();
    for part in parts {
        match part {
            Body::Bytes(bytes) => sequence.push(&Uint8Array::from(bytes.as_slice())),
            Body::Stored { id, start, end } => {
                let part = stored(&id, start, end, blobs).await?;
                sequence.push(&part)
            }
            Body::Empty | Body::Incoming(_) | Body::Parts(_) | Body::Coming(_) => return Err(error("a part of a body is none")),
        };
    }
    Blob::new_with_blob_sequence(&sequence)
}
