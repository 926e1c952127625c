//! Nodes that are away: their mail, their deposits, their records, and who waits for them.

use inglenook_protocol::{
    deposit::{DEPOSITS, Deposit},
    node_record::NodeRecord,
    path::{DEPOSIT, ONLINE, Outcome, RECORD},
    signed,
};
use serde_json::{Value, json};

use crate::support::*;

/// A node that has been here before.
async fn absent(host: &Host, seed: u8) -> Key {
    let key = Key::of(seed);
    key.attach(host).await.vanish(host).await;
    key
}

#[tokio::test]
async fn mail_waits_and_is_handed_over_in_order_exactly_once() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1).attach(&host).await;
    for number in 0..30 {
        let reply = a.send(a.key.transaction(&number.to_string(), &b.name())).await;
        assert_eq!((reply.status, reply.outcome()), (202, Outcome::Stored));
    }
    let mut b = b.attach(&host).await;
    for number in 0..30 {
        let sent = a.key.transaction(&number.to_string(), &b.name());
        let received = b.next().await;
        assert_eq!((&received.method, &received.uri, &received.body), (&sent.method, &sent.uri, &sent.body));
        assert_eq!(received.headers.first("authorization"), sent.headers.first("authorization"));
        assert_eq!(received.headers.first("inglenook-mailbox"), Some((number + 1).to_string().as_str()));
    }
    assert!(b.quiet().await.is_none());
    b.vanish(&host).await;
    assert!(Key::of(2).attach(&host).await.quiet().await.is_none());
}

#[tokio::test]
async fn mail_outlives_the_relay() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    assert_eq!(host.forward(a.transaction("1", &b.name())).await.outcome(), Outcome::Stored);
    let name = host.name.clone();
    let host = host.restart().await;
    assert_eq!(host.name, name);
    assert_eq!(b.attach(&host).await.next().await.uri, send_uri("1"));
}

