//! Connecting to a server whose name somebody else has chosen: only to public addresses, checked on the very address that is dialled.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use crate::{address::is_public, dns::Dns};

/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);

/// How many services of a name, and addresses of a service, are tried.
const MAX_TRIED: usize = 4;

/// Where federation is reached unless it is said.
const FEDERATION: u16 = 8448;
/// Likewise for HTTPS.
const HTTPS: u16 = 443;

/// Under which names a service is found; the second is deprecated.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>
const SERVICES: [&str; 2] = ["_matrix-fed._tcp", "_matrix._tcp"];

/// What is between us and the others.
pub(crate) struct Network {
    /// What names lead to.
    pub(crate) dns: Arc<dyn Dns>,
    /// Hosts, or hosts with a port, that are connected to at another address, as the operator says.
    pub(crate) overrides: BTreeMap<String, SocketAddr>,
    /// Whether addresses may be private.
    pub(crate) private: bool,
}

/// What a host without a port stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A web server.
    Web,
    /// A homeserver, once well-known delegation is settled.
    Federation,
}

impl Network {
    /// Connects to the host and the port of a URL.
    async fn connect(&self, uri: &Uri, door: Door) -> io::Result<TcpStream> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "there is no address");
        for (host, port) in self.targets(host, uri.port_u16(), door).await {
            match self.reach(&host, port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Hosts and ports to try, one after the other.
    async fn targets(&self, host: &str, port: Option<u16>, door: Door) -> Vec<(String, u16)> {
        let at = |port| vec![(host.to_owned(), port)];
        match (port, door) {
            (Some(port), _) => return at(port),
            (None, Door::Web) => return at(HTTPS),
            (None, Door::Federation) => {}
        }
        if host.parse::<IpAddr>().is_err() && !self.overrides.contains_key(host) {
            for service in SERVICES {
                let mut found = self.dns.services(&format!("{service}.{host}")).await;
                found.truncate(MAX_TRIED);
                if !found.is_empty() {
                    return found;
                }
            }
        }
        at(FEDERATION)
    }

    async fn reach(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::PermissionDenied, "the address is not public");
        for address in self.addresses(host, port).await?.into_iter().take(MAX_TRIED) {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failed = error,
                Err(elapsed) => failed = elapsed.into(),
            }
        }
        Err(failed)
    }

    /// Where a host can be connected to, less what must not be.
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let other = self.overrides.get(&format!("{host}:{port}")).or_else(|| self.overrides.get(host));
        let found = match (other, host.parse::<IpAddr>()) {
            (Some(address), _) => vec![*address],
            (None, Ok(address)) => vec![SocketAddr::new(address, port)],
            (None, Err(_)) => self.dns.addresses(host).await?.into_iter().map(|address| SocketAddr::new(address, port)).collect(),
        };
        Ok(found.into_iter().filter(|address| self.private || is_public(address.ip())).collect())
    }
}

/// Opens connections for an HTTP client, which takes care of their encryption.
#[derive(Clone)]
pub(crate) struct Dialer {
    network: Arc<Network>,
    door: Door,
}

impl Dialer {
    /// Connects to what URLs name.
    pub(crate) fn new(network: Arc<Network>, door: Door) -> Self {
        Self { network, door }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { network, door } = self.clone();
        Box::pin(async move { network.connect(&uri, door).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;

    /// A zone that is written down.
    #[derive(Default)]
    struct Zone {
        addresses: BTreeMap<&'static str, Vec<IpAddr>>,
        services: BTreeMap<&'static str, Vec<(String, u16)>>,
    }

    impl Dns for Zone {
        fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async move { self.addresses.get(host).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()) })
        }

        fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>> {
            Box::pin(async move { self.services.get(name).cloned().unwrap_or_default() })
        }
    }

    fn network(zone: Zone) -> Network {
        Network { dns: Arc::new(zone), overrides: BTreeMap::new(), private: false }
    }

    async fn targets(zone: Zone, host: &str, port: Option<u16>) -> Vec<(String, u16)> {
        network(zone).targets(host, port, Door::Federation).await
    }

    fn zone(services: &[(&'static str, &str, u16)]) -> Zone {
        let services = services.iter().map(|(name, host, port)| (*name, vec![((*host).to_owned(), *port)])).collect();
        Zone { services, ..Zone::default() }
    }

    #[tokio::test]
    async fn a_name_without_a_port_is_found_by_its_services_and_else_at_8448() {
        let both = || zone(&[("_matrix-fed._tcp.a.example", "new.example", 1), ("_matrix._tcp.a.example", "old.example", 2)]);
        let old = || zone(&[("_matrix._tcp.a.example", "old.example", 2)]);
        assert_eq!(targets(both(), "a.example", None).await, [("new.example".to_owned(), 1)]);
        assert_eq!(targets(old(), "a.example", None).await, [("old.example".to_owned(), 2)]);
        assert_eq!(targets(Zone::default(), "a.example", None).await, [("a.example".to_owned(), 8448)]);
        // A port is the end of it, and an address has no services.
        assert_eq!(targets(both(), "a.example", Some(9)).await, [("a.example".to_owned(), 9)]);
        assert_eq!(targets(zone(&[("_matrix-fed._tcp.1.1.1.1", "b", 1)]), "1.1.1.1", None).await, [("1.1.1.1".to_owned(), 8448)]);
        assert_eq!(network(both()).targets("a.example", None, Door::Web).await, [("a.example".to_owned(), 443)]);
    }

    #[tokio::test]
    async fn whatever_a_name_leads_to_has_to_be_public() {
        let addresses = BTreeMap::from([
            ("inside.example", vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            ("both.example", vec!["127.0.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap()]),
        ]);
        let services = BTreeMap::from([("_matrix-fed._tcp.a.example", vec![("inside.example".to_owned(), 1)])]);
        let network = network(Zone { addresses, services });
        assert_eq!(network.addresses("both.example", 5).await.unwrap(), ["1.1.1.1:5".parse().unwrap()]);
        for url in ["https://inside.example:1", "https://127.0.0.1:1", "https://[::1]", "https://[::ffff:10.0.0.1]:1", "https://a.example"]
        {
            let error = network.connect(&url.parse().unwrap(), Door::Federation).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{url}: {error}");
        }
    }
}
