//! The HTTP server: sockets in, requests to the relay, and an end in good order.

use std::{fs, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body as HttpBody,
    extract::{ConnectInfo, State, WebSocketUpgrade},
    http::{self, HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::{any, get, post},
};
use futures_util::{StreamExt, TryStreamExt};
use inglenook_protocol::{
    handshake::{CLOSE_STOPPING, MAX_MESSAGE},
    message::{CONTENT_TYPE, Headers, read_request, write_response},
    node_record::host_of,
    path::{FORWARD, OUTCOME_HEADER, TUNNEL},
};
use ruma::ServerName;
use tokio::{net::TcpListener, task::JoinHandle};
use tower_http::cors::{Any, CorsLayer};

use crate::{
    address::Address,
    callers::{Callers, Slot},
    clock::Clock,
    config::Config,
    dial::Network,
    dns::{self, Dns},
    forward::Forwarder,
    gateway::{self, Gateway, Names},
    identity::Identity,
    listen::{Addresses, Listening},
    metrics::Metrics,
    nodes::{Nodes, Reason},
    ordinary::Ordinary,
    pipe::{self, pipe},
    places::Places,
    relay::{Caller, Relay, SHARE_OF_NODE},
    reply::{Refused, Request, Response, boxed},
    serve::serve,
    socket,
    store::{Disk, Store, StoreError},
    tls::{Certificate, client_config},
};

/// What is read from a socket at once. The default of 128 kB would be most of what an idle node costs.
const SOCKET_BUFFER: usize = 4 * 1024;

/// What waits to be written to a socket, beyond what the node takes.
const SOCKET_BACKLOG: usize = 256 * 1024;

/// The largest message of a socket: what our own side sends, eight times.
const SOCKET_MESSAGE: usize = 256 * 1024;

/// How long tunnels may take to end when the relay stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How often expired requests are removed: often enough for typing notices.
const SWEEP: Duration = Duration::from_secs(15);

/// Where HTTPS is reached unless it is said.
const HTTPS: u16 = 443;

/// How long an answer may take to be read.
const LONGEST_ANSWER: Duration = Duration::from_secs(600);

/// A relay that listens.
pub struct Server {
    relay: Arc<Relay>,
    listener: Listening,
    metrics: Option<TcpListener>,
}

impl Server {
    /// Opens key and database, and listens.
    pub async fn bind(config: Config, clock: Clock) -> io::Result<Self> {
        fs::create_dir_all(&config.data)?;
        let store = Disk::open(&config.data.join("relay.redb"), config.quotas()).map_err(|error: StoreError| io::Error::other(error))?;
        Self::with_store(config, clock, Arc::new(store)).await
    }

    async fn with_store(config: Config, clock: Clock, store: Arc<dyn Store>) -> io::Result<Self> {
        fs::create_dir_all(&config.data)?;
        let identity = Identity::load_or_make(&config.data.join("key"))?;
        let certificate = match (&config.tls_cert, &config.tls_key) {
            (Some(chain), Some(key)) => Some(Certificate::load(chain, key)?),
            _ => None,
        };
        let forwarded = config.forwarded_header().map_err(io::Error::other)?;
        let callers = Arc::new(Callers::new(&config.limits(), forwarded, config.request_bytes));
        let registry = Arc::new(Metrics::new());
        let listener = Listening::new(TcpListener::bind(config.listen).await?, certificate, Arc::clone(&callers), Arc::clone(&registry))?;
        let metrics = match config.metrics_listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        let port = listener.address()?.port();
        let mut hosts: Vec<String> = config.public_url.iter().filter_map(|url| host_of(url)).collect();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}")));
        let (tls, timeout) = (client_config(config.ca.as_deref())?, Duration::from_secs(config.request_timeout));
        let dns: Arc<dyn Dns> = Arc::new(dns::System::new());
        let forwarder = Forwarder::new(tls.clone(), &dns, config.allow_private_addresses, timeout);
        let overrides = config.overrides().map_err(io::Error::other)?;
        let gateway = config.gateway_domain.clone().map(|domain| {
            let names = Names { domain, port: public_port(&config, &listener, port) };
            let network = Network { dns, overrides, private: config.allow_private_addresses };
            let ordinary = Ordinary::new(tls, &Arc::new(network), clock.clone(), timeout);
            Gateway::new(names, ordinary, clock.clone())
        });
        let relay = Relay {
            config,
            gateway,
            identity,
            clock,
            store,
            nodes: Nodes::default(),
            forwarder,
            metrics: registry,
            hosts,
            callers,
            asking: Places::new(SHARE_OF_NODE),
            records: tokio::sync::Mutex::default(),
        };
        Ok(Self { relay: Arc::new(relay), listener, metrics })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }

    /// The certificate that it serves HTTPS with.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.listener.certificate()
    }

    /// The relay's server name.
    pub fn name(&self) -> &ServerName {
        self.relay.identity.name()
    }

    /// Serves until `stop`, then lets tunnels and requests end.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { relay, listener, metrics } = self;
        let sweeper = tokio::spawn(sweep(relay.clone()));
        let app = app(relay.clone(), metrics.is_none());
        let watched = metrics.map(|listener| tokio::spawn(axum::serve(listener, metrics_app(relay.clone())).into_future()));
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async move {
            stop.await;
            tracing::info!("stopping");
            let _ = stopping.send(());
        };
        let served = tokio::spawn(serve(listener, app, Duration::from_secs(relay.config.head_timeout), stop));
        let _ = stopped.await;
        drain(&relay, served).await?;
        sweeper.abort();
        if let Some(watched) = watched {
            watched.abort();
        }
        Ok(())
    }
}

