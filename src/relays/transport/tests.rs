//! What the transport makes of relays' answers, over connections in memory.
#![allow(clippy::unwrap_used)]

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_channel::mpsc;
use futures_executor::block_on;
use futures_util::{
    Sink, Stream, StreamExt,
    future::{LocalBoxFuture, select},
    stream,
};
use inglenook_protocol::{
    key_name::label_of,
    message::{Headers, read_request, whole, write_response},
    path::Outcome,
    socket::ByteSocket,
    tunnel::{self, Side},
};
use ruma::{OwnedServerName, ServerName};

use super::*;
use crate::{http::Pieces, relays::socket::Socket};

/// One end of a connection in memory.
struct End(mpsc::UnboundedReceiver<Vec<u8>>, mpsc::UnboundedSender<Vec<u8>>);

impl Stream for End {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context).map(|bytes| bytes.map(Ok))
    }
}

impl Sink<Vec<u8>> for End {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, bytes: Vec<u8>) -> io::Result<()> {
        self.1.unbounded_send(bytes).map_err(io::Error::other)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.close_channel();
        Poll::Ready(Ok(()))
    }
}

type HttpAnswer = (u16, Headers, &'static str);

/// Relays that answer requests over HTTP: a URL stores, refuses, or is gone.
struct Relays(RefCell<Vec<String>>);

fn outcome(outcome: Outcome) -> Headers {
    Headers::from_iter([(path::OUTCOME_HEADER, outcome.as_str())])
}

fn answer_of(url: &str, uri: &str) -> io::Result<HttpAnswer> {
    match (url, uri) {
        _ if url.contains("gone") => Err(io::Error::other("nobody is there")),
        (_, path::LIMITS) => Ok((200, Headers::default(), LIMITS)),
        _ if url.contains("full") => Ok((429, outcome(Outcome::Refused), r#"{"errcode":"M_LIMIT_EXCEEDED","error":"full"}"#)),
        _ => Ok((202, outcome(Outcome::Stored), "{}")),
    }
}

const LIMITS: &str = r#"{"software":{"name":"r","version":"1"},"gateway":null,"allow_list":false,"max_body":1,"max_stored_body":1,
    "mailbox":{"entries":1,"bytes":1},"origin":{"entries":1,"bytes":1},"retention_ms":7200000,"max_deposit":1,"request_timeout_ms":1}"#;

impl Sockets for Relays {
    fn dial<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, io::Result<Box<dyn Socket>>> {
        async { Err(io::Error::other("no tunnels here")) }.boxed_local()
    }

    fn post<'a>(&'a self, url: &'a str, _: &'a str, body: Vec<u8>) -> LocalBoxFuture<'a, io::Result<Pieces>> {
        async move {
            let request = read_request(futures_util::io::Cursor::new(body)).await?;
            self.0.borrow_mut().push(format!("{url} {}", request.uri));
            let (status, headers, body) = answer_of(url, &request.uri)?;
            let mut bytes = futures_util::io::Cursor::new(Vec::new());
            write_response(&mut bytes, message::Response { status, headers, body: whole(body) }).await.map_err(io::Error::other)?;
            Ok(stream::iter([Ok(bytes.into_inner())]).boxed_local())
        }
        .boxed_local()
    }
}

fn transport() -> RelayTransport {
    RelayTransport::over(Box::new(Relays(RefCell::default())))
}

fn destination(relays: &[&str]) -> Destination {
    Destination { name: name(""), relays: relays.iter().map(|&relay| relay.to_owned()).collect() }
}

/// A name that is made of a key, below a domain.
fn name(domain: &str) -> OwnedServerName {
    ServerName::parse(format!("{}{domain}", label_of(&[7; 32]))).unwrap()
}

fn request() -> Request {
    Request::new(Method::Put, "/_matrix/federation/v1/send/t")
}

