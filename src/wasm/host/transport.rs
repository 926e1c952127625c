//! The way to other servers from a host that can connect to them; those that are behind relays are reached as from a browser.

use std::{io, rc::Rc};

use futures_util::{FutureExt, StreamExt, stream};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{Host, code, pair, pairs};
use crate::{
    gather::Gather,
    http::{Body, Coming, Headers, Pieces, Request, Response},
    ports::{Answer, Destination, Reply, Transport, TransportError},
    relays::RelayTransport,
    wasm::panic::message,
};

/// The transport of a host that is no browser.
pub(crate) struct HostTransport {
    host: Host,
    relays: Rc<RelayTransport>,
}

impl HostTransport {
    /// Goes through the host, or through the relays that a destination has named.
    pub(crate) fn new(host: Host, relays: Rc<RelayTransport>) -> Self {
        Self { host, relays }
    }

    async fn direct(&self, to: &Destination, request: Request) -> Result<Reply, TransportError> {
        let body = if let Body::Bytes(bytes) = &request.body { Some(Uint8Array::from(bytes.as_slice())) } else { None };
        let sent =
            JsFuture::from(self.host.send(to.name.as_str(), request.method.as_str(), &request.target(), pairs(&request.headers), body))
                .await;
        sent.and_then(|answer| response(&answer)).map(Reply::Answered).map_err(|thrown| failed(to, &thrown))
    }
}

fn failed(to: &Destination, thrown: &JsValue) -> TransportError {
    match code(thrown).as_deref() {
        Some("TIMED_OUT") => TransportError::TimedOut(to.name.to_string()),
        _ => TransportError::Unreachable(to.name.to_string(), message(thrown)),
    }
}

fn response(answer: &JsValue) -> Result<Response, JsValue> {
    let status = Reflect::get(answer, &"status".into())?.as_f64().unwrap_or_default() as u16;
    let headers: Array = Reflect::get(answer, &"headers".into())?.unchecked_into();
    let body = match Reflect::get(answer, &"body".into())?.dyn_into::<Function>() {
        Ok(next) => Body::Coming(Coming::new(pieces(next))),
        Err(bytes) => Body::Bytes(bytes.unchecked_into::<Uint8Array>().to_vec()),
    };
    let headers: Headers = headers.iter().filter_map(|header| text_pair(&header)).gather();
    Ok(Response { status, headers, body })
}

/// The pieces of a file, each of which the host gives when it is asked for the next.
fn pieces(next: Function) -> Pieces {
    let piece = |next: Function| async move {
        let asked = next.call0(&JsValue::UNDEFINED).map(|promise| JsFuture::from(promise.unchecked_into::<Promise>()));
        let piece = match asked {
            Ok(asked) => asked.await,
            Err(thrown) => Err(thrown),
        };
        let piece = piece.map_err(|thrown| io::Error::other(message(&thrown)))?;
        Ok((!piece.is_undefined()).then(|| (piece.unchecked_into::<Uint8Array>().to_vec(), next)))
    };
    stream::try_unfold(next, piece).boxed_local()
}

fn text_pair(header: &JsValue) -> Option<(String, String)> {
    let (name, value) = pair(header);
    Some((name.as_string()?, value.as_string()?))
}

impl Transport for HostTransport {
    fn send<'a>(&'a self, to: &'a Destination, request: Request) -> Answer<'a, Reply, TransportError> {
        if !self.host.reaches(to.name.as_str()) {
            return self.relays.send(to, request);
        }
        let sending = async move {
            if to.relays.is_empty() {
                return self.direct(to, request).await;
            }
            match self.relays.send(to, request.clone()).await {
                // Its name leads to it without its relays, or to its gateway.
                Err(TransportError::Unreachable(..) | TransportError::NoRoute(_)) => self.direct(to, request).await,
                outcome => outcome,
            }
        };
        sending.boxed_local()
    }
}
