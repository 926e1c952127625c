//! Connections as they come in, plain or by TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    callers::{Callers, Counted},
    metrics::Metrics,
    tls::Certificate,
};

/// How many connections may be about to agree on their encryption, at some 20 kB each; more wait to be accepted.
const MAX_HANDSHAKES: usize = 4_096;

/// How long that may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection of either sort.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What is known of a connection: both addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
}

/// A socket that listens.
pub(crate) struct Listening {
    tcp: TcpListener,
    tls: Option<(Certificate, TlsAcceptor)>,
    callers: Arc<Callers>,
    metrics: Arc<Metrics>,
    handshakes: JoinSet<Option<(Box<dyn Stream>, Addresses)>>,
}

impl Listening {
    /// Serves HTTPS where there is a certificate.
    pub(crate) fn new(
        tcp: TcpListener,
        certificate: Option<Certificate>,
        callers: Arc<Callers>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let tls = certificate.map(|certificate| {
            let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
            io::Result::Ok((certificate, acceptor))
        });
        Ok(Self { tcp, tls: tls.transpose()?, handshakes: JoinSet::new(), callers, metrics })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref().map(|(certificate, _)| certificate)
    }
}

impl Listener for Listening {
    type Io = Box<dyn Stream>;
    type Addr = Addresses;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, remote) = Listener::accept(&mut self.tcp), if self.handshakes.len() < MAX_HANDSHAKES => {
                    // Small messages must not wait for one another.
                    let _ = stream.set_nodelay(true);
                    let Some(place) = self.callers.connect(remote.ip()) else {
                        self.metrics.limited("connections");
                        continue;
                    };
                    let addresses = Addresses { remote: Some(remote), local: stream.local_addr().ok() };
                    let stream = Counted::new(stream, place);
                    match &self.tls {
                        None => return (Box::new(stream), addresses),
                        Some((_, acceptor)) => drop(self.handshakes.spawn(encrypted(acceptor.clone(), stream, addresses))),
                    }
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Addresses { remote: None, local: Some(self.tcp.local_addr()?) })
    }
}

async fn encrypted(acceptor: TlsAcceptor, stream: Counted<TcpStream>, addresses: Addresses) -> Option<(Box<dyn Stream>, Addresses)> {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some((Box::new(stream), addresses)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not encrypted");
            None
        }
        Err(_) => None,
    }
}
