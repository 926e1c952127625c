//! The gateway: nodes with names below a domain, which ordinary homeservers that know nothing of relays find and ask.

use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use inglenook_protocol::{
    message::{Headers, Response, whole},
    path::{DEPOSIT, LIMITS, Outcome},
    signed,
};
use inglenook_relay::config::MAX_STORED_BODY;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    ordinary::{Authority, Ordinary},
    support::*,
};

pub(crate) const DOMAIN: &str = "gateway.example";
pub(crate) const VERSION: &str = "/_matrix/federation/v1/version";

pub(crate) fn node(seed: u8) -> Key {
    Key::of(seed).below(DOMAIN)
}

async fn gateway() -> Host {
    Host::with(|config| config.gateway_domain = Some(DOMAIN.into())).await
}

/// A gateway that trusts the authority, and finds hosts, or hosts and ports, at these addresses.
pub(crate) async fn gateway_to(authority: &Authority, hosts: &[(&str, std::net::SocketAddr)]) -> Host {
    let ca = authority.file();
    let resolve: Vec<String> = hosts.iter().map(|(host, address)| format!("{host}={address}")).collect();
    Host::with(move |config| {
        config.gateway_domain = Some(DOMAIN.into());
        config.ca = Some(ca.clone());
        config.federation_resolve = resolve.clone();
    })
    .await
}

#[tokio::test]
async fn an_ordinary_server_finds_and_asks_a_node() {
    let host = gateway().await;
    assert_eq!(host.http("GET", LIMITS, &[], b"").await.json()["gateway"], DOMAIN);
    let handler: Handler = |_| {
        let ours = [("inglenook-outcome", "stored"), ("transfer-encoding", "odd"), ("connection", "keep-alive"), ("content-length", "1")];
        let headers = Headers::from_iter([("content-type", "text/odd")].into_iter().chain(ours));
        Box::pin(async move { Response { status: 418, headers, body: whole("odd").boxed() } })
    };
    let mut b = node(2).attach_with(&host, handler).await;
    let name = b.name();
    let found = host.http_at(name.as_str(), "GET", "/.well-known/matrix/server", &[], b"").await;
    assert_eq!((found.status, found.json()), (200, json!({ "m.server": format!("{name}:443") })));
    let uri = "/_matrix/federation/v1/event/$a?x=%41";
    let at = format!("{}:443", name.as_str().to_uppercase());
    let reply = host.http_at(&at, "POST", uri, &[("authorization", "X-Matrix something"), ("inglenook-mailbox", "7")], b"{ }").await;
    assert_eq!((reply.status, reply.body.as_slice()), (418, b"odd".as_slice()));
    assert_eq!(reply.headers.first("content-type"), Some("text/odd"));
    // Nor what is the connection's own, and what became of a request is for the relay to say.
    assert_eq!((reply.headers.first("connection"), reply.outcome()), (Some("close"), Outcome::Answered));
    let received = b.next().await;
    assert_eq!((received.method.as_str(), received.authority.as_str(), received.uri.as_str()), ("POST", name.as_str(), uri));
    assert_eq!((received.headers.first("authorization"), received.body.as_slice()), (Some("X-Matrix something"), b"{ }".as_slice()));
    // The relay's own words cannot be put into its mouth.
    assert_eq!(received.headers.first("inglenook-mailbox"), None);
}

#[tokio::test]
async fn only_federation_is_found_at_the_gateways_names() {
    let host = gateway().await;
    let mut b = node(2).attach(&host).await;
    for uri in ["/_matrix/client/v3/login", "/_matrix/federation/../client/v3/login", LIMITS, "/"] {
        assert_eq!(host.http_at(b.name().as_str(), "GET", uri, &[], b"").await.status, 404, "{uri}");
    }
    assert!(b.quiet().await.is_none());
    // A name of another domain, and the key alone, are none of the gateway's: the relay answers for itself.
    for at in [Key::of(2).name().to_string(), Key::of(2).below("other.example").name().to_string(), DOMAIN.into()] {
        assert_eq!(host.http_at(&at, "GET", "/.well-known/matrix/server", &[], b"").await.status, 404, "{at}");
        let keys = host.http_at(&at, "GET", "/_matrix/key/v2/server", &[], b"").await;
        assert_eq!(keys.json()["server_name"], host.name.as_str());
    }
    // Nobody has been here by that name.
    let stranger = node(9).name();
    assert_eq!(host.http_at(stranger.as_str(), "GET", VERSION, &[], b"").await.status, 404);
    // And a relay that is no gateway knows no such names.
    let plain = Host::start().await;
    let b = node(2).attach(&plain).await;
    assert_eq!(plain.http_at(b.name().as_str(), "GET", "/.well-known/matrix/server", &[], b"").await.status, 404);
}

