//! What went wrong in the relays that this one descends from, a test for each; and the two endpoints that their peers still speak.

use std::time::Duration;

use inglenook_protocol::{
    message::Request,
    path::{LIMITS, Outcome, RECORD},
    x_matrix::Authorization,
};
use serde_json::{Value, json};

use crate::support::*;

fn relay_txn(key: &Key) -> String {
    format!("/_matrix/federation/v1/relay_txn/{}", key.user("u"))
}

fn send_relay(id: &str, key: &Key) -> String {
    format!("/_matrix/federation/v1/send_relay/{id}/{}", key.user("u"))
}

async fn absent(host: &Host, seed: u8) -> Key {
    let key = Key::of(seed);
    key.attach(host).await.vanish(host).await;
    key
}

/// Fetches as Dendrite's peers do, with a body.
async fn fetch(host: &Host, key: &Key, of: &Key, entry: u64) -> Reply {
    let body = serde_json::to_vec(&json!({ "entry_id": entry })).unwrap();
    host.signed_http(key, "GET", &relay_txn(of), &body).await
}

fn transaction(id: &str) -> Vec<u8> {
    serde_json::to_vec(&json!({ "pdus": [{ "id": id }] })).unwrap()
}

#[tokio::test]
async fn a_queue_is_read_by_its_owner_alone() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    host.signed_http(&Key::of(1), "PUT", &send_relay("1", &b), &transaction("1")).await;
    let reply = fetch(&host, &Key::of(3), &b, 0).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (403, "M_FORBIDDEN"));
    assert_eq!(host.http("GET", &relay_txn(&b), &[], br#"{"entry_id":0}"#).await.status, 401);
    assert_eq!(fetch(&host, &b, &b, 0).await.json()["transaction"]["pdus"][0]["id"], "1");
}

#[tokio::test]
async fn nobody_touches_anothers_entries() {
    let host = Host::start().await;
    let (b, c) = (absent(&host, 2).await, absent(&host, 3).await);
    for id in ["1", "2"] {
        host.signed_http(&Key::of(1), "PUT", &send_relay(id, &b), &transaction(id)).await;
    }
    host.signed_http(&Key::of(1), "PUT", &send_relay("3", &c), &transaction("3")).await;
    // Numbers belong to one mailbox, and removing is for its owner.
    assert_eq!(fetch(&host, &c, &c, 0).await.json()["entry_id"], 1);
    for number in 1..10 {
        assert_eq!(fetch(&host, &c, &b, number).await.status, 403);
        fetch(&host, &c, &c, number).await;
    }
    let first = fetch(&host, &b, &b, 0).await.json();
    assert_eq!((&first["entry_id"], &first["transaction"]["pdus"][0]["id"]), (&json!(1), &json!("1")));
}

#[tokio::test]
async fn an_entry_is_offered_until_it_is_acknowledged() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    for id in ["1", "2"] {
        host.signed_http(&Key::of(1), "PUT", &send_relay(id, &b), &transaction(id)).await;
    }
    for _ in 0..3 {
        assert_eq!(fetch(&host, &b, &b, 0).await.json()["entry_id"], 1);
    }
    let second = fetch(&host, &b, &b, 1).await.json();
    assert_eq!((&second["entry_id"], &second["entries_queued"]), (&json!(2), &json!(true)));
    let empty = fetch(&host, &b, &b, 2).await.json();
    assert_eq!((&empty["entry_id"], &empty["entries_queued"]), (&json!(0), &json!(false)));
    // Through the tunnel: what the node could not integrate is offered again, and so is what it did not answer for.
    host.signed_http(&Key::of(1), "PUT", &send_relay("3", &b), &transaction("3")).await;
    let mut failing = b.attach_with(&host, |_| Box::pin(async { boxed(500, "{}") })).await;
    assert_eq!(failing.next().await.headers.first("inglenook-mailbox"), Some("3"));
    assert_eq!(failing.next().await.headers.first("inglenook-mailbox"), Some("3"));
    failing.vanish(&host).await;
    let mut dying = b.attach_with(&host, |_| Box::pin(std::future::pending())).await;
    assert_eq!(dying.next().await.headers.first("inglenook-mailbox"), Some("3"));
    dying.vanish(&host).await;
    let mut sound = b.attach(&host).await;
    assert_eq!(sound.next().await.headers.first("inglenook-mailbox"), Some("3"));
    assert!(sound.quiet().await.is_none());
}

