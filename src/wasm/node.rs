//! The handle that JavaScript holds: starts a server over the browser's adapters and passes requests to it.

use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::{future_to_promise, spawn_local};

use super::{
    blobs::BrowserBlobs,
    bodies::Bodies,
    clock::BrowserClock,
    entropy::BrowserEntropy,
    indexed_db::IndexedDbStore,
    options::Options,
    panic::{error, report_panics},
    request, response,
    sockets::BrowserSockets,
};
use crate::{
    http::{Body, Method},
    relays::RelayTransport,
    server::{Ports, Server},
};

/// A running homeserver.
#[wasm_bindgen]
pub struct Node {
    inner: Rc<Inner>,
}

struct Inner {
    server: Rc<Server>,
    relays: Rc<RelayTransport>,
    store: Rc<IndexedDbStore>,
    blobs: Rc<BrowserBlobs>,
    bodies: Rc<Bodies>,
}

#[wasm_bindgen]
impl Node {
    /// Opens the database and starts the server. One node a database: the caller holds a lock for as long as it lives.
    pub async fn start(options: JsValue) -> Result<Node, JsValue> {
        report_panics();
        let options = Options::read(options).map_err(|message| error(&message))?;
        let store = IndexedDbStore::open(&options.database).await.map_err(|failure| error(&failure.to_string()))?;
        let (store, bodies) = (Rc::new(store), Rc::new(Bodies::default()));
        let blobs = Rc::new(BrowserBlobs::new(Rc::clone(&store), Rc::clone(&bodies)));
        let clock = Rc::new(BrowserClock);
        let relays = RelayTransport::new(Box::new(BrowserSockets::new(clock.clone())));
        let ports =
            Ports { store: store.clone(), blobs: blobs.clone(), transport: relays.clone(), clock, entropy: Rc::new(BrowserEntropy) };
        let server = Server::start(ports, options.config()).await.map_err(|failure| error(&failure.to_string()))?;
        spawn_local(Rc::clone(&server).run());
        spawn_local(Rc::clone(&relays).run(Rc::clone(&server)));
        Ok(Self { inner: Rc::new(Inner { server, relays, store, blobs, bodies }) })
    }

    /// Answers a fetch request with a Promise of a Response.
    ///
    /// `target` is the path with its query, as the server knows it. `body` is the request's body; where a POST or PUT comes
    /// without, the request's own is streamed into the blobs. The Promise rejects only where this node can answer nothing any more.
    pub fn handle(&self, request: web_sys::Request, target: String, body: Option<Uint8Array>) -> Promise {
        let inner = Rc::clone(&self.inner);
        future_to_promise(async move { inner.answer(&request, &target, body).await })
    }

    /// Ends waiting polls at once and refuses what comes later.
    pub fn stop(&self) {
        self.inner.server.stop();
    }

    /// The network is back: relays are dialled and other servers tried at once.
    pub fn online(&self) {
        self.inner.relays.hurry();
        self.inner.server.network_is_back();
    }

    /// The server's name.
    pub fn name(&self) -> String {
        self.inner.server.name().into()
    }
}

impl Inner {
    async fn answer(&self, request: &web_sys::Request, target: &str, body: Option<Uint8Array>) -> Result<JsValue, JsValue> {
        if self.store.is_closed() {
            return Err(error("a newer version of Inglenook has taken over the database"));
        }
        let (head, answer) = match request::read(request, target, body, &self.bodies) {
            Ok(request) => self.handled(request).await,
            Err(refused) => (false, refused),
        };
        response::write(answer, head, &self.blobs).await.map(JsValue::from)
    }

    /// HEAD is answered as GET is, less the body.
    async fn handled(&self, mut request: crate::http::Request) -> (bool, crate::http::Response) {
        let head = request.method == Method::Head;
        if head {
            request.method = Method::Get;
        }
        let unread = if let Body::Incoming(number) = request.body { Some(number) } else { None };
        let answer = self.server.handle(request).await;
        if let Some(number) = unread {
            self.bodies.take(number);
        }
        (head, answer)
    }
}
