//! Relays and nodes for the tests: a node here is its key, its tunnel, and what it was asked.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::HeaderName;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{Sink, SinkExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use inglenook_protocol::{
    handshake::{Challenge, Refusal, Verdict, Welcome},
    key_name::{KEY_ID, label_of},
    message::{CONTENT_TYPE, Headers, Request, Response, read_response, whole, write_request},
    path::{FORWARD, Outcome, TUNNEL},
    socket::ByteSocket,
    tunnel::{self, Ended, Side, Tunnel, TunnelBody},
    x_matrix::SignedParts,
};
use inglenook_relay::{clock::Clock, config::Config, server::Server, tls::Certificate};
use ruma::{
    CanonicalJsonObject, OwnedServerName, ServerName, SigningKeyId,
    signatures::{KeyPair, Signature},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// The header that relays of the tests believe, if any.
pub(crate) const FORWARDED: &str = "x-forwarded-for";

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what has to happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this should have happened by now")
}

/// A relay within the test's process.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) name: OwnedServerName,
    pub(crate) clock: Clock,
    pub(crate) certificate: Option<Certificate>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
    data: Option<tempfile::TempDir>,
    change: Change,
}

/// What is other than usual in a relay's settings.
type Change = Arc<dyn Fn(&mut Config) + Send + Sync>;

pub(crate) const START: u64 = 1_800_000_000_000;

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self::on(tempfile::tempdir().unwrap(), Arc::new(change), Clock::standing(START)).await
    }

    async fn on(data: tempfile::TempDir, change: Change, clock: Clock) -> Self {
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: data.path().into(),
            allow_private_addresses: true,
            ..Config::default()
        };
        change(&mut config);
        let server = Server::bind(config, clock.clone()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (address, name) = (server.address().unwrap(), server.name().to_owned());
        let certificate = server.certificate().cloned();
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { address, name, clock, certificate, stop: Some(stop), running, data: Some(data), change }
    }

    /// A relay in a process of its own.
    pub(crate) fn over(address: SocketAddr) -> Self {
        let running = tokio::spawn(async { Ok(()) });
        let name = Key::of(0).name();
        Self { address, name, clock: Clock::system(), certificate: None, stop: None, running, data: None, change: Arc::new(|_| {}) }
    }

    /// Stops the relay and starts it over the same data, at another port.
    pub(crate) async fn restart(mut self) -> Self {
        drop(self.stop.take());
        soon(&mut self.running).await.unwrap().unwrap();
        Self::on(self.data.take().unwrap(), self.change.clone(), self.clock.clone()).await
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        soon(&mut self.running).await.unwrap().unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request over HTTP: status, `inglenook-outcome` and body.
    pub(crate) async fn http(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.http_at("relay", method, uri, headers, body).await
    }

    /// The same with that `Host`.
    pub(crate) async fn http_at(&self, at: &str, method: &str, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let socket = TcpStream::connect(self.address).await.unwrap();
        http_over(socket, at, method, uri, headers, body).await
    }

    /// A signed request of `node` to the relay itself over HTTP.
    pub(crate) async fn signed_http(&self, node: &Key, method: &str, uri: &str, body: &[u8]) -> Reply {
        let header = node.sign_request(method, uri, &self.name, body);
        self.http(method, uri, &[("authorization", &header)], body).await
    }

    /// Hands a request over at the endpoint for other relays.
    pub(crate) async fn forward(&self, request: Request<Vec<u8>>) -> Reply {
        self.forward_with(&[], request).await
    }

    /// The same from an address that the proxy names, where the relay believes one.
    pub(crate) async fn forward_from(&self, address: &str, request: Request<Vec<u8>>) -> Reply {
        self.forward_with(&[(FORWARDED, address)], request).await
    }

    async fn forward_with(&self, headers: &[(&str, &str)], request: Request<Vec<u8>>) -> Reply {
        let mut message = Vec::new();
        write_request(&mut message, request.map_body(whole)).await.unwrap();
        let headers = [headers, &[("content-type", CONTENT_TYPE)]].concat();
        let outer = self.http("POST", FORWARD, &headers, &message).await;
        assert_eq!(outer.status, 200, "{outer:?}");
        let inner = read_response(outer.body.as_slice()).await.unwrap();
        Reply::of(inner).await
    }
}

/// A request over a connection, and its answer.
pub(crate) async fn http_over(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    at: &str,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut request = format!("{method} {uri} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    soon(socket.read_to_end(&mut answer)).await.unwrap();
    Reply::read(&answer)
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn read(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP head");
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value)).collect();
        let body = &bytes[at + 4..];
        let body = if headers.first("transfer-encoding").is_some() { dechunk(body) } else { body.to_vec() };
        Self { status, headers, body }
    }

    pub(crate) async fn of<B: Stream<Item = io::Result<Vec<u8>>>>(response: Response<B>) -> Self {
        let Response { status, headers, body } = response;
        Self { status, headers, body: inglenook_protocol::message::collect(body, 200 << 20).await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::parse(self.headers.first("inglenook-outcome"))
    }

    pub(crate) fn errcode(&self) -> String {
        self.json()["errcode"].as_str().unwrap_or_default().to_owned()
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let at = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[at + 2..at + 2 + length]);
        bytes = &bytes[at + 4 + length..];
    }
}