/// The port at which ordinary servers reach the gateway's names: that of the URL which is published, or else our own when we serve HTTPS.
fn public_port(config: &Config, listener: &Listening, port: u16) -> u16 {
    match config.public_url.first().and_then(|url| host_of(url)) {
        Some(host) => ServerName::parse(host).ok().and_then(|host| host.port()).unwrap_or(HTTPS),
        None if listener.certificate().is_some() => port,
        None => HTTPS,
    }
}

/// Lets requests end that are under way, and then the tunnels, on which they depend; as far as they do so in time.
async fn drain(relay: &Relay, mut served: JoinHandle<()>) -> io::Result<()> {
    let requests = match tokio::time::timeout(DRAIN, &mut served).await {
        Ok(ended) => ended.map_err(io::Error::other),
        Err(_) => {
            served.abort();
            Ok(())
        }
    };
    relay.nodes.close_all(Reason { code: CLOSE_STOPPING, text: "the relay stops" });
    let tunnels = async {
        while relay.nodes.count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(DRAIN, tunnels).await;
    requests
}

async fn sweep(relay: Arc<Relay>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        relay.callers.forget();
        if let Err(error) = relay.expire().await {
            tracing::error!(%error, "the store failed");
        }
    }
}

fn app(relay: Arc<Relay>, with_metrics: bool) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers([HeaderName::from_static(OUTCOME_HEADER)])
        .max_age(Duration::from_secs(86_400));
    let app = Router::new()
        .route(TUNNEL, any(tunnel))
        .route(FORWARD, post(forward))
        .route("/health", get(health))
        .fallback(own)
        .layer(middleware::from_fn_with_state(relay.clone(), limited))
        .layer(cors)
        .with_state(relay.clone());
    if with_metrics { app.merge(metrics_app(relay)) } else { app }
}

fn metrics_app(relay: Arc<Relay>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(relay)
}

/// Refuses an address that asks too much.
async fn limited(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(addresses): ConnectInfo<Addresses>,
    request: http::Request<HttpBody>,
    next: Next,
) -> http::Response<HttpBody> {
    match relay.callers.request(who(&relay, request.headers(), addresses)) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            relay.metrics.limited("requests");
            let response: Response = Refused::too_often(wait).into();
            let seconds = wait.div_ceil(1_000).to_string();
            http_response(Response { headers: response.headers.clone().with(header::RETRY_AFTER.as_str(), seconds), ..response })
        }
    }
}

