//! Turns a fetch request into one of the server's.

use js_sys::{Array, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::bodies::Bodies;
use crate::{
    gather::Gather,
    http::{Body, Gone, Headers, Method, Request, Response},
};

/// The largest body that is read into memory. Events may have 64 KiB, and the largest requests of the client-server API
/// (key uploads, sync filters, initial state) stay well under this.
pub(super) const MAX_BODY: u32 = 1 << 20;

/// The largest body of another server: a transaction of 50 events and 100 EDUs, with room to spare for them to be large.
pub(super) const MAX_FEDERATION_BODY: u32 = 10 << 20;

/// Reads the request's head, and its body from `body`, which may have `limit` bytes; a body that was not given is left for the
/// blobs to read.
pub(super) fn read(
    request: &web_sys::Request,
    target: &str,
    body: Option<Uint8Array>,
    limit: u32,
    bodies: &Bodies,
) -> Result<Request, Response> {
    let method = Method::parse(&request.method()).ok_or_else(|| refused(405, "M_UNRECOGNIZED", "This method is not supported."))?;
    let body = match body {
        Some(bytes) if bytes.length() > limit => return Err(refused(413, "M_TOO_LARGE", "The body is too large.")),
        Some(bytes) if bytes.length() == 0 => Body::Empty,
        Some(bytes) => Body::Bytes(bytes.to_vec()),
        None if matches!(method, Method::Post | Method::Put) => Body::Incoming(bodies.keep(Clone::clone(request))),
        None => Body::Empty,
    };
    Ok(Request { headers: headers(request), body, gone: gone(request), ..Request::new(method, target) })
}

/// A host may have put a Promise on the request, which settles when the connection has ended.
fn gone(request: &web_sys::Request) -> Gone {
    let gone = Gone::default();
    if let Ok(Ok(promise)) = Reflect::get(request, &"gone".into()).map(JsCast::dyn_into::<Promise>) {
        let told = gone.clone();
        spawn_local(async move {
            let _ = JsFuture::from(promise).await;
            told.tell();
        });
    }
    gone
}

/// An answer that the server never sees.
pub(super) fn refused(status: u16, errcode: &str, error: &str) -> Response {
    Response::json(status, &serde_json::json!({ "errcode": errcode, "error": error }))
}

/// A fetch request gives its header names in lower case.
fn headers(request: &web_sys::Request) -> Headers {
    let entries = request.headers().entries();
    entries.into_iter().flatten().filter_map(|entry| header(&entry.unchecked_into())).gather()
}

fn header(entry: &Array<JsValue>) -> Option<(String, String)> {
    Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
}
