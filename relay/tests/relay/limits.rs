//! What an address may ask, and what all may put into the relay's memory.

use inglenook_protocol::{
    message::whole,
    path::{LIMITS, TUNNEL},
    tunnel::MAX_OPEN,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, client::IntoClientRequest},
};

use super::support::{FORWARDED, Handler, Host, Key, boxed, metric, soon};

/// A relay behind a proxy, which an address may ask so often, and hold one tunnel to.
async fn behind_a_proxy(requests: u64) -> Host {
    Host::with(move |config| {
        config.forwarded_header = Some("X-Forwarded-For".into());
        config.address_requests = requests;
        config.address_connections = 1;
    })
    .await
}

#[tokio::test]
async fn an_address_that_asks_too_much_is_told_when_to_come_again() {
    let host = behind_a_proxy(3).await;
    let ask = async |address: &str| host.http("GET", LIMITS, &[(FORWARDED, address)], b"").await;
    for _ in 0..3 {
        assert_eq!(ask("1.1.1.1").await.status, 200);
    }
    let refused = ask("9.9.9.9, 1.1.1.1").await;
    assert_eq!((refused.status, refused.errcode().as_str()), (429, "M_LIMIT_EXCEEDED"));
    let (seconds, millis) = (refused.headers.first("retry-after").unwrap().to_owned(), refused.json()["retry_after_ms"].as_u64().unwrap());
    assert!((1..=20_000).contains(&millis) && seconds == millis.div_ceil(1_000).to_string(), "{seconds} {millis}");
    assert_eq!(refused.headers.first("access-control-allow-origin"), Some("*"), "a page has to be able to read it");

    assert_eq!(ask("1.1.1.2").await.status, 200, "another address has limits of its own");
    for interface in 1..4 {
        assert_eq!(ask(&format!("2a00:1:2:3::{interface}")).await.status, 200);
    }
    assert_eq!(ask("2a00:1:2:3:9::1").await.status, 429, "a household has many addresses of the sixth version");
    assert_eq!(ask("2a00:1:2:4::1").await.status, 200);
    for _ in 0..9 {
        assert_eq!(host.http("GET", LIMITS, &[], b"").await.status, 200, "the operator's own network has no limits");
    }
    assert_eq!(metric(&host, "inglenook_relay_limited_total{limit=\"requests\"}").await, 2);
    host.stop().await;
}

#[tokio::test]
async fn an_address_has_so_many_tunnels_at_a_time() {
    let host = behind_a_proxy(0).await;
    let dial = async |address: &str| {
        let mut request = format!("ws://{}{TUNNEL}", host.address).into_client_request().unwrap();
        request.headers_mut().insert(FORWARDED, address.parse().unwrap());
        connect_async(request).await
    };
    let first = dial("1.1.1.1").await.unwrap();
    let Err(Error::Http(refused)) = dial("1.1.1.1").await else { panic!("there is one already") };
    assert_eq!(refused.status(), 429);
    let _other = dial("1.1.1.2").await.unwrap();
    drop(first);
    // The relay sees in its own time that the socket is gone.
    soon(async { while dial("1.1.1.1").await.is_err() {} }).await;
    assert!(metric(&host, "inglenook_relay_limited_total{limit=\"connections\"}").await >= 1);
    host.stop().await;
}

#[tokio::test]
async fn the_limits_of_an_address_are_published() {
    let host = behind_a_proxy(3).await;
    let limits = host.http("GET", LIMITS, &[], b"").await.json();
    assert_eq!((limits["address"]["requests_per_minute"].as_u64(), limits["address"]["connections"].as_u64()), (Some(3), Some(1)));
    let of_node = ["node_requests_per_minute", "node_outside_per_minute"].map(|name| limits[name].as_u64());
    assert_eq!(of_node, [Some(12_000), Some(6_000)]);
    host.stop().await;
}

#[tokio::test]
async fn connections_without_a_request_end() {
    let host = Host::with(|config| config.head_timeout = 1).await;
    let node = Key::of(1).attach(&host).await;
    for begun in ["", "GET /", "GET /health HTTP/1.1\r\nhost: relay\r\n", "GET /health HTTP/1.1\r\nhost: relay\r\n\r\n"] {
        let mut socket = TcpStream::connect(host.address).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        // The other end closes, whatever it says before.
        let _ = soon(socket.read_to_end(&mut Vec::new())).await;
    }
    // A tunnel is no request, and goes on.
    assert_eq!(node.ask_relay("GET", LIMITS, b"").await.status, 200);
    host.stop().await;
}

#[tokio::test]
async fn a_node_that_asks_too_much_is_told_when_to_come_again() {
    let host = Host::with(|config| config.node_requests = 3).await;
    let mut node = Key::of(1).attach(&host).await;
    for _ in 0..3 {
        assert_eq!(node.ask_relay("GET", LIMITS, b"").await.status, 200);
    }
    let refused = node.ask_relay("GET", LIMITS, b"").await;
    assert_eq!((refused.status, refused.errcode().as_str()), (429, "M_LIMIT_EXCEEDED"));
    assert!((1..=20_000).contains(&refused.json()["retry_after_ms"].as_u64().unwrap()));
    // A new tunnel is no new node; another node is, and what others send goes through.
    let other = Key::of(2).attach(&host).await;
    assert_eq!(other.send(other.key.transaction("1", &node.name())).await.status, 200);
    assert_eq!(node.next().await.method, "PUT");
    node.vanish(&host).await;
    let node = Key::of(1).attach(&host).await;
    assert_eq!(node.ask_relay("GET", LIMITS, b"").await.status, 429);
    assert_eq!(metric(&host, "inglenook_relay_limited_total{limit=\"node\"}").await, 2);
    host.stop().await;
}