/// A body whose second half comes when the first has arrived.
pub(crate) fn halves(arrived: oneshot::Receiver<()>) -> impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> {
    let second = async move {
        arrived.await.unwrap();
        Ok(b"second".to_vec())
    };
    stream::iter([Ok(b"first".to_vec())]).chain(stream::once(second))
}

#[tokio::test]
async fn a_nodes_answer_streams_to_an_ordinary_server() {
    static ARRIVED: Mutex<Option<oneshot::Receiver<()>>> = Mutex::new(None);
    let (first, arrived) = oneshot::channel();
    *ARRIVED.lock().unwrap() = Some(arrived);
    let host = gateway().await;
    let handler: Handler = |_| {
        let body = halves(ARRIVED.lock().unwrap().take().unwrap()).boxed();
        Box::pin(async move { Response { status: 200, headers: Headers::default(), body } })
    };
    let b = node(2).attach_with(&host, handler).await;
    let mut socket = TcpStream::connect(host.address).await.unwrap();
    let uri = "/_matrix/federation/v1/media/download/abc";
    socket.write_all(format!("GET {uri} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", b.name()).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|window| window == b"first") {
        assert_ne!(soon(socket.read_buf(&mut answer)).await.unwrap(), 0);
    }
    first.send(()).unwrap();
    soon(socket.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.windows(6).any(|window| window == b"second"));
}

/// A node that has been here, and left its keys and a profile.
async fn absent(host: &Host, seed: u8) -> Key {
    let key = node(seed);
    let attached = key.attach(host).await;
    let keys = json!({ "server_name": key.name(), "verify_keys": {}, "valid_until_ts": START });
    let keys = serde_json::to_vec(&signed::sign(&keys, &key.name(), &key).unwrap()).unwrap();
    let profiles = serde_json::to_vec(&json!({ key.user("u"): { "content": { "displayname": "U" } } })).unwrap();
    for (kind, deposit) in [("keys", keys), ("profiles", profiles)] {
        assert_eq!(attached.ask_relay("PUT", &format!("{DEPOSIT}{kind}"), &deposit).await.status, 200, "{kind}");
    }
    attached.vanish(host).await;
    key
}

#[tokio::test]
async fn a_node_that_is_away_is_answered_for() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let name = absent(&host, 2).await.name();
    let keys = host.http_at(name.as_str(), "GET", "/_matrix/key/v2/server", &[], b"").await;
    assert_eq!((keys.status, keys.json()["server_name"].as_str()), (200, Some(name.as_str())));
    let profile = format!("/_matrix/federation/v1/query/profile?user_id={}", node(2).user("u"));
    assert_eq!(host.http_at(name.as_str(), "GET", &profile, &[], b"").await.status, 401);
    assert_eq!(server.ask(&host, &name, "GET", &profile, b"").await.json()["displayname"], "U");
    let reply = server.ask(&host, &name, "GET", "/_matrix/federation/v1/make_join/!a:b/@c:d", b"").await;
    assert_eq!((reply.status, reply.errcode().as_str()), (503, "M_UNREACHABLE"));
}