/// A key and the name made of it.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) SigningKey, Option<&'static str>);

impl KeyPair for Key {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(SigningKeyId::parse(KEY_ID).unwrap(), self.0.sign(message).to_bytes().to_vec())
    }
}

impl Key {
    pub(crate) fn of(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]), None)
    }

    /// One of many.
    pub(crate) fn numbered(number: u32) -> Self {
        let mut seed = [77; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Self(SigningKey::from_bytes(&seed), None)
    }

    /// The same key with a name below a gateway's domain.
    pub(crate) fn below(self, domain: &'static str) -> Self {
        Self(self.0, Some(domain))
    }

    pub(crate) fn name(&self) -> OwnedServerName {
        let label = label_of(&self.0.verifying_key().to_bytes());
        ServerName::parse(self.1.map_or(label.clone(), |domain| format!("{label}.{domain}"))).unwrap()
    }

    pub(crate) fn user(&self, local: &str) -> String {
        format!("@{local}:{}", self.name())
    }

    pub(crate) fn sign_request(&self, method: &str, uri: &str, destination: &ServerName, body: &[u8]) -> String {
        let content = (!body.is_empty()).then(|| serde_json::from_slice(body).unwrap());
        let (origin, destination) = (self.name(), destination.as_str());
        SignedParts { method, uri, origin: origin.as_str(), destination, content: content.as_ref() }.sign(self).unwrap()
    }

    /// A request to `destination`, signed.
    pub(crate) fn request(&self, method: &str, uri: &str, destination: &ServerName, body: &[u8]) -> Request<Vec<u8>> {
        let header = self.sign_request(method, uri, destination, body);
        let headers = Headers::from_iter([("authorization", header.as_str()), ("content-type", "application/json")]);
        Request { method: method.into(), authority: destination.to_string(), uri: uri.into(), headers, body: body.to_vec() }
    }

    /// A transaction to `destination`.
    pub(crate) fn transaction(&self, id: &str, destination: &ServerName) -> Request<Vec<u8>> {
        let body = format!(r#"{{"origin":"{}","origin_server_ts":1, "pdus":[{{"id":"{id}"}}]}}"#, self.name());
        self.request("PUT", &send_uri(id), destination, body.as_bytes())
    }

    /// A transaction of EDUs.
    pub(crate) fn edus(&self, id: &str, destination: &ServerName, edus: Value) -> Request<Vec<u8>> {
        let body = serde_json::to_vec(&serde_json::json!({ "origin": self.name(), "origin_server_ts": 1, "pdus": [], "edus": edus }));
        self.request("PUT", &send_uri(id), destination, &body.unwrap())
    }

    /// Dials a relay by the URL `dialled`, and answers the challenge as if it had dialled `claimed`.
    pub(crate) async fn dial(&self, dialled: &str, claimed: &str) -> Result<(Socket, Welcome), Refusal> {
        self.dial_with(&[], dialled, claimed).await
    }

    async fn dial_with(&self, headers: &[(&'static str, &str)], dialled: &str, claimed: &str) -> Result<(Socket, Welcome), Refusal> {
        let mut request = format!("{}{TUNNEL}", dialled.replacen("http", "ws", 1)).into_client_request().unwrap();
        request.headers_mut().extend(headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())));
        let (mut socket, _) = connect_async(request).await.unwrap();
        let challenge: Challenge = serde_json::from_str(&text(&mut socket).await).unwrap();
        let proof = self.prove(&challenge, claimed);
        socket.send(Message::text(serde_json::to_string(&proof).unwrap())).await.unwrap();
        let verdict: Verdict = serde_json::from_str(&text(&mut socket).await).unwrap();
        verdict.read(&challenge, &self.name()).map(|welcome| (socket, welcome))
    }

    pub(crate) fn prove(&self, challenge: &Challenge, dialled: &str) -> CanonicalJsonObject {
        challenge.prove(dialled, &self.name(), self).unwrap()
    }

    /// Attaches to a relay, answering every request with 200.
    pub(crate) async fn attach(&self, host: &Host) -> Node {
        self.attach_with(host, |_| Box::pin(async { boxed(200, "{}") })).await
    }

    /// The same by another way that leads to the relay.
    pub(crate) async fn attach_by(&self, host: &Host, url: &str) -> Node {
        let (socket, welcome) = self.dial(url, &host.address.to_string()).await.unwrap();
        Node::over(self.clone(), socket, welcome, |_| Box::pin(async { boxed(200, "{}") }))
    }

    /// The same from an address that the proxy names.
    pub(crate) async fn attach_from(&self, host: &Host, address: &str) -> Result<Node, Refusal> {
        let (socket, welcome) = self.dial_with(&[(FORWARDED, address)], &host.url(), &host.address.to_string()).await?;
        Ok(Node::over(self.clone(), socket, welcome, |_| Box::pin(async { boxed(200, "{}") })))
    }

    pub(crate) async fn attach_with(&self, host: &Host, handler: Handler) -> Node {
        let (socket, welcome) = self.dial(&host.url(), &host.address.to_string()).await.unwrap();
        Node::over(self.clone(), socket, welcome, handler)
    }
}

pub(crate) fn send_uri(id: &str) -> String {
    format!("/_matrix/federation/v1/send/{id}")
}

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
pub(crate) type Chunks = BoxStream<'static, io::Result<Vec<u8>>>;
pub(crate) type Handler = fn(Request<Vec<u8>>) -> BoxFuture<'static, Response<Chunks>>;

pub(crate) fn boxed(status: u16, body: &str) -> Response<Chunks> {
    Response { status, headers: Headers::default(), body: whole(body).boxed() }
}

pub(crate) async fn text(socket: &mut Socket) -> String {
    loop {
        match soon(socket.next()).await.unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// An attached node.
pub(crate) struct Node {
    pub(crate) key: Key,
    pub(crate) tunnel: Tunnel,
    pub(crate) welcome: Welcome,
    /// What it was asked, in order.
    pub(crate) inbox: mpsc::UnboundedReceiver<Request<Vec<u8>>>,
    driver: JoinHandle<Ended>,
    close_code: oneshot::Receiver<u16>,
}

impl Node {
    fn over(key: Key, socket: Socket, welcome: Welcome, handler: Handler) -> Self {
        let (asked, inbox) = mpsc::unbounded_channel();
        let (code, close_code) = oneshot::channel();
        let (tunnel, driver) =
            tunnel::start(ByteSocket::new(Binary(socket, Some(code))), Side::Node, move |request: Request<TunnelBody>| {
                let asked = asked.clone();
                async move {
                    let Request { method, authority, uri, headers, body } = request;
                    let request = Request { method, authority, uri, headers, body: body.collect(1 << 24).await.unwrap() };
                    let _ = asked.send(request.clone());
                    handler(request).await
                }
            });
        Self { key, tunnel, welcome, inbox, driver: tokio::spawn(driver), close_code }
    }

    pub(crate) fn name(&self) -> OwnedServerName {
        self.key.name()
    }

    /// Sends a request up the tunnel.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Reply {
        let response = soon(self.tunnel.request(request.map_body(whole))).await.unwrap();
        soon(Reply::of(response)).await
    }

    /// Sends one that says where its destination is attached.
    pub(crate) async fn send_by(&self, mut request: Request<Vec<u8>>, relays: &[&str]) -> Reply {
        request.headers.push("inglenook-relays", relays.join(", "));
        self.send(request).await
    }

    /// An unsigned request to the relay itself.
    pub(crate) async fn ask_relay(&self, method: &str, uri: &str, body: &[u8]) -> Reply {
        let authority = self.welcome.challenge.relay.to_string();
        self.send(Request { method: method.into(), authority, uri: uri.into(), headers: Headers::default(), body: body.to_vec() }).await
    }

    pub(crate) async fn next(&mut self) -> Request<Vec<u8>> {
        soon(self.inbox.recv()).await.unwrap()
    }

    /// What has been asked within a moment.
    pub(crate) async fn quiet(&mut self) -> Option<Request<Vec<u8>>> {
        tokio::time::timeout(Duration::from_millis(300), self.inbox.recv()).await.ok().flatten()
    }

    /// Goes away without a word.
    pub(crate) async fn vanish(self, host: &Host) {
        self.driver.abort();
        let _ = self.driver.await;
        gone(host, &self.key).await;
    }

    /// How the tunnel ended, and the close frame's code.
    pub(crate) async fn ended(self) -> (Ended, Option<u16>) {
        (soon(self.driver).await.unwrap(), self.close_code.await.ok())
    }
}

/// One of the relay's figures.
pub(crate) async fn metric(host: &Host, name: &str) -> u64 {
    let text = String::from_utf8(host.http("GET", "/metrics", &[], b"").await.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits until the relay has noticed that a node is gone.
pub(crate) async fn gone(host: &Host, key: &Key) {
    let probe = Key::of(250);
    loop {
        let request = probe.request("GET", "/_matrix/federation/v1/version", &key.name(), b"");
        let reply = host.forward(request).await;
        if reply.outcome() != Outcome::Answered && reply.status != 502 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The binary messages of a socket.
struct Binary(Socket, Option<oneshot::Sender<u16>>);

impl Stream for Binary {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.0.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Some(Ok(bytes.into()))),
                Some(Ok(Message::Close(frame))) => {
                    if let (Some(frame), Some(sender)) = (frame, self.1.take()) {
                        let _ = sender.send(frame.code.into());
                    }
                    return Poll::Ready(None);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Sink<Vec<u8>> for Binary {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Vec<u8>) -> io::Result<()> {
        self.0.start_send_unpin(Message::binary(message)).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}
