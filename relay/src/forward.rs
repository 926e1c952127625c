//! Handing a request to another relay, which serves the node that it is for.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body as HttpBody, Bytes},
    http::{self, Uri, header::CONTENT_TYPE as CONTENT_TYPE_HEADER},
};
use futures_util::{StreamExt, TryStreamExt};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use inglenook_protocol::{
    message::{CONTENT_TYPE, MAX_BODY, read_response, whole, write_request},
    path::FORWARD,
};
use rustls::ClientConfig;
use tower::Service;

use crate::{
    address::is_public,
    client::MAX_IDLE,
    dns::Dns,
    origin::WholeRequest,
    pipe,
    reply::{Response, boxed},
};

/// How long to wait for a connection to another relay.
const CONNECT: Duration = Duration::from_secs(10);

/// The client that speaks to other relays.
pub(crate) struct Forwarder {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, HttpBody>,
    private: bool,
    timeout: Duration,
}

impl Forwarder {
    /// A client that waits for answers so long. With `private` it connects to any address, and without encryption too.
    pub(crate) fn new(tls: ClientConfig, dns: &Arc<dyn Dns>, private: bool, timeout: Duration) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { dns: Arc::clone(dns), private });
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        let tls = HttpsConnectorBuilder::new().with_tls_config(tls);
        let tls = if private { tls.https_or_http() } else { tls.https_only() };
        let mut builder = Client::builder(TokioExecutor::new());
        // Without a timer, connections that nobody uses would stay for as long as the other side likes.
        builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(MAX_IDLE);
        let client = builder.build(tls.enable_http1().wrap_connector(http));
        Self { client, private, timeout }
    }

    /// The other relay's answer.
    pub(crate) async fn forward(&self, base_url: &str, request: &WholeRequest) -> io::Result<Response> {
        let uri: Uri = format!("{}{FORWARD}", base_url.trim_end_matches('/')).parse().map_err(io::Error::other)?;
        self.check(&uri)?;
        let mut message = Vec::new();
        write_request(&mut message, request.clone().map_body(whole)).await.map_err(io::Error::other)?;
        let request =
            http::Request::post(uri).header(CONTENT_TYPE_HEADER, CONTENT_TYPE).body(HttpBody::from(message)).map_err(io::Error::other)?;
        tokio::time::timeout(self.timeout, self.answer(request)).await?
    }

    async fn answer(&self, request: http::Request<HttpBody>) -> io::Result<Response> {
        let response = self.client.request(request).await.map_err(io::Error::other)?;
        if response.status() != http::StatusCode::OK {
            return Err(io::Error::other(format!("it answers with {}", response.status())));
        }
        let body = HttpBody::new(response.into_body()).into_data_stream();
        let body = boxed(body.map_ok(|bytes: Bytes| bytes.to_vec()).map_err(io::Error::other).fuse());
        let response = read_response(pipe::reader(body)).await?;
        Ok(response.map_body(|body| pipe::limited(boxed(body), MAX_BODY)))
    }

    /// An address in the URL itself passes by the resolver.
    fn check(&self, uri: &Uri) -> io::Result<()> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) if !self.private && !is_public(address) => Err(private_address()),
            _ => Ok(()),
        }
    }
}

fn private_address() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the address is not public")
}

/// Looks names up, and leaves out what may not be connected to.
#[derive(Clone)]
struct Resolver {
    dns: Arc<dyn Dns>,
    private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { dns, private } = self.clone();
        Box::pin(async move {
            let found = dns.addresses(name.as_str()).await?.into_iter().filter(|address| private || is_public(*address));
            let allowed: Vec<SocketAddr> = found.map(|address| SocketAddr::new(address, 0)).collect();
            if allowed.is_empty() { Err(private_address()) } else { Ok(allowed.into_iter()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use inglenook_protocol::message::Headers;

    use super::*;
    use crate::{dns, tls::client_config};

    async fn forward(url: &str) -> io::Error {
        let request = WholeRequest {
            method: "GET".into(),
            authority: "there.example".into(),
            uri: "/_matrix/federation/v1/version".into(),
            headers: Headers::default(),
            body: Vec::new(),
        };
        let dns: Arc<dyn Dns> = Arc::new(dns::System::new());
        Forwarder::new(client_config(None).unwrap(), &dns, false, Duration::from_secs(5)).forward(url, &request).await.err().unwrap()
    }

    /// Whether what failed was our own refusal, somewhere down the chain.
    fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
        error.to_string().contains("not public") || error.source().is_some_and(is_refusal)
    }

    #[tokio::test]
    async fn private_addresses_are_not_connected_to_by_whatever_name() {
        for host in ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "localhost"] {
            let error = forward(&format!("https://{host}:1")).await;
            let inner = error.get_ref().map_or_else(|| error.to_string().contains("not public"), |inner| is_refusal(inner));
            assert!(inner, "{host}: {error:?}");
        }
    }

    #[tokio::test]
    async fn nothing_goes_out_unencrypted() {
        assert!(!format!("{:?}", forward("http://1.1.1.1:1").await).contains("timed out"));
    }
}