#[tokio::test]
async fn what_an_ordinary_server_sends_waits_and_counts_as_taken() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let b = absent(&host, 2).await;
    let transaction = br#"{"origin":"there.example","origin_server_ts":1, "pdus":[]}"#;
    for _ in 0..2 {
        let reply = server.ask(&host, &b.name(), "PUT", &send_uri("1"), transaction).await;
        assert_eq!((reply.status, reply.json()), (200, json!({ "pdus": {} })));
    }
    let invitation = json!({ "room_version": "11", "event": { "type": "m.room.member" }, "invite_room_state": [] });
    let uri = "/_matrix/federation/v2/invite/!room:there.example/$event";
    let reply = server.ask(&host, &b.name(), "PUT", uri, &serde_json::to_vec(&invitation).unwrap()).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "event": invitation["event"] })));
    assert_eq!(server.ask(&host, &b.name(), "PUT", &send_uri("2"), b"{}").await.status, 400);
    // It is kept over a restart, and handed over as it was signed, once.
    let host = host.restart().await;
    let mut b = b.attach(&host).await;
    let received = b.next().await;
    assert_eq!((received.uri, received.body), (send_uri("1"), transaction.to_vec()));
    let header = server.sign("PUT", &send_uri("1"), &b.name(), transaction);
    assert_eq!(received.headers.first("authorization"), Some(header.as_str()));
    assert_eq!(b.next().await.uri, uri);
    assert!(b.quiet().await.is_none());
}

#[tokio::test]
async fn a_request_for_a_node_weighs_no_more_than_it_is() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let (ca, address) = (authority.file(), server.address);
    let host = Host::with(move |config| {
        config.gateway_domain = Some(DOMAIN.into());
        config.ca = Some(ca.clone());
        config.federation_resolve = vec![format!("there.example={address}")];
        config.request_bytes = MAX_STORED_BODY;
    })
    .await;
    let b = absent(&host, 2).await;
    let large = json!({ "origin_server_ts": 1, "pdus": ["x".repeat(6 << 20)] });
    let reply = server.ask(&host, &b.name(), "PUT", &send_uri("1"), &serde_json::to_vec(&large).unwrap()).await;
    assert_eq!((reply.status, reply.outcome()), (200, Outcome::Stored));
}

#[tokio::test]
async fn an_ordinary_servers_keys_are_asked_once_for_all_who_wait_for_them() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let b = absent(&host, 2).await.name();
    let ids: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let uris: Vec<String> = ids.iter().map(|id| send_uri(id)).collect();
    let sent = uris.iter().map(|uri| server.ask(&host, &b, "PUT", uri, br#"{"pdus":[]}"#));
    assert!(futures_util::future::join_all(sent).await.iter().all(|reply| reply.status == 200));
    assert_eq!(server.got().iter().filter(|got| got.uri == "/_matrix/key/v2/server").count(), 1);
}

#[tokio::test]
async fn a_server_that_never_ends_telling_its_keys_is_not_waited_for() {
    let authority = Authority::new();
    let slow = authority.dribble(&["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", slow)]).await;
    let b = absent(&host, 2).await.name();
    let header = r#"X-Matrix origin="there.example:1",key="ed25519:first",sig="AA""#;
    assert_eq!(host.http_at(b.as_str(), "PUT", &send_uri("1"), &[("authorization", header)], br#"{"pdus":[]}"#).await.status, 401);
}

#[tokio::test]
async fn nothing_is_stored_that_its_origin_has_not_signed() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let b = absent(&host, 2).await.name();
    let body = br#"{"pdus":[]}"#;
    let send = async |header: String| {
        let headers = [("authorization", header.as_str())];
        host.http_at(b.as_str(), "PUT", &send_uri("1"), &headers[..usize::from(!header.is_empty())], body).await.status
    };
    assert_eq!(send(String::new()).await, 401);
    assert_eq!(send(server.sign("PUT", &send_uri("2"), &b, body)).await, 401);
    assert_eq!(send(server.sign("PUT", &send_uri("1"), &node(3).name(), body)).await, 401);
    // Another's name with one's own key, a key that the server does not have, a server that nobody finds, and an impostor of a node.
    assert_eq!(send(server.sign("PUT", &send_uri("1"), &b, body).replace("ed25519:first", "ed25519:third")).await, 401);
    assert_eq!(send(server.sign("PUT", &send_uri("1"), &b, body).replace("there.example", "127.0.0.1:1")).await, 401);
    assert_eq!(send(server.sign("PUT", &send_uri("1"), &b, body).replace("there.example", node(3).name().as_str())).await, 401);
    assert_eq!(send(server.sign("PUT", &send_uri("1"), &b, body)).await, 200);
    assert_eq!(send(node(3).sign_request("PUT", &send_uri("1"), &b, body)).await, 200);
}

#[tokio::test]
async fn an_ordinary_servers_keys_are_asked_once_and_again_when_they_change() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let b = absent(&host, 2).await.name();
    let send = async |id: &str| server.ask(&host, &b, "PUT", &send_uri(id), br#"{"pdus":[]}"#).await.status;
    let asked = || server.got().iter().filter(|got| got.uri == "/_matrix/key/v2/server").count();
    assert_eq!((send("1").await, send("2").await, asked()), (200, 200, 1));
    // A new key is asked for, though not at once by whoever names one.
    server.rotate();
    assert_eq!((send("3").await, asked()), (401, 0));
    host.clock.advance(61_000);
    server.valid_until(START + 3_600_000);
    assert_eq!((send("3").await, asked()), (200, 1));
    // What is no longer valid has to be had anew, and does not count if it cannot.
    host.clock.advance(2 * 3_600_000);
    assert_eq!((send("4").await, asked()), (401, 1));
    server.valid_until(START + 100 * 24 * 3_600_000);
    host.clock.advance(61_000);
    assert_eq!((send("4").await, asked()), (200, 1));
    // They are not believed for longer than a week.
    host.clock.advance(8 * 24 * 3_600_000);
    assert_eq!((send("5").await, asked()), (200, 1));
}

#[tokio::test]
async fn nodes_of_one_gateway_and_absent_ones_are_not_looked_for_outside() {
    let host = gateway().await;
    let b = absent(&host, 2).await;
    let a = node(1).attach(&host).await;
    assert_eq!(a.send(a.key.transaction("1", &b.name())).await.outcome(), Outcome::Stored);
    for unknown in [node(9).name(), Key::of(9).name()] {
        let reply = a.send(a.key.transaction("1", &unknown)).await;
        assert_eq!((reply.status, reply.errcode().as_str()), (404, "M_NOT_FOUND"));
    }
    let mut b = b.attach(&host).await;
    assert_eq!(b.next().await.uri, send_uri("1"));
    assert_eq!(a.send(a.key.transaction("2", &b.name())).await.outcome(), Outcome::Answered);
}

/// Leads a plain port to an encrypted one, since the test's nodes speak no TLS.
async fn plainly(authority: Arc<Authority>, to: std::net::SocketAddr, name: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let mut encrypted = authority.connect(to, &name).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut plain, &mut encrypted).await });
        }
    });
    address
}