#[test]
fn the_relays_that_keep_a_request_are_named_with_how_long_they_do() {
    let to = destination(&["https://full.example", "https://one.example", "https://gone.example", "https://two.example"]);
    let transport = transport();
    for _ in 0..2 {
        let Ok(Reply::Kept { relays, retention }) = block_on(transport.deliver(&to, request())) else { unreachable!("nobody answers") };
        assert_eq!((relays, retention), (vec!["https://one.example".into(), "https://two.example".into()], Some(7_200_000)));
    }
    assert_eq!(transport.retentions.borrow().len(), 2, "each was asked once");
}

/// A tunnel to a relay that answers so, and what drives it.
fn tunnel_to(answer: HttpAnswer) -> (Tunnel, impl Future<Output = ()>) {
    let (up, down) = (mpsc::unbounded(), mpsc::unbounded());
    let never = |_| std::future::pending::<message::Response<message::Whole>>();
    let (status, headers, body) = answer;
    let answer = move |_| {
        let headers = headers.clone();
        async move { message::Response { status, headers, body: whole(body) } }
    };
    let (tunnel, driver) = tunnel::start(ByteSocket::new(End(down.1, up.0)), Side::Node, never);
    let (relay, relay_driver) = tunnel::start(ByteSocket::new(End(up.1, down.0)), Side::Relay, answer);
    (tunnel, futures_util::future::join(driver, relay_driver).map(|_| drop(relay)))
}

/// Sends a request by a tunnel to `https://own.example`, which answers that it is stored, with these headers beside.
fn kept_by_own(headers: &'static [(&'static str, &'static str)]) -> Vec<String> {
    let headers = headers.iter().fold(outcome(Outcome::Stored), |all, (name, value)| all.with(name, *value));
    let (tunnel, driver) = tunnel_to((202, headers, "{}"));
    let transport = transport();
    transport.tunnels.borrow_mut().insert("https://own.example".into(), Way { tunnel, is_gateway: false });
    let driver = driver.map(|()| unreachable!("the tunnel lives"));
    let to = destination(&["https://gone.example"]);
    let delivering = transport.deliver(&to, request());
    let (reply, _) = block_on(select(delivering.boxed_local(), driver.boxed_local())).factor_first();
    let Ok(Reply::Kept { relays, .. }) = reply else { unreachable!("it is kept") };
    relays
}

#[test]
fn only_the_gateway_says_what_a_server_that_is_made_of_no_key_has_answered() {
    let relay = |body| tunnel_to((200, outcome(Outcome::Answered), body));
    let ((lying, one), (gateway, other)) = (relay("a lie"), relay("the truth"));
    let transport = transport();
    transport.tunnels.borrow_mut().insert("https://a.example".into(), Way { tunnel: lying, is_gateway: false });
    let to = Destination { name: ServerName::parse("ordinary.example").unwrap(), relays: Vec::new() };
    let keys = Request::new(Method::Get, "/_matrix/key/v2/server");
    let drivers = futures_util::future::join(one, other).map(|_| unreachable!("the tunnels live")).boxed_local();
    let mut drivers = drivers;
    let mut ask = || block_on(select(transport.deliver(&to, keys.clone()).boxed_local(), &mut drivers)).factor_first().0;
    let reply = ask();
    assert!(matches!(reply, Err(TransportError::NoRoute(_))), "{reply:?}");
    transport.tunnels.borrow_mut().insert("https://b.example".into(), Way { tunnel: gateway, is_gateway: true });
    let Ok(Reply::Answered(response)) = ask() else { unreachable!("the gateway answers") };
    assert_eq!(response.body, Body::Bytes(b"the truth".to_vec()));
}

#[test]
fn what_the_own_relay_keeps_it_keeps_itself_or_names_who_does() {
    assert_eq!(kept_by_own(&[]), ["https://own.example"]);
    assert_eq!(kept_by_own(&[(path::RELAYS_HEADER, "https://gone.example")]), ["https://gone.example"]);
    assert_eq!(kept_by_own(&[(path::RELAYS_HEADER, "https://stranger.example")]), ["https://own.example"], "the destination's alone count");
}