#[tokio::test]
async fn an_invitation_waits_like_a_transaction() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let uri = "/_matrix/federation/v2/invite/!room:x/$event";
    let reply = host.forward(Key::of(1).request("PUT", uri, &b.name(), br#"{"room_version":"11"}"#)).await;
    assert_eq!((reply.status, reply.outcome()), (202, Outcome::Stored));
    assert_eq!(b.attach(&host).await.next().await.uri, uri);
}

#[tokio::test]
async fn only_what_its_sender_signed_is_stored() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    let good = a.transaction("1", &b.name());
    let mut unsigned = good.clone();
    unsigned.headers.remove("authorization");
    let mut altered = good.clone();
    altered.body = br#"{"pdus":[]}"#.to_vec();
    let mut replayed = good.clone();
    replayed.uri = send_uri("2");
    let mut misdirected = a.transaction("1", &Key::of(3).name());
    misdirected.authority = b.name().to_string();
    for request in [unsigned, altered, replayed, misdirected] {
        let reply = host.forward(request).await;
        assert_eq!((reply.status, reply.errcode().as_str(), reply.outcome()), (401, "M_UNAUTHORIZED", Outcome::Refused));
    }
    assert_eq!(host.forward(a.request("PUT", &send_uri("3"), &b.name(), br#"{"edus":[]}"#)).await.status, 400);
    assert_eq!(host.forward(good).await.status, 202);
}

#[tokio::test]
async fn what_no_node_has_an_endpoint_for_or_can_tell_the_signer_of_is_not_stored() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    for uri in ["/_matrix/federation/v2/send/1", "/_matrix/federation/v1/s%65nd/1", "/_matrix/federation/v%32/invite/!a:b/$c"] {
        let reply = host.forward(a.request("PUT", uri, &b.name(), br#"{"pdus":[]}"#)).await;
        assert_eq!((reply.status, reply.outcome()), (503, Outcome::Refused), "{uri}");
    }
    let mut twice = a.transaction("1", &b.name());
    twice.headers.push("authorization", Key::of(3).sign_request("PUT", &send_uri("1"), &b.name(), br#"{"pdus":[]}"#));
    assert_eq!(host.forward(twice).await.status, 401);
    assert!(b.attach(&host).await.quiet().await.is_none());
}

/// Takes nothing that has to do with poison now, never answers what is slow, and takes all else.
fn choosy() -> Handler {
    |request| {
        Box::pin(async move {
            if request.uri.contains("slow") {
                std::future::pending::<()>().await;
            }
            boxed(if request.uri.contains("poison") { 401 } else { 200 }, "{}")
        })
    }
}

#[tokio::test]
async fn nobodys_mail_waits_behind_a_hundred_poisonous_requests() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let mut senders = [Key::of(1), Key::of(3)];
    senders.sort_by_key(Key::name);
    // The one whose turn is first.
    let [stranger, honest] = senders;
    for number in 0..100 {
        assert_eq!(host.forward(stranger.transaction(&format!("poison{number}"), &b.name())).await.outcome(), Outcome::Stored);
    }
    for id in ["1", "2", "3"] {
        host.forward(honest.transaction(id, &b.name())).await;
    }
    let mut node = b.attach_with(&host, choosy()).await;
    let mut offered = Vec::new();
    while offered.last() != Some(&send_uri("3")) {
        offered.push(node.next().await.uri);
    }
    assert!(offered.len() < 10, "{offered:?}");
    // What was not taken is offered again, the first one first, and later each time. That does not begin anew with another tunnel.
    let first = send_uri("poison0");
    while offered.iter().filter(|uri| **uri == first).count() < 4 {
        offered.push(node.next().await.uri);
    }
    assert!(offered.iter().all(|uri| *uri == first || !uri.contains("poison")), "{offered:?}");
    node.vanish(&host).await;
    host.forward(honest.transaction("4", &b.name())).await;
    let mut node = b.attach_with(&host, choosy()).await;
    assert_eq!(node.next().await.uri, send_uri("4"));
    // Nothing is lost.
    assert_eq!(node.next().await.uri, first);
    assert_eq!(metric(&host, "inglenook_relay_waiting").await, 100);
}

#[tokio::test]
async fn a_request_that_takes_long_holds_up_none_of_other_senders() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    for (seed, id) in [(1, "slow"), (3, "slow"), (4, "1"), (5, "2")] {
        host.forward(Key::of(seed).transaction(id, &b.name())).await;
    }
    let mut node = b.attach_with(&host, choosy()).await;
    let mut offered = [node.next().await.uri, node.next().await.uri, node.next().await.uri, node.next().await.uri];
    offered.sort();
    assert_eq!(offered, ["1", "2", "slow", "slow"].map(send_uri));
    soon(async { while metric(&host, "inglenook_relay_waiting").await > 2 {} }).await;
}

#[tokio::test]
async fn what_the_node_will_never_take_makes_room() {
    let host = Host::with(|config| config.mailbox_entries = 4).await;
    let b = absent(&host, 2).await;
    let fill = async || {
        for (seed, id) in [(1, "400"), (1, "404"), (3, "403"), (3, "405")] {
            assert_eq!(host.forward(Key::of(seed).transaction(id, &b.name())).await.status, 202);
        }
        assert_eq!(host.forward(Key::of(4).transaction("200", &b.name())).await.status, 429);
    };
    fill().await;
    let handler: Handler = |request| {
        let status = request.uri.rsplit('/').next().unwrap().parse().unwrap();
        Box::pin(async move { boxed(status, r#"{"errcode":"M_UNRECOGNIZED"}"#) })
    };
    let node = b.attach_with(&host, handler).await;
    soon(async { while metric(&host, "inglenook_relay_waiting").await > 0 {} }).await;
    node.vanish(&host).await;
    fill().await;
}

#[tokio::test]
async fn what_can_only_be_done_by_the_node_itself_is_refused_at_once() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    let reply = host.forward(a.request("GET", "/_matrix/federation/v1/make_join/!a:b/@c:d", &b.name(), b"")).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (503, "M_UNREACHABLE"));
    let reply = host.forward(a.transaction("1", &Key::of(99).name())).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn a_full_mailbox_says_when_to_come_again() {
    let host = Host::with(|config| config.mailbox_entries = 4).await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    for id in ["1", "2"] {
        assert_eq!(host.forward(a.transaction(id, &b.name())).await.status, 202);
    }
    let reply = host.forward(a.transaction("3", &b.name())).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (429, "M_LIMIT_EXCEEDED"));
    assert!(reply.json()["retry_after_ms"].as_u64().unwrap() > 0);
    // The same again is no more; another sender has a share of its own.
    assert_eq!(host.forward(a.transaction("2", &b.name())).await.status, 202);
    assert_eq!(host.forward(Key::of(3).transaction("1", &b.name())).await.status, 202);
}

#[tokio::test]
async fn what_is_stored_while_the_node_is_there_is_handed_over_at_once() {
    let host = Host::start().await;
    let mut b = Key::of(2).attach(&host).await;
    let uri = format!("/_matrix/federation/v1/send_relay/1/{}", b.key.user("b"));
    let reply = host.signed_http(&Key::of(1), "PUT", &uri, br#"{"pdus":[]}"#).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(b.next().await.uri, uri);
}

#[tokio::test]
async fn a_senders_transactions_are_not_overtaken_by_later_ones() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1).attach(&host).await;
    a.send(a.key.transaction("1", &b.name())).await;
    let mut b = b.attach_with(&host, |_| Box::pin(async { boxed(503, "{}") })).await;
    assert_eq!(b.next().await.uri, send_uri("1"));
    // The first is not taken yet.
    assert_eq!(a.send(a.key.transaction("2", &b.name())).await.outcome(), Outcome::Stored);
    // Another sender's go through.
    let c = Key::of(3).attach(&host).await;
    assert_eq!(c.send(c.key.transaction("1", &b.name())).await.outcome(), Outcome::Answered);
}

#[tokio::test]
async fn those_who_wrote_to_an_absent_node_hear_that_it_is_there() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let mut a = Key::of(1).attach(&host).await;
    let mut other = Key::of(3).attach(&host).await;
    a.send(a.key.transaction("1", &b.name())).await;
    let b = b.attach(&host).await;
    let notice = a.next().await;
    assert_eq!((notice.method.as_str(), notice.uri), ("PUT", format!("{ONLINE}{}", b.name())));
    assert!(other.quiet().await.is_none());
}

#[tokio::test]
async fn a_relay_answers_from_what_an_absent_node_has_left() {
    let host = Host::start().await;
    let key = Key::of(2);
    let b = key.attach(&host).await;
    let user = key.user("b");
    let server_keys = json!({ "server_name": key.name(), "verify_keys": {}, "old_verify_keys": {}, "valid_until_ts": 1 });
    let server_keys = signed::sign(&server_keys, &key.name(), &key).unwrap();
    let left = |kind: &str, content: Value| Deposit::new(kind, &user, (1, 2), content).sign(&key.name(), &key).unwrap();
    let fallback = json!({ "signed_curve25519:A": { "key": "k", "fallback": true } });
    let deposits = [
        ("keys", serde_json::to_value(&server_keys).unwrap()),
        ("profiles", json!({ &user: left("profiles", json!({ "displayname": "B" })), "@other:x": left("profiles", json!({})) })),
        ("devices", json!({ &user: left("devices", json!({ "devices": { "user_id": user, "stream_id": 1, "devices": [] } })) })),
        ("fallback", json!({ &user: left("fallback", json!({ "D": fallback })) })),
    ];
    for (kind, deposit) in &deposits {
        let reply = b.ask_relay("PUT", &format!("{DEPOSIT}{kind}"), &serde_json::to_vec(deposit).unwrap()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(b.ask_relay("PUT", &format!("{DEPOSIT}seen"), b"{}").await.status, 404);
    let another = signed::sign(&json!({ "server_name": Key::of(3).name() }), &Key::of(3).name(), &Key::of(3)).unwrap();
    assert_eq!(b.ask_relay("PUT", &format!("{DEPOSIT}keys"), &serde_json::to_vec(&another).unwrap()).await.status, 400);
    b.vanish(&host).await;

    let a = Key::of(1);
    let encoded = user.replace('@', "%40");
    // A node is handed what was signed about those it asks for, and nobody else.
    let of_user = |at: usize| json!({ DEPOSITS: { &user: deposits[at].1[&user] } });
    let asked = [
        ("GET", "/_matrix/key/v2/server".to_owned(), json!(null), deposits[0].1.clone()),
        ("GET", format!("/_matrix/federation/v1/query/profile?user_id={encoded}"), json!(null), of_user(1)),
        ("GET", format!("/_matrix/federation/v1/user/devices/{encoded}"), json!(null), of_user(2)),
        ("POST", "/_matrix/federation/v1/user/keys/query".into(), json!({ "device_keys": { &user: [] } }), of_user(2)),
        (
            "POST",
            "/_matrix/federation/v1/user/keys/claim".into(),
            json!({ "one_time_keys": { &user: { "D": "signed_curve25519" } } }),
            of_user(3),
        ),
    ];
    for (method, uri, body, answer) in asked {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let request = a.request(method, &uri, &key.name(), &body);
        let reply = host.forward(request.clone()).await;
        assert_eq!((reply.status, reply.outcome(), reply.json()), (200, Outcome::Deposit, answer), "{uri}");
        // Keys are public; everything else is for servers that say who they are.
        let mut unsigned = request;
        unsigned.headers.remove("authorization");
        assert_eq!(host.forward(unsigned).await.status, if uri.contains("/key/") { 200 } else { 401 }, "{uri}");
    }
}

#[tokio::test]
async fn the_newest_signed_record_is_kept_and_handed_out() {
    let host = Host::start().await;
    let b = Key::of(2).attach(&host).await;
    let uri = format!("{RECORD}{}", b.name());
    let record = |seq| NodeRecord { name: b.name(), relays: vec!["https://relay.example".into()], seq };
    let bytes = |seq| serde_json::to_vec(&record(seq).sign(&b.key).unwrap()).unwrap();
    assert_eq!(host.http("GET", &uri, &[], b"").await.status, 404);
    assert_eq!(b.ask_relay("PUT", &uri, &bytes(2)).await.json()["seq"], 2);
    // Anybody may bring one; an older one changes nothing.
    assert_eq!(host.http("PUT", &uri, &[], &bytes(1)).await.json()["seq"], 2);
    assert_eq!(host.http("PUT", &uri, &[], &bytes(3)).await.json()["seq"], 3);
    let known = serde_json::from_slice(&host.http("GET", &uri, &[], b"").await.body).unwrap();
    assert_eq!(NodeRecord::verify(&known, &b.name()).unwrap(), record(3));
    // Forged, and of a node that is not served here.
    let forged = serde_json::to_vec(&record(9).sign(&Key::of(3)).unwrap()).unwrap();
    assert_eq!(host.http("PUT", &uri, &[], &forged).await.status, 403);
    let stranger = Key::of(3);
    let record = NodeRecord { name: stranger.name(), relays: vec![], seq: 1 };
    let uri = format!("{RECORD}{}", stranger.name());
    assert_eq!(host.http("PUT", &uri, &[], &serde_json::to_vec(&record.sign(&stranger).unwrap()).unwrap()).await.status, 404);
}
