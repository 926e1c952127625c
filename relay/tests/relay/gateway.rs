//! The gateway: nodes with names below a domain, and ordinary homeservers that know nothing of relays.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{body::Body, http, response::IntoResponse};
use futures_util::{StreamExt, stream};
use inglenook_protocol::{
    message::{Headers, Request, Response, whole},
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

const DOMAIN: &str = "gateway.example";
const VERSION: &str = "/_matrix/federation/v1/version";

fn node(seed: u8) -> Key {
    Key::of(seed).below(DOMAIN)
}

async fn gateway() -> Host {
    Host::with(|config| config.gateway_domain = Some(DOMAIN.into())).await
}

/// A gateway that trusts the authority, and finds hosts, or hosts and ports, at these addresses.
async fn gateway_to(authority: &Authority, hosts: &[(&str, std::net::SocketAddr)]) -> Host {
    let ca = authority.file();
    let resolve: Vec<String> = hosts.iter().map(|(host, address)| format!("{host}={address}")).collect();
    Host::with(move |config| {
        config.gateway_domain = Some(DOMAIN.into());
        config.ca = Some(ca.clone());
        config.federation_resolve = resolve.clone();
    })
    .await
}

fn get(from: &Key, to: &str) -> Request<Vec<u8>> {
    from.request("GET", VERSION, &ruma::ServerName::parse(to).unwrap(), b"")
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
fn halves(arrived: oneshot::Receiver<()>) -> impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> {
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

#[tokio::test]
async fn an_ordinary_servers_answer_streams_to_a_node() {
    let authority = Authority::new();
    let (first, arrived) = oneshot::channel();
    let arrived = Mutex::new(Some(arrived));
    let server = Ordinary::with(&authority, &["there.example"], move |_| {
        http::Response::new(Body::from_stream(halves(arrived.lock().unwrap().take().unwrap())))
    })
    .await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let a = node(1).attach(&host).await;
    let response = soon(a.tunnel.request(get(&a.key, "there.example:8448").map_body(whole))).await.unwrap();
    let mut body = response.body;
    assert_eq!(soon(body.next()).await.unwrap().unwrap(), b"first");
    first.send(()).unwrap();
    assert_eq!(soon(body.next()).await.unwrap().unwrap(), b"second");
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
async fn a_node_asks_an_ordinary_server() {
    let authority = Authority::new();
    let server = Ordinary::with(&authority, &["there.example"], |got| {
        (http::StatusCode::IM_A_TEAPOT, [("x-odd", "1"), ("inglenook-outcome", "stored"), ("connection", "close")], got.body.clone())
            .into_response()
    })
    .await;
    let host = gateway_to(&authority, &[("there.example:4444", server.address)]).await;
    let a = node(1).attach(&host).await;
    let there = ruma::ServerName::parse("there.example:4444").unwrap();
    let mut sent = a.key.transaction("a%2Fb?x=%41", &there);
    sent.headers.push("connection", "x-secret");
    sent.headers.push("inglenook-online", "ours");
    let reply = a.send(sent.clone()).await;
    assert_eq!((reply.status, reply.outcome(), &reply.body), (418, Outcome::Answered, &sent.body));
    assert_eq!((reply.headers.first("x-odd"), reply.headers.first("connection")), (Some("1"), None));
    let got = &server.got()[0];
    assert_eq!((got.method.as_str(), got.host.as_str(), &got.uri, &got.body), ("PUT", "there.example:4444", &sent.uri, &sent.body));
    assert_eq!(got.headers["authorization"], sent.headers.first("authorization").unwrap());
    assert!(!got.headers.contains_key("inglenook-online") && !got.headers.contains_key("connection"));
}

#[tokio::test]
async fn what_passes_the_gateway_is_counted() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example"]).await;
    let host = gateway_to(&authority, &[("there.example:1", server.address)]).await;
    let a = node(1).attach(&host).await;
    assert_eq!(a.send(get(&a.key, "there.example:1")).await.status, 200);
    assert_eq!(a.send(get(&a.key, "127.0.0.1:1")).await.status, 502);
    assert_eq!(host.http_at(a.name().as_str(), "GET", VERSION, &[], b"").await.status, 200);
    let metrics = String::from_utf8(host.http("GET", "/metrics", &[], b"").await.body).unwrap();
    for line in ["gateway_in_total 1", "gateway_out_total 2", "gateway_failed_total 1"] {
        assert!(metrics.contains(&format!("inglenook_relay_{line}\n")), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_server_is_found_by_its_well_known_file() {
    let authority = Authority::new();
    let web = Ordinary::with(&authority, &["there.example", "moved.example"], |got| match (got.host.as_str(), got.uri.as_str()) {
        ("there.example", "/.well-known/matrix/server") => {
            (http::StatusCode::FOUND, [("location", "https://moved.example/here")]).into_response()
        }
        ("moved.example", "/here") => ([("cache-control", "max-age=3600")], r#"{"m.server":"real.example:99"}"#).into_response(),
        _ => http::StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let server = Ordinary::start(&authority, &["real.example"]).await;
    let hosts = [("there.example:443", web.address), ("moved.example:443", web.address), ("real.example:99", server.address)];
    let host = gateway_to(&authority, &hosts).await;
    let a = node(1).attach(&host).await;
    for _ in 0..2 {
        assert_eq!(a.send(get(&a.key, "there.example")).await.status, 200);
        assert_eq!(server.got()[0].host, "real.example:99");
    }
    assert_eq!(web.got().len(), 2, "the answer holds for an hour");
    host.clock.advance(3_600_001);
    assert_eq!(a.send(get(&a.key, "there.example")).await.status, 200);
    assert_eq!(web.got().len(), 2);
}

#[tokio::test]
async fn a_web_server_that_is_out_of_order_does_not_undo_what_it_has_said() {
    static STATUS: AtomicU16 = AtomicU16::new(200);
    let authority = Authority::new();
    let web = Ordinary::with(&authority, &["there.example"], |got| match got.uri.as_str() {
        VERSION => "{}".into_response(),
        _ => (http::StatusCode::from_u16(STATUS.load(Ordering::SeqCst)).unwrap(), r#"{"m.server":"real.example:99"}"#).into_response(),
    })
    .await;
    let server = Ordinary::start(&authority, &["real.example"]).await;
    let host = gateway_to(&authority, &[("there.example", web.address), ("real.example:99", server.address)]).await;
    let a = node(1).attach(&host).await;
    let reaches_delegate = async || {
        assert_eq!(a.send(get(&a.key, "there.example")).await.status, 200);
        !server.got().is_empty()
    };
    const HOUR: u64 = 3_600_000;
    assert!(reaches_delegate().await);
    STATUS.store(500, Ordering::SeqCst);
    host.clock.advance(24 * HOUR + 1);
    assert!(reaches_delegate().await);
    host.clock.advance(23 * HOUR);
    assert!(reaches_delegate().await, "it is asked again, and is still out of order");
    host.clock.advance(HOUR);
    assert!(!reaches_delegate().await, "not for ever");
    // Nor when it says that there is nothing.
    STATUS.store(200, Ordering::SeqCst);
    host.clock.advance(HOUR);
    assert!(reaches_delegate().await);
    STATUS.store(404, Ordering::SeqCst);
    host.clock.advance(24 * HOUR + 1);
    assert!(!reaches_delegate().await);
}

#[tokio::test]
async fn without_a_well_known_file_a_server_is_found_at_8448() {
    let authority = Authority::new();
    for answer in ["", "nonsense", r#"{"m.server":"no name"}"#, r#"{"m.server":1}"#] {
        let server = Ordinary::with(&authority, &["there.example"], move |got| match got.uri.as_str() {
            VERSION => "{}".into_response(),
            _ => answer.into_response(),
        })
        .await;
        let host = gateway_to(&authority, &[("there.example", server.address)]).await;
        let a = node(1).attach(&host).await;
        assert_eq!(a.send(get(&a.key, "there.example")).await.status, 200, "{answer}");
        let hosts: Vec<_> = server.got().into_iter().map(|got| (got.host, got.uri)).collect();
        assert_eq!(hosts[1], ("there.example".into(), VERSION.into()));
        // The failure holds for a while, and for longer the second time.
        for (minutes, asked) in [(1, 0), (2, 1), (3, 0), (2, 1)] {
            host.clock.advance(minutes * 60_000);
            a.send(get(&a.key, "there.example")).await;
            assert_eq!(server.got().iter().filter(|got| got.uri != VERSION).count(), asked, "{minutes}");
        }
    }
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let authority = Authority::new();
    let server = Ordinary::with(&authority, &["there.example"], |got| match got.uri.as_str() {
        VERSION => "{}".into_response(),
        _ => (http::StatusCode::FOUND, [("location", "/again")]).into_response(),
    })
    .await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let a = node(1).attach(&host).await;
    assert_eq!(a.send(get(&a.key, "there.example")).await.status, 200);
    assert_eq!(server.got().len(), 1 + 6);
    // A redirect of the request itself is for the node to see.
    let elsewhere = Ordinary::with(&authority, &["there.example"], |_| {
        (http::StatusCode::FOUND, [("location", "https://elsewhere.example/")]).into_response()
    })
    .await;
    let host = gateway_to(&authority, &[("there.example", elsewhere.address)]).await;
    let a = node(1).attach(&host).await;
    assert_eq!(a.send(get(&a.key, "there.example:1")).await.status, 302);
    assert_eq!(elsewhere.got().len(), 1);
}

#[tokio::test]
async fn a_server_has_to_have_the_right_certificate() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["other.example", "127.0.0.1"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address), ("other.example", server.address)]).await;
    let a = node(1).attach(&host).await;
    let reply = a.send(get(&a.key, "there.example:8448")).await;
    assert_eq!((reply.status, reply.errcode().as_str(), reply.outcome()), (502, "M_UNREACHABLE", Outcome::Refused));
    assert_eq!(a.send(get(&a.key, "other.example:8448")).await.status, 200);
    // An address is a name, too, when the certificate says so.
    assert_eq!(a.send(get(&a.key, &server.address.to_string())).await.status, 200);
    assert_eq!(server.got()[1].host, server.address.to_string());
    // Nobody has been told to trust this one.
    let untrusted = Ordinary::start(&Authority::new(), &["other.example", "127.0.0.1"]).await;
    assert_eq!(a.send(get(&a.key, &untrusted.address.to_string())).await.status, 502);
    assert!(untrusted.got().is_empty() && server.got().is_empty());
}

#[tokio::test]
async fn the_gateway_is_no_open_proxy() {
    let authority = Authority::new();
    let server = Ordinary::start(&authority, &["there.example", "127.0.0.1"]).await;
    let host = gateway_to(&authority, &[("there.example", server.address)]).await;
    let a = node(1).attach(&host).await;
    let there = ruma::ServerName::parse("there.example:8448").unwrap();
    for uri in ["/_matrix/client/v3/login", "/_matrix/federation/%2e%2e/client/v3/login", "/_synapse/admin", "/"] {
        assert_eq!(a.send(a.key.request("GET", uri, &there, b"")).await.status, 404, "{uri}");
    }
    // Whoever is not below the domain, or not attached.
    for other in [Key::of(3), Key::of(3).below("other.example")] {
        let other = other.attach(&host).await;
        let reply = other.send(get(&other.key, there.as_str())).await;
        assert_eq!((reply.status, reply.errcode().as_str()), (403, "M_FORBIDDEN"));
    }
    assert_eq!(host.forward(get(&node(4), there.as_str())).await.status, 404);
    // Nothing that is inside, whatever it is called.
    let address = server.address;
    let host = Host::with(move |config| {
        config.gateway_domain = Some(DOMAIN.into());
        config.allow_private_addresses = false;
        config.federation_resolve = vec![format!("there.example={address}")];
    })
    .await;
    let a = node(1).attach(&host).await;
    for to in
        [there.as_str(), &address.to_string(), &format!("localhost:{}", address.port()), &format!("[::ffff:127.0.0.1]:{}", address.port())]
    {
        let reply = a.send(get(&a.key, to)).await;
        assert_eq!(reply.status, 502, "{to}");
        assert!(reply.json()["error"].as_str().unwrap().contains("not public"), "{reply:?}");
    }
    assert!(server.got().is_empty());
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

#[tokio::test]
async fn nodes_of_two_gateways_meet_by_their_names() {
    let authority = Authority::new();
    let there = Host::with(|config| config.gateway_domain = Some("other.example".into())).await;
    let b = Key::of(2).below("other.example");
    let proxy = authority.proxy(&["*.other.example"], there.address).await;
    let here = gateway_to(&authority, &[(&format!("{}:443", b.name()), proxy)]).await;
    let (a, mut attached) = (node(1).attach(&here).await, b.attach(&there).await);
    let mut sent = a.key.transaction("1", &b.name());
    sent.headers.push("inglenook-record", "signed");
    let reply = a.send(sent.clone()).await;
    assert_eq!((reply.status, reply.outcome()), (200, Outcome::Answered));
    let received = attached.next().await;
    assert_eq!((received.body, received.headers.first("inglenook-record")), (sent.body, Some("signed")));
    attached.vanish(&there).await;
    // What waits there is not taken for delivered.
    assert_eq!(a.send(a.key.transaction("2", &b.name())).await.outcome(), Outcome::Stored);
    assert_eq!(b.attach(&there).await.next().await.uri, send_uri("2"));
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