#[tokio::test]
async fn a_gateway_serves_https_by_itself_and_takes_a_renewed_certificate() {
    let authority = Arc::new(Authority::new());
    let (chain, key) = authority.issue(&["*.gateway.example", "relay.example"]);
    let (served_chain, served_key) = (chain.clone(), key);
    let host = Host::with(move |config| {
        config.gateway_domain = Some(DOMAIN.into());
        config.tls_cert = Some(served_chain.clone());
        config.tls_key = Some(served_key.clone());
    })
    .await;
    let name = node(2).name();
    // Who does not speak TLS does not hold up the others.
    let _silent = TcpStream::connect(host.address).await.unwrap();
    let socket = authority.connect(host.address, name.as_str()).await.unwrap();
    let found = http_over(socket, name.as_str(), "GET", "/.well-known/matrix/server", &[], b"").await;
    assert_eq!(found.json(), json!({ "m.server": format!("{name}:{}", host.address.port()) }));
    assert!(authority.connect(host.address, "elsewhere.example").await.is_err());
    // A certificate that is none changes nothing; a sound one holds from then on.
    let certificate = host.certificate.clone().unwrap();
    std::fs::write(&chain, "nonsense").unwrap();
    assert!(certificate.reload().is_err());
    assert!(authority.connect(host.address, name.as_str()).await.is_ok());
    authority.issue(&["*.gateway.example", "elsewhere.example"]);
    certificate.reload().unwrap();
    assert!(authority.connect(host.address, "elsewhere.example").await.is_ok());
    assert!(authority.connect(host.address, "relay.example").await.is_err());
    // Tunnels, too.
    let plain = plainly(authority.clone(), host.address, "elsewhere.example".into()).await;
    let mut b = node(2).attach_by(&host, &format!("http://{plain}")).await;
    let socket = authority.connect(host.address, name.as_str()).await.unwrap();
    assert_eq!(http_over(socket, name.as_str(), "GET", VERSION, &[], b"").await.status, 200);
    assert_eq!(b.next().await.uri, VERSION);
}
