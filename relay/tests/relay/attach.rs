//! Attaching, and requests between nodes that are attached.

use futures_util::{SinkExt, StreamExt, stream};
use inglenook_protocol::{
    handshake::{CLOSE_STOPPING, CLOSE_SUPERSEDED, Challenge},
    message::{Headers, Request, Response, whole},
    path::{DEPOSIT, LIMITS, Outcome, PRESENCE, TUNNEL},
    tunnel::Ended,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::*;

#[tokio::test]
async fn two_nodes_talk_through_their_relay() {
    let host = Host::start().await;
    let (a, mut b) = (Key::of(1).attach(&host).await, Key::of(2).attach(&host).await);
    assert!(!a.welcome.replaced);
    let sent = a.key.transaction("1", &b.name());
    let reply = a.send(sent.clone()).await;
    assert_eq!((reply.status, reply.outcome(), reply.body.as_slice()), (200, Outcome::Answered, b"{}".as_slice()));
    let received = b.next().await;
    assert_eq!((&received.method, &received.uri, &received.body), (&sent.method, &sent.uri, &sent.body));
    assert_eq!(received.headers, sent.headers);
}

#[tokio::test]
async fn what_a_node_answers_is_handed_on_whatever_it_is() {
    let host = Host::start().await;
    let a = Key::of(1).attach(&host).await;
    let b = Key::of(2).attach_with(&host, |_| Box::pin(async { boxed(418, "odd") })).await;
    let reply = a.send(a.key.request("GET", "/_matrix/federation/v1/event/$a", &b.name(), b"")).await;
    assert_eq!((reply.status, reply.outcome(), reply.body.as_slice()), (418, Outcome::Answered, b"odd".as_slice()));
}

#[tokio::test]
async fn only_federation_reaches_a_node() {
    let host = Host::start().await;
    let (a, mut b) = (Key::of(1).attach(&host).await, Key::of(2).attach(&host).await);
    for uri in ["/_matrix/client/v3/login", "/_matrix/federation/../client/v3/login", "/_inglenook/relay/v1/online/x", "/"] {
        let reply = a.send(a.key.request("PUT", uri, &b.name(), b"")).await;
        assert_eq!(reply.status, 404, "{uri}");
        assert_eq!(host.forward(a.key.request("PUT", uri, &b.name(), b"")).await.status, 404, "{uri}");
    }
    // The relay's own words cannot be put into its mouth.
    let mut forged = a.key.transaction("1", &b.name());
    forged.headers.push("inglenook-mailbox", "1");
    a.send(forged).await;
    assert_eq!(b.next().await.headers.first("inglenook-mailbox"), None);
}

#[tokio::test]
async fn another_relays_challenge_cannot_be_forwarded() {
    let host = Host::start().await;
    let key = Key::of(1);
    // A hostile relay dials this one, and has its challenge answered by a node that dialled the hostile one.
    let refusal = key.dial(&host.url(), "hostile.example").await.err().unwrap();
    assert_eq!(refusal.errcode, "M_UNAUTHORIZED");
    // Nor does the hostile one get through by naming itself in the request.
    let request = format!("ws://{}{TUNNEL}", host.address);
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(request).unwrap();
    request.headers_mut().insert("host", "hostile.example".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let challenge: Challenge = serde_json::from_str(&text(&mut socket).await).unwrap();
    let proof = key.prove(&challenge, "hostile.example");
    socket.send(Message::text(serde_json::to_string(&proof).unwrap())).await.unwrap();
    assert!(text(&mut socket).await.contains("M_UNAUTHORIZED"));
}

#[tokio::test]
async fn a_proof_serves_for_one_socket() {
    let host = Host::start().await;
    let key = Key::of(1);
    let url = format!("ws://{}{TUNNEL}", host.address);
    let (mut first, _) = connect_async(&url).await.unwrap();
    let challenge: Challenge = serde_json::from_str(&text(&mut first).await).unwrap();
    let proof = serde_json::to_string(&key.prove(&challenge, &host.address.to_string())).unwrap();
    let (mut second, _) = connect_async(&url).await.unwrap();
    text(&mut second).await;
    second.send(Message::text(proof.clone())).await.unwrap();
    assert!(text(&mut second).await.contains("refused"));
    first.send(Message::text(proof)).await.unwrap();
    assert!(text(&mut first).await.contains("accepted"));
}

#[tokio::test]
async fn of_two_holders_of_one_key_the_newer_stays_and_both_are_told() {
    let host = Host::start().await;
    let older = Key::of(1).attach(&host).await;
    let mut newer = Key::of(1).attach(&host).await;
    assert!(!older.welcome.replaced && newer.welcome.replaced);
    assert_eq!(older.ended().await, (Ended::ByPeer, Some(CLOSE_SUPERSEDED)));
    let b = Key::of(2).attach(&host).await;
    assert_eq!(b.send(b.key.transaction("1", &newer.name())).await.outcome(), Outcome::Answered);
    assert_eq!(newer.next().await.uri, send_uri("1"));
}

#[tokio::test]
async fn an_allow_list_keeps_others_out() {
    let host = Host::with(|config| config.allow = vec![Key::of(1).name()]).await;
    Key::of(1).attach(&host).await;
    let refusal = Key::of(2).dial(&host.url(), &host.address.to_string()).await.err().unwrap();
    assert_eq!(refusal.errcode, "M_FORBIDDEN");
    // Mail is kept for those on the list alone, from anybody.
    let sender = Key::of(3);
    assert_eq!(host.forward(sender.transaction("1", &Key::of(2).name())).await.status, 404);
}

#[tokio::test]
async fn a_relay_has_a_limited_number_of_tunnels() {
    let host = Host::with(|config| config.max_tunnels = 1).await;
    let _first = Key::of(1).attach(&host).await;
    let refusal = Key::of(2).dial(&host.url(), &host.address.to_string()).await.err().unwrap();
    assert_eq!(refusal.errcode, "M_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn a_large_file_neither_delays_messages_nor_is_held() {
    const LARGE: usize = 50 << 20;
    let host = Host::start().await;
    let a = Key::of(1).attach(&host).await;
    let b = Key::of(2)
        .attach_with(&host, |request| {
            Box::pin(async move {
                if !request.uri.contains("media") {
                    return boxed(200, "{}");
                }
                let body = stream::iter(0..LARGE / 65_536).map(|number| Ok(vec![number as u8; 65_536]));
                Response { status: 200, headers: Headers::default(), body: body.boxed() }
            })
        })
        .await;
    let download = a.key.request("GET", "/_matrix/media/v3/download/b/large", &b.name(), b"");
    let mut large = a.tunnel.request(download.map_body(whole)).await.unwrap();
    // Nobody reads on for the moment: messages pass nevertheless, in both directions.
    large.body.next().await.unwrap().unwrap();
    for number in 0..20 {
        let started = std::time::Instant::now();
        assert_eq!(a.send(a.key.transaction(&number.to_string(), &b.name())).await.outcome(), Outcome::Answered);
        assert!(started.elapsed().as_millis() < 2000);
    }
    let rest = soon(Reply::of(large)).await;
    assert!(rest.body.len() > LARGE - 65_536 && rest.body.len() < LARGE);
}

#[tokio::test]
async fn garbage_on_a_socket_harms_nobody_else() {
    let host = Host::start().await;
    let (a, b) = (Key::of(1).attach(&host).await, Key::of(2).attach(&host).await);
    for garbage in [Message::binary(vec![0xff; 5000]), Message::text("hello"), Message::binary(vec![0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9])] {
        let (mut socket, _) = Key::of(3).dial(&host.url(), &host.address.to_string()).await.unwrap();
        let _ = socket.send(garbage).await;
        let _ = socket.send(Message::binary(vec![7; 1000])).await;
        while let Some(Ok(_)) = soon(socket.next()).await {}
    }
    let url = format!("ws://{}{TUNNEL}", host.address);
    let (mut socket, _) = connect_async(&url).await.unwrap();
    socket.send(Message::binary(vec![1; 100])).await.unwrap();
    assert_eq!(a.send(a.key.transaction("1", &b.name())).await.outcome(), Outcome::Answered);
}

#[tokio::test]
async fn a_node_that_hangs_costs_its_askers_a_timeout_and_nothing_else() {
    let host = Host::with(|config| config.request_timeout = 1).await;
    let a = Key::of(1).attach(&host).await;
    let hanging = Key::of(2).attach_with(&host, |_| Box::pin(std::future::pending())).await;
    let reply = a.send(a.key.request("GET", "/_matrix/federation/v1/version", &hanging.name(), b"")).await;
    assert_eq!((reply.status, reply.errcode().as_str(), reply.outcome()), (504, "M_UNREACHABLE", Outcome::Refused));
    // What can wait does.
    assert_eq!(a.send(a.key.transaction("1", &hanging.name())).await.outcome(), Outcome::Stored);
}

#[tokio::test]
async fn who_is_there_is_for_nodes_to_know() {
    let host = Host::start().await;
    let a = Key::of(1).attach(&host).await;
    let presence = |key: &Key| format!("{PRESENCE}{}", key.name());
    assert_eq!(a.ask_relay("GET", &presence(&Key::of(1)), b"").await.json()["attached"], true);
    assert_eq!(a.ask_relay("GET", &presence(&Key::of(2)), b"").await.json()["attached"], false);
    assert_eq!(host.http("GET", &presence(&Key::of(1)), &[], b"").await.status, 401);
    assert_eq!(host.http("PUT", &format!("{DEPOSIT}profiles"), &[], b"{}").await.status, 401);
    let forwarded = Request {
        method: "PUT".into(),
        authority: host.name.to_string(),
        uri: format!("{DEPOSIT}profiles"),
        headers: Headers::default(),
        body: b"{}".to_vec(),
    };
    assert_eq!(host.forward(forwarded).await.status, 401);
}

#[tokio::test]
async fn a_relay_says_what_it_takes_and_how_it_is() {
    let host = Host::with(|config| config.mailbox_entries = 123).await;
    let a = Key::of(1).attach(&host).await;
    let limits = host.http("GET", LIMITS, &[], b"").await.json();
    assert_eq!((&limits["mailbox"]["entries"], &limits["gateway"]), (&123.into(), &serde_json::Value::Null));
    assert_eq!(limits["software"]["name"], "inglenook-relay");
    assert_eq!(serde_json::to_value(&a.welcome.limits).unwrap(), limits);
    assert_eq!(host.http("GET", "/health", &[], b"").await.body, b"ok\n");
    let metrics = String::from_utf8(host.http("GET", "/metrics", &[], b"").await.body).unwrap();
    assert!(metrics.contains("inglenook_relay_tunnels 1\n"), "{metrics}");
    let keys = host.http("GET", "/_matrix/key/v2/server", &[], b"").await.json();
    assert_eq!(keys["server_name"], host.name.as_str());
}

#[tokio::test]
async fn stopping_says_so() {
    let host = Host::start().await;
    let a = Key::of(1).attach(&host).await;
    host.stop().await;
    assert_eq!(a.ended().await, (Ended::ByPeer, Some(CLOSE_STOPPING)));
}

#[tokio::test]
async fn browsers_may_call_from_anywhere() {
    let host = Host::start().await;
    let origin = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let preflight = host.http("OPTIONS", inglenook_protocol::path::FORWARD, &origin, b"").await;
    assert_eq!(preflight.headers.first("access-control-allow-origin"), Some("*"));
}
