//! What the relay keeps of what one address brings, by however many names.

use inglenook_protocol::{
    message::Request,
    path::{DEPOSIT, LIMITS, Outcome},
};
use serde_json::json;

use crate::support::*;

const STRANGER: &str = "1.1.1.1";
const HONEST: &str = "1.1.1.2";
const DOMAIN: &str = "gateway.example";

/// What the relay has room for: an address has a twentieth.
const TOTAL: u64 = 1 << 20;

const REFUSED_FOR_SPACE: &str = "inglenook_relay_limited_total{limit=\"space\"}";

/// A relay that believes what is said of where its callers are.
async fn host() -> Host {
    Host::with(|config| {
        config.forwarded_header = Some(FORWARDED.into());
        config.gateway_domain = Some(DOMAIN.into());
        (config.total_bytes, config.retention_hours) = (TOTAL, 24);
        (config.address_requests, config.address_connections) = (0, 0);
    })
    .await
}

/// A node that has been here, from that address.
async fn absent(host: &Host, number: u32, address: &str) -> Key {
    let key = Key::numbered(number).below(DOMAIN);
    key.attach_from(host, address).await.unwrap().vanish(host).await;
    key
}

/// One of a stranger's many names.
fn stranger(number: u32) -> Key {
    Key::numbered(1_000 + number)
}

/// A transaction of four kilobytes.
fn large(from: &Key, to: &Key) -> Request<Vec<u8>> {
    let body = json!({ "pdus": ["x".repeat(4 << 10)] });
    from.request("PUT", &send_uri("1"), &to.name(), &serde_json::to_vec(&body).unwrap())
}

fn assert_full(reply: &Reply) {
    assert_eq!((reply.status, reply.errcode().as_str(), reply.outcome()), (429, "M_LIMIT_EXCEEDED", Outcome::Refused));
    assert!(reply.json()["retry_after_ms"].as_u64().unwrap() > 0);
}

/// Sends under ever new names until no more is taken, and says how much was.
async fn flood(host: &Host, address: &str, mailboxes: &[Key]) -> u32 {
    for number in 0..1_000 {
        let reply = host.forward_from(address, large(&stranger(number), &mailboxes[number as usize % mailboxes.len()])).await;
        if reply.outcome() != Outcome::Stored {
            assert_full(&reply);
            return number;
        }
    }
    panic!("no end");
}

/// Mailboxes that a stranger has made.
async fn mailboxes(host: &Host) -> Vec<Key> {
    let mut keys = Vec::new();
    for number in 0..10 {
        keys.push(absent(host, number, STRANGER).await);
    }
    keys
}

#[tokio::test]
async fn who_makes_many_names_fills_a_share_of_the_relay_and_others_go_on() {
    let host = host().await;
    assert_eq!(host.http("GET", LIMITS, &[], b"").await.json()["address"]["bytes"], TOTAL / 20);
    let mailboxes = mailboxes(&host).await;
    let stored = flood(&host, STRANGER, &mailboxes).await;
    assert!((5..=13).contains(&stored), "{stored}");
    assert!(metric(&host, "inglenook_relay_waiting_bytes").await <= TOTAL / 20);
    assert_eq!(metric(&host, REFUSED_FOR_SPACE).await, 1);
    // Others are seen, leave what they leave, and get their mail.
    let b = absent(&host, 100, HONEST).await;
    assert_eq!(host.forward_from(HONEST, large(&Key::of(1), &b)).await.outcome(), Outcome::Stored);
    let mut node = b.attach_from(&host, HONEST).await.unwrap();
    assert_eq!(node.ask_relay("PUT", &format!("{DEPOSIT}profiles"), b"{}").await.status, 200);
    assert_eq!(node.next().await.uri, send_uri("1"));
}

#[tokio::test]
async fn an_addresss_mail_counts_until_it_is_taken_or_of_no_use_over_restarts() {
    let host = host().await;
    let mailboxes = mailboxes(&host).await;
    let stored = flood(&host, STRANGER, &mailboxes).await;
    let host = host.restart().await;
    let again = large(&stranger(2_000), &mailboxes[0]);
    assert_full(&host.forward_from(STRANGER, again.clone()).await);
    // What was stored is known, and answered like the first time.
    assert_eq!(host.forward_from(STRANGER, large(&stranger(0), &mailboxes[0])).await.outcome(), Outcome::Stored);
    let mut node = mailboxes[0].attach_from(&host, STRANGER).await.unwrap();
    node.next().await;
    soon(async { while metric(&host, "inglenook_relay_waiting").await >= u64::from(stored) {} }).await;
    node.vanish(&host).await;
    assert_eq!(host.forward_from(STRANGER, again).await.outcome(), Outcome::Stored);
    assert_full(&host.forward_from(STRANGER, large(&stranger(2_001), &mailboxes[1])).await);
    // Two days later nothing is left, the names that the stranger has made included.
    host.clock.advance(48 * 3_600_000);
    absent(&host, 100, HONEST).await;
    let anew = self::mailboxes(&host).await;
    assert_eq!(flood(&host, STRANGER, &anew).await, stored);
}

