//! The HTTP client for servers that are none of ours: encrypted always, with limits on what it takes.

use std::{io, sync::Arc};

use axum::{
    body::{Body as HttpBody, Bytes},
    http::{Request, Response, Uri, header},
};
use futures_util::TryStreamExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

use crate::{
    dial::{Dialer, Door, Network},
    reply::{self, boxed},
};

/// How many connections to one server are kept for later: as many as a room's worth of questions takes at once.
pub(crate) const MAX_IDLE: usize = 4;

/// A client, with the connections that it keeps.
pub(crate) type Client = legacy::Client<HttpsConnector<Dialer>, HttpBody>;

/// A client for one sort of server. Certificates are checked against the host of the URL.
pub(crate) fn new(tls: ClientConfig, network: &Arc<Network>, door: Door) -> Client {
    let dialer = Dialer::new(network.clone(), door);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(dialer);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    // Without a timer, connections that nobody uses would stay for as long as the other side likes.
    builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(MAX_IDLE).build(connector)
}

/// Sends a request without headers of its own.
pub(crate) async fn send(client: &Client, method: &str, uri: &Uri, body: HttpBody) -> io::Result<Response<HttpBody>> {
    let request = Request::builder().method(method).uri(uri).body(body).map_err(io::Error::other)?;
    request_to(client, request).await
}

/// Sends a request. Its `Host` is the URL's authority as it is written.
pub(crate) async fn request_to(client: &Client, mut request: Request<HttpBody>) -> io::Result<Response<HttpBody>> {
    let host = request.uri().authority().and_then(|authority| authority.as_str().parse().ok());
    let host = host.ok_or_else(|| io::Error::other("the server has no name"))?;
    request.headers_mut().insert(header::HOST, host);
    Ok(client.request(request).await.map_err(failure)?.map(HttpBody::new))
}

/// The innermost reason: what is around it says only that there was no connection.
fn failure(error: legacy::Error) -> io::Error {
    let mut reason: &dyn std::error::Error = &error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    io::Error::other(reason.to_string())
}

/// A body as the relay hands it on.
pub(crate) fn body(body: HttpBody) -> reply::Body {
    boxed(body.into_data_stream().map_ok(|bytes: Bytes| bytes.to_vec()).map_err(io::Error::other))
}

/// The whole of a body that is no larger than that.
pub(crate) async fn collect(of: HttpBody, limit: usize) -> io::Result<Vec<u8>> {
    inglenook_protocol::message::collect(body(of), limit).await
}
