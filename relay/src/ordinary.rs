//! Ordinary homeservers: finding one by its name, and asking it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body as HttpBody,
    http::{self, HeaderName, HeaderValue, Uri},
};
use inglenook_protocol::message::{Headers, MAX_BODY};
use ruma::ServerName;
use rustls::ClientConfig;

use crate::{
    client::{self, Client},
    clock::Clock,
    dial::{Door, Network},
    headers::handed_on,
    origin::WholeRequest,
    pipe::limited,
    reply::Response,
    well_known::{WellKnown, is_settled},
};

/// The way to ordinary homeservers.
pub(crate) struct Ordinary {
    client: Client,
    well_known: WellKnown,
    timeout: Duration,
}

impl Ordinary {
    /// Waits for answers so long.
    pub(crate) fn new(tls: ClientConfig, network: &Arc<Network>, clock: Clock, timeout: Duration) -> Self {
        let well_known = WellKnown::new(client::new(tls.clone(), network, Door::Web), clock);
        Self { client: client::new(tls, network, Door::Federation), well_known, timeout }
    }

    /// What `server` answers. The body comes as it is read, up to the largest media file.
    pub(crate) async fn ask(&self, server: &ServerName, request: WholeRequest) -> io::Result<Response> {
        let response = tokio::time::timeout(self.timeout, self.exchange(server, request)).await??;
        let status = response.status().as_u16();
        let headers = response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let headers = handed_on(&Headers::from_iter(headers));
        Ok(Response { status, headers, body: limited(client::body(response.into_body()), MAX_BODY) })
    }

    async fn exchange(&self, server: &ServerName, request: WholeRequest) -> io::Result<http::Response<HttpBody>> {
        let authority = self.authority(server).await;
        let uri: Uri = format!("https://{authority}{}", request.uri).parse().map_err(io::Error::other)?;
        let mut outgoing = http::Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in handed_on(&request.headers).iter() {
            outgoing = outgoing
                .header(HeaderName::try_from(name).map_err(io::Error::other)?, HeaderValue::try_from(value).map_err(io::Error::other)?);
        }
        let outgoing = outgoing.body(HttpBody::from(request.body)).map_err(io::Error::other)?;
        client::request_to(&self.client, outgoing).await
    }

    /// The name by which a server is addressed, and which its certificate is for: its own, or the one that it has delegated to.
    async fn authority(&self, server: &ServerName) -> String {
        if is_settled(server) {
            return server.to_string();
        }
        let delegated = self.well_known.delegated(server.host()).await;
        delegated.map_or_else(|| server.to_string(), |delegated| delegated.to_string())
    }
}
