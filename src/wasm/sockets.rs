//! What the relays' transport asks of the browser: WebSockets, and requests to relays over fetch.

use std::{io, rc::Rc};

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Request, RequestInit, Response};

use super::{bodies::chunks, panic::message, web_socket::WebSocket};
use crate::{
    http::Pieces,
    ports::Clock,
    relays::{Socket, Sockets},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn fetch(request: &Request) -> Promise;
}

/// The browser's sockets.
pub(super) struct BrowserSockets {
    clock: Rc<dyn Clock>,
}

impl BrowserSockets {
    pub(super) fn new(clock: Rc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Sockets for BrowserSockets {
    fn dial<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, io::Result<Box<dyn Socket>>> {
        async move { Ok(Box::new(WebSocket::dial(url, Rc::clone(&self.clock))?) as Box<dyn Socket>) }.boxed_local()
    }

    fn post<'a>(&'a self, url: &'a str, content_type: &'a str, body: Vec<u8>) -> LocalBoxFuture<'a, io::Result<Pieces>> {
        async move { post(url, content_type, &body).await.map_err(|error| io::Error::other(message(&error))) }.boxed_local()
    }
}

async fn post(url: &str, content_type: &str, body: &[u8]) -> Result<Pieces, JsValue> {
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_body(&Uint8Array::from(body));
    let request = Request::new_with_str_and_init(url, &init)?;
    request.headers().set("content-type", content_type)?;
    let response: Response = JsFuture::from(fetch(&request)).await?.unchecked_into();
    let Some(body) = response.body() else { return Ok(stream::empty().boxed_local()) };
    let pieces = chunks(&body.get_reader().unchecked_into());
    Ok(pieces.map(|piece| piece.map(|piece| piece.to_vec()).map_err(io::Error::other)).boxed_local())
}
