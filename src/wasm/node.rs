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
    host::{self, Host, HostBlobs, HostStore, HostTransport},
    indexed_db::IndexedDbStore,
    options::Options,
    panic::{error, report_panics},
    request::{self, MAX_BODY, MAX_FEDERATION_BODY},
    response,
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
    home: Home,
    bodies: Rc<Bodies>,
}

/// What a node runs in, as far as its answers differ by it.
enum Home {
    Browser { store: Rc<IndexedDbStore>, blobs: Rc<BrowserBlobs> },
    Host,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    Client,
    Federation,
}

#[wasm_bindgen]
impl Node {
    /// Opens the database and starts the server. One node a database: the caller holds a lock for as long as it lives.
    ///
    /// With a `host` among the options, that brings the database and the rest of what a browser has.
    pub async fn start(options: JsValue) -> Result<Node, JsValue> {
        report_panics();
        let host = host::among(&options);
        let options = Options::read(options).map_err(|message| error(&message))?;
        let config = options.config().map_err(|message| error(&message))?;
        let clock = Rc::new(BrowserClock);
        let relays = RelayTransport::new(Box::new(BrowserSockets::new(clock.clone())));
        let bodies = Rc::new(Bodies::default());
        let (home, ports) = match host {
            Some(host) => (Home::Host, ports_of(&host, &relays, &bodies, clock)),
            None => in_browser(&options, &relays, &bodies, clock).await?,
        };
        let server = Server::start(ports, config).await.map_err(|failure| error(&failure.to_string()))?;
        spawn_local(Rc::clone(&server).run());
        spawn_local(Rc::clone(&relays).run(Rc::clone(&server)));
        Ok(Self { inner: Rc::new(Inner { server, relays, home, bodies }) })
    }

    /// Answers a client's request with a Promise of a Response, or, to a host, of `{ status, headers, body }`.
    ///
    /// `request` is one of fetch, or has its `method` and `headers`. `target` is the path with its query, as the server knows it.
    /// `body` is the request's body; where a POST or PUT comes without, the request's own is streamed into the blobs. The
    /// Promise rejects only where this node can answer nothing any more.
    pub fn handle(&self, request: web_sys::Request, target: String, body: Option<Uint8Array>) -> Promise {
        let inner = Rc::clone(&self.inner);
        future_to_promise(async move { inner.answer(Api::Client, &request, &target, body).await })
    }

    /// The same for a request of another server, from hosts that other servers can connect to.
    pub fn federation(&self, request: web_sys::Request, target: String, body: Option<Uint8Array>) -> Promise {
        let inner = Rc::clone(&self.inner);
        let body = body.or_else(|| Some(Uint8Array::new_with_length(0)));
        future_to_promise(async move { inner.answer(Api::Federation, &request, &target, body).await })
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

/// The ports of a node in a browser.
async fn in_browser(
    options: &Options,
    relays: &Rc<RelayTransport>,
    bodies: &Rc<Bodies>,
    clock: Rc<BrowserClock>,
) -> Result<(Home, Ports), JsValue> {
    let database = options.database.as_deref().ok_or_else(|| error("the options do not fit: the database's name is missing"))?;
    let store = Rc::new(IndexedDbStore::open(database).await.map_err(|failure| error(&failure.to_string()))?);
    let blobs = Rc::new(BrowserBlobs::new(Rc::clone(&store), Rc::clone(bodies)));
    let ports = Ports { store: store.clone(), blobs: blobs.clone(), transport: relays.clone(), clock, entropy: Rc::new(BrowserEntropy) };
    Ok((Home::Browser { store, blobs }, ports))
}

/// The ports of a node in a host.
fn ports_of(host: &Host, relays: &Rc<RelayTransport>, bodies: &Rc<Bodies>, clock: Rc<BrowserClock>) -> Ports {
    Ports {
        store: Rc::new(HostStore::new(host.clone())),
        blobs: Rc::new(HostBlobs::new(host.clone(), Rc::clone(bodies))),
        transport: Rc::new(HostTransport::new(host.clone(), Rc::clone(relays))),
        clock,
        entropy: Rc::new(BrowserEntropy),
    }
}

impl Inner {
    async fn answer(&self, api: Api, request: &web_sys::Request, target: &str, body: Option<Uint8Array>) -> Result<JsValue, JsValue> {
        self.check_open()?;
        let limit = if api == Api::Federation { MAX_FEDERATION_BODY } else { MAX_BODY };
        let (head, answer) = match request::read(request, target, body, limit, &self.bodies) {
            Ok(request) => self.handled(api, request).await,
            Err(refused) => (false, refused),
        };
        if answer.status >= 500 {
            self.check_open()?;
        }
        match &self.home {
            Home::Browser { blobs, .. } => response::write(answer, head, blobs).await.map(JsValue::from),
            Home::Host => host::answer(answer, head),
        }
    }

    /// What this instance cannot do any more, the caller may ask of the one that it starts next.
    fn check_open(&self) -> Result<(), JsValue> {
        match &self.home {
            Home::Browser { store, .. } if store.is_closed() => Err(error("another instance has taken over the database")),
            _ => Ok(()),
        }
    }

    /// HEAD is answered as GET is, less the body.
    async fn handled(&self, api: Api, mut request: crate::http::Request) -> (bool, crate::http::Response) {
        let head = request.method == Method::Head;
        if head {
            request.method = Method::Get;
        }
        let unread = if let Body::Incoming(number) = request.body { Some(number) } else { None };
        let answer = match api {
            Api::Client => self.server.handle(request).await,
            Api::Federation => self.server.federation(request).await,
        };
        if let Some(number) = unread {
            self.bodies.take(number);
        }
        (head, answer)
    }
}