#[tokio::test]
async fn the_request_is_kept_as_it_was_signed() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    // Spaces and order are not canonical, and stay.
    let sent = a.request("PUT", &format!("{}?x=%41", send_uri("a%2Fb")), &b.name(), br#"{ "pdus": [ ],"origin_server_ts" :7, "a":"b" }"#);
    assert_eq!(host.forward(sent.clone()).await.outcome(), Outcome::Stored);
    let polled = fetch(&host, &b, &b, 0).await.json();
    assert_eq!(polled["request"]["content"].as_str().unwrap().as_bytes(), sent.body);
    assert_eq!(polled["request"]["uri"], sent.uri);
    assert_eq!(polled["request"]["destination"], b.name().as_str());
    assert_eq!(polled["transaction"]["origin_server_ts"], 7);
    let received = b.attach(&host).await.next().await;
    assert_eq!((&received.uri, &received.body, &received.authority), (&sent.uri, &sent.body, &sent.authority));
    assert_eq!(received.headers.first("authorization"), sent.headers.first("authorization"));
}

#[tokio::test]
async fn every_edu_comes_with_its_senders_proof() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    let edus = json!([{ "edu_type": "m.direct_to_device", "content": { "sender": a.user("a") } }]);
    host.forward(a.edus("1", &b.name(), edus)).await;
    let received = b.attach(&host).await.next().await;
    // The receiver verifies it without the relay: what the relay could change does not verify.
    assert!(verifies(&received, &a, &b));
    let mut forged = received.clone();
    forged.body = String::from_utf8(forged.body).unwrap().replace("m.direct_to_device", "m.presence").into_bytes();
    assert!(!verifies(&forged, &a, &b));
    assert!(!verifies(&Request { uri: send_uri("2"), ..received }, &a, &b));
}

fn verifies(request: &Request<Vec<u8>>, origin: &Key, destination: &Key) -> bool {
    let header = Authorization::parse(request.headers.first("authorization").unwrap()).unwrap();
    let content = serde_json::from_slice(&request.body).unwrap();
    let (origin_name, destination) = (origin.name(), destination.name());
    let parts = inglenook_protocol::x_matrix::SignedParts {
        method: &request.method,
        uri: &request.uri,
        origin: origin_name.as_str(),
        destination: destination.as_str(),
        content: Some(&content),
    };
    let key = inglenook_protocol::key_name::verify_key_of(&origin.name()).unwrap();
    let keys = [(origin.name().to_string(), [("ed25519:1".to_owned(), key)].into())].into();
    header.verify(&parts, &keys).is_ok()
}

#[tokio::test]
async fn one_transaction_is_stored_once() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    for _ in 0..3 {
        assert_eq!(host.forward(a.transaction("1", &b.name())).await.status, 202);
    }
    assert_eq!(host.forward(Key::of(3).transaction("1", &b.name())).await.status, 202);
    for _ in 0..2 {
        assert_eq!(host.signed_http(&a, "PUT", &send_relay("1", &b), &transaction("1")).await.status, 200);
    }
    let mut b = b.attach(&host).await;
    let mut received = Vec::new();
    while let Some(request) = b.quiet().await {
        received.push(request);
    }
    // Of `a` by either endpoint, and of the other sender.
    assert_eq!(received.len(), 3);
}

