//! From one relay to another.

use inglenook_protocol::path::{Outcome, RELAYS_HEADER};

use crate::support::*;

#[tokio::test]
async fn nodes_of_different_relays_meet() {
    let (here, there) = (Host::start().await, Host::start().await);
    let (a, mut b) = (Key::of(1).attach(&here).await, Key::of(2).attach(&there).await);
    let sent = a.key.transaction("1", &b.name());
    let reply = a.send_by(sent.clone(), &[&there.url()]).await;
    assert_eq!((reply.status, reply.outcome()), (200, Outcome::Answered));
    let received = b.next().await;
    assert_eq!((received.uri, received.body), (sent.uri.clone(), sent.body.clone()));
    assert_eq!(received.headers, sent.headers);
}

#[tokio::test]
async fn the_other_relay_keeps_the_mail_of_its_own_node() {
    let (here, there) = (Host::start().await, Host::start().await);
    let b = Key::of(2);
    b.attach(&there).await.vanish(&there).await;
    let a = Key::of(1).attach(&here).await;
    let reply = a.send_by(a.key.transaction("1", &b.name()), &[&there.url()]).await;
    assert_eq!(reply.outcome(), Outcome::Stored);
    assert_eq!(reply.headers.first(RELAYS_HEADER), Some(&*there.url()), "its name is told");
    assert_eq!(b.attach(&there).await.next().await.uri, send_uri("1"));
}

#[tokio::test]
async fn the_next_relay_is_tried_when_one_is_gone_or_does_not_serve_the_node() {
    let (here, there, other) = (Host::start().await, Host::start().await, Host::start().await);
    let gone = Host::start().await;
    let gone_url = gone.url();
    gone.stop().await;
    let (a, mut b) = (Key::of(1).attach(&here).await, Key::of(2).attach(&there).await);
    let reply = a.send_by(a.key.transaction("1", &b.name()), &[&gone_url, &other.url(), "nonsense", &there.url()]).await;
    assert_eq!(reply.outcome(), Outcome::Answered, "{reply:?}");
    assert_eq!(b.next().await.uri, send_uri("1"));
    let reply = a.send_by(a.key.transaction("2", &b.name()), &[&gone_url]).await;
    assert_eq!((reply.status, reply.errcode().as_str()), (502, "M_UNREACHABLE"));
}

#[tokio::test]
async fn strangers_cannot_make_a_relay_connect_to_others() {
    let (here, there) = (Host::start().await, Host::start().await);
    let mut b = Key::of(2).attach(&there).await;
    let mut request = Key::of(1).transaction("1", &b.name());
    request.headers.push("inglenook-relays", there.url());
    assert_eq!(here.forward(request).await.status, 404);
    assert!(b.quiet().await.is_none());
}

#[tokio::test]
async fn private_addresses_are_not_connected_to() {
    let here = Host::with(|config| config.allow_private_addresses = false).await;
    let there = Host::start().await;
    let mut b = Key::of(2).attach(&there).await;
    let a = Key::of(1).attach(&here).await;
    for url in [there.url(), there.url().replacen("http", "https", 1), there.url().replace("127.0.0.1", "localhost")] {
        let reply = a.send_by(a.key.transaction("1", &b.name()), &[&url]).await;
        assert_eq!(reply.status, 502, "{url}");
    }
    assert!(b.quiet().await.is_none());
}

#[tokio::test]
async fn a_relay_that_finds_itself_in_the_list_answers_itself() {
    let here = Host::start().await;
    let b = Key::of(2);
    b.attach(&here).await.vanish(&here).await;
    let a = Key::of(1).attach(&here).await;
    let reply = a.send_by(a.key.transaction("1", &b.name()), &[&here.url()]).await;
    assert_eq!((reply.outcome(), reply.headers.first(RELAYS_HEADER)), (Outcome::Stored, None));
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let host = Host::start().await;
    let uri = inglenook_protocol::path::FORWARD;
    assert_eq!(host.http("POST", uri, &[], b"{}").await.status, 415);
    let reply = host.http("POST", uri, &[("content-type", "message/bhttp")], b"\x02\x03GET").await;
    let inner = inglenook_protocol::message::read_response(reply.body.as_slice()).await.unwrap();
    assert_eq!(inner.status, 400);
}