async fn tunnel(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(addresses): ConnectInfo<Addresses>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> impl IntoResponse {
    const { assert!(MAX_MESSAGE <= SOCKET_MESSAGE) };
    // The very address that was connected to leads here; a host that the request names need not.
    let local = addresses.local.map(|address| address.to_string()).unwrap_or_default();
    let from = who(&relay, &headers, addresses);
    let Some(place) = relay.callers.tunnel(from) else {
        relay.metrics.limited("connections");
        return (StatusCode::TOO_MANY_REQUESTS, "too many tunnels come from there\n").into_response();
    };
    upgrade
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(SOCKET_BACKLOG)
        .max_message_size(SOCKET_MESSAGE)
        .max_frame_size(SOCKET_MESSAGE)
        .on_upgrade(move |socket| async move {
            socket::serve(relay, socket, local, from).await;
            drop(place);
        })
        .into_response()
}

/// A request as a binary message, from another relay or from a browser.
async fn forward(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(addresses): ConnectInfo<Addresses>,
    request: http::Request<HttpBody>,
) -> http::Response<HttpBody> {
    let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if named != Some(CONTENT_TYPE) {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be a message/bhttp\n").into_response();
    }
    let who = who(&relay, request.headers(), addresses);
    let Some(place) = slot(&relay, who) else { return busy() };
    let slowest = Duration::from_secs(relay.config.head_timeout);
    let head = tokio::time::timeout(slowest, read_request(pipe::reader(body_of(request)))).await;
    let answer = match head.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(request) => relay.answer(request.map_body(boxed), Caller::Stranger(who)).await,
        Err(error) => Refused::bad(format!("The message is none: {error}.")).into(),
    };
    let (writer, body) = pipe();
    // Who does not read the answer sees it cut off: the writer is dropped before the message's end.
    tokio::spawn(async move {
        let _ = tokio::time::timeout(LONGEST_ANSWER, write_response(writer, answer)).await;
        drop(place);
    });
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], HttpBody::from_stream(body)).into_response()
}

/// Everything else over HTTP is for one of the gateway's names, or for the relay itself.
async fn own(
    State(relay): State<Arc<Relay>>,
    ConnectInfo(addresses): ConnectInfo<Addresses>,
    request: http::Request<HttpBody>,
) -> http::Response<HttpBody> {
    let who = who(&relay, request.headers(), addresses);
    let Some(_slot) = slot(&relay, who) else { return busy() };
    let named = relay.gateway.as_ref().and_then(|gateway| Some((gateway, gateway.node(host(&request)?)?)));
    match named {
        Some((gateway, node)) => http_response(gateway::answer(&relay, gateway, request_for(&node, request), Caller::Stranger(who)).await),
        None => http_response(relay.answer(request_for(relay.identity.name(), request), Caller::Stranger(who)).await),
    }
}

fn who(relay: &Relay, headers: &HeaderMap, addresses: Addresses) -> Option<Address> {
    relay.callers.who(headers, addresses.remote.map(|remote| remote.ip()))
}

/// A place for one more request, unless too many are under way, of all or of that address.
fn slot(relay: &Relay, who: Option<Address>) -> Option<Slot> {
    let slot = relay.callers.slot(who);
    if slot.is_none() {
        relay.metrics.limited("slots");
    }
    slot
}

fn busy() -> http::Response<HttpBody> {
    (StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way\n").into_response()
}

fn host<B>(request: &http::Request<B>) -> Option<&str> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or(host)
}

fn request_for(server: &ServerName, request: http::Request<HttpBody>) -> Request {
    let uri = request.uri().path_and_query().map(|uri| uri.as_str().to_owned()).unwrap_or_default();
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    Request {
        method: request.method().to_string(),
        authority: server.to_string(),
        uri,
        headers: Headers::from_iter(headers),
        body: body_of(request),
    }
}

fn body_of(request: http::Request<HttpBody>) -> crate::reply::Body {
    boxed(request.into_body().into_data_stream().map_ok(|bytes| bytes.to_vec()).map_err(io::Error::other).fuse())
}

fn http_response(response: Response) -> http::Response<HttpBody> {
    let Response { status, headers, body } = response;
    let mut answer = http::Response::new(HttpBody::from_stream(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

/// Whether the relay can do its work: the database can be read.
async fn health(State(relay): State<Arc<Relay>>) -> (StatusCode, &'static str) {
    match relay.store.usage().await {
        Ok(_) => (StatusCode::OK, "ok\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store failed\n"),
    }
}

async fn metrics(State(relay): State<Arc<Relay>>) -> impl IntoResponse {
    relay.metrics.tunnels.set(relay.nodes.count() as i64);
    relay.metrics.request_bytes.set(relay.config.request_bytes.saturating_sub(relay.callers.room()) as u64);
    if let Ok(usage) = relay.store.usage().await {
        relay.metrics.waiting.set(usage.entries);
        relay.metrics.waiting_bytes.set(usage.bytes);
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], relay.metrics.text())
}