#[tokio::test]
async fn old_typing_notices_are_not_replayed() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    let edu = |kind: &str| json!({ "edu_type": kind, "content": {} });
    let receipt = |event: &str| json!({ "edu_type": "m.receipt", "content": { "!r:x": { "m.read": { a.user("a"): { "event_ids": [event], "data": { "ts": 1 } } } } } });
    let sent = [
        ("typing", json!([edu("m.typing")])),
        ("presence", json!([edu("m.presence")])),
        ("to-device", json!([edu("m.direct_to_device"), edu("m.typing")])),
        ("devices", json!([edu("m.device_list_update")])),
        ("signing", json!([edu("m.signing_key_update")])),
        ("old receipt", json!([receipt("$1")])),
        ("receipt", json!([receipt("$2")])),
    ];
    for (id, edus) in sent {
        assert_eq!(host.forward(a.edus(&id.replace(' ', "-"), &b.name(), edus)).await.status, 202, "{id}");
    }
    host.clock.advance(2 * 60_000);
    let mut node = b.attach_with(&host, |_| Box::pin(async { boxed(503, "{}") })).await;
    assert_eq!(node.next().await.uri, send_uri("presence"));
    node.vanish(&host).await;
    host.clock.advance(30 * 24 * 3_600_000);
    let mut node = b.attach(&host).await;
    for id in ["to-device", "devices", "signing", "receipt"] {
        assert_eq!(node.next().await.uri, send_uri(id));
    }
    assert!(node.quiet().await.is_none());
}

#[tokio::test]
async fn nothing_is_kept_for_ever() {
    let host = Host::with(|config| config.retention_hours = 24).await;
    let b = absent(&host, 2).await;
    assert_eq!(host.forward(Key::of(1).transaction("1", &b.name())).await.status, 202);
    host.clock.advance(25 * 3_600_000);
    // A node that has not been here for so long is not served any more.
    assert_eq!(host.forward(Key::of(1).transaction("2", &b.name())).await.status, 404);
    assert!(b.attach(&host).await.quiet().await.is_none());
    assert_eq!(host.http("GET", LIMITS, &[], b"").await.json()["retention_ms"], 24 * 3_600_000);
}

#[tokio::test]
async fn relays_of_a_peer_are_learnt_from_its_signed_record() {
    let host = Host::start().await;
    let b = Key::of(2).attach(&host).await;
    let record = inglenook_protocol::node_record::NodeRecord { name: b.name(), relays: vec![host.url()], seq: 1 };
    let uri = format!("{RECORD}{}", b.name());
    b.ask_relay("PUT", &uri, &serde_json::to_vec(&record.sign(&b.key).unwrap()).unwrap()).await;
    // Also by an attached node, up its tunnel.
    let a = Key::of(1).attach(&host).await;
    let known: Value = a.ask_relay("GET", &uri, b"").await.json();
    assert_eq!(known["relays"], json!([host.url()]));
}

#[tokio::test]
async fn a_sender_can_tell_stored_from_delivered() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1).attach(&host).await;
    assert_eq!(a.send(a.key.transaction("1", &b.name())).await.outcome(), Outcome::Stored);
    let mut b = b.attach(&host).await;
    b.next().await;
    // The mail is taken a moment after it is handed over.
    let mut outcome = Outcome::Stored;
    for number in 2..200 {
        outcome = a.send(a.key.transaction(&number.to_string(), &b.name())).await.outcome();
        if outcome == Outcome::Answered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(outcome, Outcome::Answered);
}

#[tokio::test]
async fn a_poisonous_entry_does_not_wedge_the_queue() {
    let host = Host::start().await;
    let b = absent(&host, 2).await;
    let a = Key::of(1);
    for id in ["poison", "sound"] {
        host.forward(a.transaction(id, &b.name())).await;
    }
    let handler: Handler = |request| Box::pin(async move { boxed(if request.uri.contains("poison") { 400 } else { 200 }, "{}") });
    let mut node = b.attach_with(&host, handler).await;
    assert_eq!(node.next().await.uri, send_uri("poison"));
    assert_eq!(node.next().await.uri, send_uri("sound"));
    assert!(node.quiet().await.is_none());
}