#[tokio::test]
async fn whichever_way_it_comes_mail_counts_for_the_address_that_brings_it() {
    let host = host().await;
    let mailboxes = mailboxes(&host).await;
    flood(&host, STRANGER, &mailboxes).await;
    let to = &mailboxes[0];
    let (uri, body) = (format!("/_matrix/federation/v1/send_relay/1/{}", to.user("u")), large(&stranger(0), to).body);
    let header = stranger(3_000).sign_request("PUT", &uri, &host.name, &body);
    let send_relay = async |address| host.http("PUT", &uri, &[("authorization", &header), (FORWARDED, address)], &body).await;
    let by_name = large(&stranger(3_001), to);
    let header = by_name.headers.first("authorization").unwrap();
    let gateway = async |address| {
        host.http_at(to.name().as_str(), "PUT", &by_name.uri, &[("authorization", header), (FORWARDED, address)], &by_name.body).await
    };
    let tunnel = async |address| {
        // A new name could not attach from a full address.
        let node = Key::numbered(100).below(DOMAIN).attach_from(&host, HONEST).await.unwrap();
        node.vanish(&host).await;
        let node = Key::numbered(100).below(DOMAIN).attach_from(&host, address).await.unwrap();
        // Also where the sender says which of the destination's relays to go to, and that is this one.
        let own = node.send_by(large(&node.key, to), &[&host.url()]).await;
        (own, node.send(large(&node.key, &mailboxes[1])).await)
    };
    assert_full(&send_relay(STRANGER).await);
    assert_full(&gateway(STRANGER).await);
    let (first, second) = tunnel(STRANGER).await;
    assert_full(&first);
    assert_full(&second);
    assert_eq!((send_relay(HONEST).await.status, gateway(HONEST).await.outcome()), (200, Outcome::Stored));
    let (first, second) = tunnel(HONEST).await;
    assert_eq!((first.outcome(), second.outcome()), (Outcome::Stored, Outcome::Stored));
}

#[tokio::test]
async fn names_and_what_is_left_for_them_count_as_well() {
    let host = host().await;
    let profiles = serde_json::to_vec(&json!({ "@a:b": "x".repeat(10 << 10) })).unwrap();
    let (mut names, mut deposits, mut refused) = (Vec::new(), 0, 1);
    // A name counts for half a kilobyte.
    let refusal = loop {
        let node = match stranger(names.len() as u32).attach_from(&host, STRANGER).await {
            Ok(node) => node,
            Err(refusal) => break refusal,
        };
        let reply = node.ask_relay("PUT", &format!("{DEPOSIT}profiles"), &profiles).await;
        deposits += u32::from(reply.status == 200);
        if reply.status != 200 {
            assert_full(&reply);
            refused += 1;
        }
        names.push(node);
    };
    assert_eq!((refusal.errcode.as_str(), deposits), ("M_LIMIT_EXCEEDED", 4));
    assert!((10..=102).contains(&names.len()), "{}", names.len());
    assert_eq!(metric(&host, REFUSED_FOR_SPACE).await, refused);
    // Who was here comes back, and leaves anew what it has left.
    let first = stranger(0).attach_from(&host, STRANGER).await.unwrap();
    assert_eq!(first.ask_relay("PUT", &format!("{DEPOSIT}profiles"), &profiles).await.status, 200);
    let honest = Key::of(1).attach_from(&host, HONEST).await.unwrap();
    assert_eq!(honest.ask_relay("PUT", &format!("{DEPOSIT}profiles"), &profiles).await.status, 200);
}

#[tokio::test]
async fn who_makes_many_names_does_not_fill_a_mailbox() {
    let host = Host::with(|config| {
        config.forwarded_header = Some(FORWARDED.into());
        config.mailbox_entries = 16;
        (config.address_requests, config.address_connections) = (0, 0);
    })
    .await;
    let b = Key::of(2);
    b.attach_from(&host, HONEST).await.unwrap().vanish(&host).await;
    assert_eq!(flood(&host, STRANGER, std::slice::from_ref(&b)).await, 4);
    // A network of the sixth version has as much as two addresses.
    for (subnet, stored) in [(1, 3), (2, 3), (3, 0)] {
        let mut taken = 0;
        for number in 0..3 {
            let sent = large(&stranger(100 * subnet + number), &b);
            taken += u32::from(host.forward_from(&format!("2a00:1:2:{subnet}::1"), sent).await.outcome() == Outcome::Stored);
        }
        assert_eq!(taken, stored, "{subnet}");
    }
    assert_eq!(host.forward_from(HONEST, large(&Key::of(1), &b)).await.outcome(), Outcome::Stored);
}
