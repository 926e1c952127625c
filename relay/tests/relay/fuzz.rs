//! What anybody may hand to a relay, changed in every way: each is answered, and the relay goes on.

use futures_util::{StreamExt, stream};
use inglenook_protocol::{
    message::{CONTENT_TYPE, read_response, whole, write_request},
    path::{FORWARD, TUNNEL},
};
use proptest::{
    prelude::any,
    sample::Index,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    mutation::{mutated, mutations},
    support::*,
};

/// How many are tried, and how many at a time.
const CASES: usize = 400;
const AT_ONCE: usize = 8;

/// Inputs made of others.
fn changed(inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::default();
    let strategy = (any::<Index>(), mutations());
    let mut next = || strategy.new_tree(&mut runner).unwrap().current();
    let changed = |(which, mutations): (Index, Vec<_>)| mutated(&inputs[which.index(inputs.len())], &mutations, inputs);
    (0..CASES).map(|_| changed(next())).collect()
}

#[tokio::test]
async fn whatever_is_forwarded_is_answered() {
    let host = Host::start().await;
    let away = Key::of(2);
    away.attach(&host).await.vanish(&host).await;
    let _there = Key::of(3).attach(&host).await;
    let a = Key::of(1);
    let keys = serde_json::to_vec(&json!({ "device_keys": { away.user("u"): [] } })).unwrap();
    let receipt =
        json!({ "edu_type": "m.receipt", "content": { "!r:x": { "m.read": { a.user("a"): { "event_ids": ["$a"], "data": {} } } } } });
    let requests = [
        a.transaction("1", &away.name()),
        a.edus("2", &away.name(), json!([receipt])),
        a.transaction("3", &Key::of(3).name()),
        a.request("PUT", "/_matrix/federation/v2/invite/!a:b/$c", &away.name(), b"{}"),
        a.request("POST", "/_matrix/federation/v1/user/keys/query", &away.name(), &keys),
        a.request("PUT", &format!("/_matrix/federation/v1/send_relay/4/{}", away.user("u")), &host.name, br#"{"pdus":[]}"#),
        a.request("GET", &format!("/_matrix/federation/v1/relay_txn/{}?entry_id=1", a.user("u")), &host.name, b""),
        a.request("GET", "/_inglenook/relay/v1/limits", &host.name, b""),
    ];
    let mut messages = Vec::new();
    for request in requests {
        let mut message = Vec::new();
        write_request(&mut message, request.map_body(whole)).await.unwrap();
        messages.push(message);
    }
    let answered = stream::iter(changed(&messages)).map(|message| {
        let host = &host;
        async move {
            let outer = host.http("POST", FORWARD, &[("content-type", CONTENT_TYPE)], &message).await;
            assert_eq!(outer.status, 200, "{message:?}");
            let inner = Reply::of(read_response(outer.body.as_slice()).await.unwrap()).await;
            assert!(inner.status != 500 && inner.status < 600, "{inner:?} to {message:?}");
        }
    });
    answered.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    assert_eq!(host.http("GET", "/health", &[], b"").await.status, 200);
    host.stop().await;
}

#[tokio::test]
async fn whatever_answers_a_challenge_is_refused_or_proves_a_name() {
    let host = Host::start().await;
    let stale = inglenook_protocol::handshake::Challenge::new(host.name.clone(), [0; 32], START);
    let proof = serde_json::to_vec(&Key::of(1).prove(&stale, &host.address.to_string())).unwrap();
    let answers = changed(&[proof, b"{}".to_vec()]);
    let refused = stream::iter(answers).map(|answer| {
        let url = format!("{}{TUNNEL}", host.url().replacen("http", "ws", 1));
        async move {
            let (mut socket, _) = connect_async(url).await.unwrap();
            text(&mut socket).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            futures_util::SinkExt::send(&mut socket, Message::text(answer.clone())).await.unwrap();
            let verdict = text(&mut socket).await;
            assert!(verdict.contains("M_UNAUTHORIZED"), "{verdict} to {answer}");
        }
    });
    refused.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    assert_eq!(Key::of(1).attach(&host).await.ask_relay("GET", "/_inglenook/relay/v1/limits", b"").await.status, 200);
    host.stop().await;
}
