//! Looking names up by queries of our own. The system's way takes a thread for each name, which somebody's silent name server holds for half
//! a minute, and threads are what the database is read by.

use std::{cmp::Reverse, collections::BTreeMap, io, net::IpAddr, time::Duration};

use futures_util::future::BoxFuture;
use hickory_resolver::{TokioResolver, proto::rr::RData};

use crate::identity::random;

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What names lead to.
pub(crate) trait Dns: Send + Sync {
    /// The addresses of a host.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
    /// The hosts and ports of a service, in the order in which to try them; none when nothing is known.
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>>;
}

/// The machine's.
pub(crate) struct System(Option<TokioResolver>);

impl System {
    /// Reads the machine's settings. Without them there are no services, and addresses are looked up as the system does.
    pub(crate) fn new() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        Self(resolver.inspect_err(|error| tracing::warn!(%error, "SRV records cannot be looked up")).ok())
    }

    async fn records(&self, name: &str) -> Vec<Record> {
        let Some(resolver) = &self.0 else { return Vec::new() };
        // The dot at the end keeps the machine's search domains out of it.
        let found = tokio::time::timeout(LOOK_UP, resolver.srv_lookup(format!("{name}."))).await;
        let Ok(Ok(found)) = found else { return Vec::new() };
        found.answers().iter().filter_map(|answer| record(&answer.data)).collect()
    }
}

fn record(data: &RData) -> Option<Record> {
    let RData::SRV(record) = data else { return None };
    let host = record.target.to_utf8().trim_end_matches('.').to_owned();
    // A target without a name means that there is no such service.
    (!host.is_empty()).then_some(Record { priority: record.priority, weight: record.weight, host, port: record.port })
}

impl Dns for System {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = match &self.0 {
                Some(resolver) => {
                    tokio::time::timeout(LOOK_UP, resolver.lookup_ip(host)).await?.map_err(io::Error::other)?.iter().collect()
                }
                None => tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, 0))).await??.map(|address| address.ip()).collect(),
            };
            Ok(in_turn(found))
        })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<(String, u16)>> {
        Box::pin(async move { in_order(self.records(name).await, |below| random::<8>().map_or(0, u64::from_be_bytes) % below) })
    }
}

/// Addresses of both versions in turn, since a machine may have a way to one version alone, and only a few are tried.
fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// An SRV record.
#[derive(Clone, Debug)]
struct Record {
    priority: u16,
    weight: u16,
    host: String,
    port: u16,
}

/// The order in which to try them: by priority, and among equals by lot, the heavier the likelier.
///
/// `draw` gives a random number below its argument. <https://www.rfc-editor.org/rfc/rfc2782>
fn in_order(records: Vec<Record>, draw: impl Fn(u64) -> u64) -> Vec<(String, u16)> {
    let mut by_priority: BTreeMap<u16, Vec<Record>> = BTreeMap::new();
    for record in records {
        by_priority.entry(record.priority).or_default().push(record);
    }
    let mut ordered = Vec::new();
    for mut equals in by_priority.into_values() {
        // Those without weight come last, unless the lot falls on nobody else.
        equals.sort_by_key(|record| Reverse(record.weight));
        while !equals.is_empty() {
            let total: u64 = equals.iter().map(|record| u64::from(record.weight)).sum();
            let mut lot = draw(total.max(1));
            let chosen = equals.iter().position(|record| match lot.checked_sub(u64::from(record.weight)) {
                Some(left) => {
                    lot = left;
                    false
                }
                None => true,
            });
            let Record { host, port, .. } = equals.remove(chosen.unwrap_or_default());
            ordered.push((host, port));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_resolver::{
        config::{NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
        proto::{
            op::{Message, ResponseCode},
            rr::{
                Record as DnsRecord, RecordType,
                rdata::{A, SRV},
            },
        },
    };
    use tokio::net::UdpSocket;

    use super::*;

    fn record(priority: u16, weight: u16, host: &str) -> Record {
        Record { priority, weight, host: host.into(), port: 1 }
    }

    #[test]
    fn services_are_tried_by_priority_and_weight() {
        let records = [record(20, 0, "last"), record(10, 1, "light"), record(10, 9, "heavy"), record(10, 0, "weightless")];
        let order = |lot: u64| {
            let ordered = in_order(records.to_vec(), |below| lot.min(below - 1));
            ordered.into_iter().map(|(host, _)| host).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(0), "heavy light weightless last");
        assert_eq!(order(8), "heavy light weightless last");
        assert_eq!(order(9), "light heavy weightless last");
    }

    /// A name server that knows the services of one host, and that another has none.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut asked = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut asked).await {
                let mut answer = Message::from_vec(&asked[..length]).unwrap().into_response();
                let name = answer.queries[0].name().clone();
                if name.to_utf8() == "first.example." && answer.queries[0].query_type() == RecordType::A {
                    answer.add_answer(DnsRecord::from_rdata(name, 60, RData::A(A::new(1, 1, 1, 1))));
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                    continue;
                }
                let records: &[(u16, &str)] = match name.to_utf8().as_str() {
                    "_matrix-fed._tcp.a.example." => &[(20, "second.example."), (10, "first.example.")],
                    "_matrix-fed._tcp.none.example." => &[(0, ".")],
                    _ => &[],
                };
                for (priority, target) in records {
                    let service = SRV::new(*priority, 0, 7, target.parse().unwrap());
                    answer.add_answer(DnsRecord::from_rdata(name.clone(), 60, RData::SRV(service)));
                }
                if records.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    #[test]
    fn addresses_of_both_versions_alternate() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(in_turn(addresses(&["::1", "::2", "::3", "0.0.0.1"])), addresses(&["::1", "0.0.0.1", "::2", "::3"]));
        assert_eq!(in_turn(addresses(&["0.0.0.1", "0.0.0.2"])), addresses(&["0.0.0.1", "0.0.0.2"]));
    }

    #[tokio::test]
    async fn addresses_and_services_are_asked_of_a_name_server() {
        let address = name_server().await;
        let mut server = NameServerConfig::udp(address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = address.port());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        let dns = System(Some(resolver));
        let found = dns.services("_matrix-fed._tcp.a.example").await;
        assert_eq!(found, [("first.example".to_owned(), 7), ("second.example".to_owned(), 7)]);
        assert_eq!(dns.addresses("first.example").await.unwrap(), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
        assert!(dns.addresses("second.example").await.is_err());
        assert!(dns.addresses("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        for name in ["_matrix-fed._tcp.none.example", "_matrix._tcp.unknown.example", "no name"] {
            assert!(dns.services(name).await.is_empty(), "{name}");
        }
    }
}
