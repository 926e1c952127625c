//! What nodes ask of ordinary homeservers, through the gateway of their names: how these are found, and who may ask them what.

use std::sync::{
    Mutex,
    atomic::{AtomicU16, Ordering},
};

use axum::{body::Body, http, response::IntoResponse};
use futures_util::StreamExt;
use inglenook_protocol::{
    message::{Request, whole},
    path::Outcome,
};
use tokio::sync::oneshot;

use crate::{
    gateway::{DOMAIN, VERSION, gateway_to, halves, node},
    ordinary::{Authority, Ordinary},
    support::*,
};

fn get(from: &Key, to: &str) -> Request<Vec<u8>> {
    from.request("GET", VERSION, &ruma::ServerName::parse(to).unwrap(), b"")
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