#[tokio::test]
async fn what_may_be_taken_later_is_offered_again() {
    let host = Host::start().await;
    let host = &host;
    let offered_again = async |status: u16| {
        let b = absent(host, status as u8).await;
        host.forward(Key::of(1).transaction(&status.to_string(), &b.name())).await;
        // Answered with the status that the transaction's ID names.
        let handler: Handler = |request| Box::pin(async move { boxed(request.uri.rsplit('/').next().unwrap().parse().unwrap(), "{}") });
        let mut node = b.attach_with(host, handler).await;
        for _ in 0..2 {
            assert_eq!(node.next().await.uri, send_uri(&status.to_string()));
        }
        node.vanish(host).await;
        assert_eq!(b.attach(host).await.next().await.uri, send_uri(&status.to_string()));
    };
    futures_util::future::join_all([401, 404, 408, 429, 500, 503].map(offered_again)).await;
}

#[tokio::test]
async fn dendrites_endpoint_for_leaving_answers_as_its_peers_expect() {
    let host = Host::with(|config| config.mailbox_entries = 4).await;
    let (a, b) = (Key::of(1), absent(&host, 2).await);
    let put = async |uri: String, body: Value| host.signed_http(&a, "PUT", &uri, &serde_json::to_vec(&body).unwrap()).await;
    let prefix = "/_matrix/federation/v1/send_relay/1";
    for (uri, body) in [
        (format!("{prefix}/nobody"), json!({ "pdus": [] })),
        (send_relay("1", &b), json!({ "edus": [] })),
        (send_relay("1", &b), json!({ "pdus": 1 })),
        (send_relay("1", &b), json!({ "pdus": vec![json!({}); 51] })),
        (send_relay("1", &b), json!({ "pdus": [], "edus": vec![json!({}); 101] })),
    ] {
        assert_eq!(put(uri.clone(), body).await.status, 400, "{uri}");
    }
    let body = br#"{"pdus":[]}"#;
    assert_eq!(host.http("PUT", &send_relay("1", &b), &[], body).await.status, 401);
    let wrong = a.sign_request("PUT", &send_relay("2", &b), &host.name, body);
    assert_eq!(host.http("PUT", &send_relay("1", &b), &[("authorization", &wrong)], body).await.status, 401);
    assert_eq!(put(send_relay("1", &Key::of(9)), json!({ "pdus": [] })).await.status, 404);
    assert_eq!(put(send_relay("1", &b), json!({ "pdus": vec![json!({}); 50], "edus": vec![json!({}); 100] })).await.status, 200);
    // A whole transaction is as good, and so is a relay's host as its name.
    let whole = json!({ "origin": a.name(), "origin_server_ts": 1, "pdus": [] });
    assert_eq!(put(send_relay("2", &b), whole).await.status, 200);
    let reply = put(send_relay("3", &b), json!({ "pdus": [] })).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (429, "M_LIMIT_EXCEEDED"));
    assert!(reply.json()["retry_after_ms"].is_u64());
}

#[tokio::test]
async fn dendrites_endpoint_for_fetching_takes_a_query_too() {
    let host = Host::start().await;
    let (a, b) = (Key::of(1), absent(&host, 2).await);
    for id in ["1", "2"] {
        host.signed_http(&a, "PUT", &send_relay(id, &b), &transaction(id)).await;
    }
    let by_query = async |query: &str| host.signed_http(&b, "GET", &format!("{}{query}", relay_txn(&b)), b"").await;
    assert_eq!(by_query("?entry_id=0").await.json()["entry_id"], 1);
    assert_eq!(by_query("?entry_id=1").await.json()["entry_id"], 2);
    for wrong in ["", "?entry_id=", "?entry_id=x", "?entry_id=-1"] {
        assert_eq!(by_query(wrong).await.status, 400, "{wrong}");
    }
    // The signature covers the query.
    let header = b.sign_request("GET", &format!("{}?entry_id=0", relay_txn(&b)), &host.name, b"");
    assert_eq!(host.http("GET", &format!("{}?entry_id=2", relay_txn(&b)), &[("authorization", &header)], b"").await.status, 401);
    assert_eq!(host.signed_http(&b, "GET", &relay_txn(&b), br#"{"entry_id":"x"}"#).await.status, 400);
    assert_eq!(host.signed_http(&b, "GET", "/_matrix/federation/v1/relay_txn/nobody", br#"{"entry_id":0}"#).await.status, 400);
}
