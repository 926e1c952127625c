//! The server's answers for a host that is no browser: plain objects, whose stored parts the host reads itself.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::JsValue;

use super::pairs;
use crate::{
    http::{Body, Response},
    wasm::response::length,
};

/// `{ status, headers, body }`: headers are pairs, and the body is a list of parts, each of them bytes or a blob's ID, start
/// and end.
pub(crate) fn answer(response: Response, head: bool) -> Result<JsValue, JsValue> {
    let headers = pairs(&response.headers);
    if let Some(length) = length(&response.body).filter(|_| !response.headers.contains_key("content-length")) {
        headers.push(&Array::of2(&"content-length".into(), &length.to_string().into()));
    }
    let parts = Array::new();
    if !head {
        push(response.body, &parts);
    }
    let answer = Object::new();
    Reflect::set(&answer, &"status".into(), &response.status.into())?;
    Reflect::set(&answer, &"headers".into(), &headers)?;
    Reflect::set(&answer, &"body".into(), &parts)?;
    Ok(answer.into())
}

fn push(body: Body, parts: &Array) {
    match body {
        Body::Bytes(bytes) => {
            parts.push(&Uint8Array::from(bytes.as_slice()));
        }
        Body::Stored { id, start, end } => {
            parts.push(&Array::of3(&id.into(), &(start as f64).into(), &(end as f64).into()));
        }
        Body::Parts(several) => several.into_iter().for_each(|part| push(part, parts)),
        Body::Empty | Body::Incoming(_) | Body::Coming(_) => {}
    }
}