#[tokio::test]
async fn fewer_of_a_nodes_requests_go_on_to_other_relays() {
    let here = Host::with(|config| config.node_outside = 2).await;
    let there = Host::start().await;
    let (a, b, c) = (Key::of(1).attach(&here).await, Key::of(2).attach(&there).await, Key::of(3).attach(&here).await);
    for (id, status) in [("1", 200), ("2", 200), ("3", 429), ("4", 429)] {
        assert_eq!(a.send_by(a.key.transaction(id, &b.name()), &[&there.url()]).await.status, status, "{id}");
    }
    assert_eq!(a.send(a.key.transaction("5", &c.name())).await.status, 200, "what stays here has another limit");
    assert_eq!(c.send_by(c.key.transaction("1", &b.name()), &[&there.url()]).await.status, 200);
    assert_eq!(metric(&here, "inglenook_relay_limited_total{limit=\"outside\"}").await, 2);
}

#[tokio::test]
async fn whoever_is_slow_holds_a_share_of_a_nodes_streams() {
    let host = Host::start().await;
    let handler: Handler = |request| {
        Box::pin(async move {
            if request.uri.contains("slow") {
                std::future::pending::<()>().await;
            }
            boxed(200, "{}")
        })
    };
    let mut b = Key::of(2).attach_with(&host, handler).await;
    let (a, c) = (Key::of(1).attach(&host).await, Key::of(3).attach(&host).await);
    let get = |from: &Key, uri: &str| from.request("GET", &format!("/_matrix/federation/v1/{uri}"), &Key::of(2).name(), b"");
    let slow: Vec<_> = (0..MAX_OPEN)
        .map(|_| {
            let (tunnel, request) = (a.tunnel.clone(), get(&a.key, "event/slow").map_body(whole));
            tokio::spawn(async move { tunnel.request(request).await.is_ok() })
        })
        .collect();
    for _ in 0..MAX_OPEN / 4 {
        assert!(b.next().await.uri.ends_with("slow"));
    }
    assert!(b.quiet().await.is_none());
    assert_eq!(c.send(get(&c.key, "version")).await.status, 200);
    // What could be stored waits for its turn as well.
    assert_eq!(c.send(c.key.transaction("1", &b.name())).await.status, 200);
    // Who goes gives everything back.
    a.vanish(&host).await;
    futures_util::future::join_all(slow).await;
    let a = Key::of(1).attach(&host).await;
    assert_eq!(a.send(get(&a.key, "version")).await.status, 200);
}

#[tokio::test]
async fn a_body_of_many_values_is_refused_before_it_is_read() {
    let host = Host::start().await;
    Key::of(2).attach(&host).await.vanish(&host).await;
    let mut request = Key::of(1).transaction("1", &Key::of(2).name());
    request.body = format!(r#"{{"pdus":[{}0]}}"#, r#"{"":0},"#.repeat(1 << 20)).into_bytes();
    assert_eq!(host.forward(request).await.status, 413);
}

/// The path of a request that is read as a whole before anything is known of it.
const STORED: &str = "/_matrix/federation/v1/send_relay/1/@user:example.org";

/// Begins a request with so large a body.
async fn begin(host: &Host, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(host.address).await.unwrap();
    let head = format!("PUT {STORED} HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn what_strangers_send_fills_a_bounded_space() {
    const MIB: usize = 1 << 20;
    let host = Host::with(|config| config.request_bytes = 12 << 20).await;
    let large = vec![b' '; 8 * MIB];
    // One that does not come to its end.
    let mut slow = begin(&host, 8 * MIB + 1).await;
    slow.write_all(&vec![b' '; 8 * MIB]).await.unwrap();
    soon(async { while metric(&host, "inglenook_relay_requests_bytes").await < 8 << 20 {} }).await;

    // Another, for which there is no room from its fifth megabyte on.
    let mut refused = begin(&host, 9 * MIB).await;
    refused.write_all(&vec![b' '; 4 * MIB]).await.unwrap();
    let mut answer = vec![0; 1_000];
    refused.write_all(b" ").await.unwrap();
    let count = soon(refused.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("M_LIMIT_EXCEEDED"), "{answer}");
    assert_eq!(host.http("GET", LIMITS, &[], b"").await.status, 200, "small ones go on");
    assert_ne!(host.http("PUT", STORED, &[], b"{}").await.status, 503);

    slow.write_all(b" ").await.unwrap();
    soon(slow.read_to_end(&mut Vec::new())).await.unwrap();
    assert_ne!(host.http("PUT", STORED, &[], &large).await.status, 503, "there is room again");
    soon(async { while metric(&host, "inglenook_relay_requests_bytes").await > 0 {} }).await;
    assert_eq!(metric(&host, "inglenook_relay_limited_total{limit=\"bytes\"}").await, 1);
    host.stop().await;
}
