//! A server and a relay of the tests' own, over sockets in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use inglenook_protocol::{
    message::{Headers, Request, Response, Whole, whole},
    path::{DEPOSIT, LIMITS, OUTCOME_HEADER, Outcome},
    socket::ByteSocket,
    tunnel::{self, Side, TunnelBody},
};
use ruma::server_name;
use serde_json::{Value, json};

use super::{
    socket::{Socket, Sockets},
    transport::RelayTransport,
};
use crate::{
    Config,
    http::{Method, Pieces},
    identity::{Identity, Name},
    ports::{Destination, Reply, Transport},
    storage::MemoryStore,
    support::{
        Host, SeededEntropy,
        socket::{End, RETENTION, socket},
    },
};

const URL: &str = "https://relay.example";

/// What a node's sockets lead to.
#[derive(Clone, Default)]
struct Relay(Rc<Inner>);

#[derive(Default)]
struct Inner {
    dialled: RefCell<Vec<End>>,
    deposits: RefCell<BTreeMap<String, Vec<Value>>>,
    asked: RefCell<Vec<String>>,
    /// It takes what comes, and says nothing.
    is_silent: Cell<bool>,
    /// Lets another holder of the key take the last tunnel.
    supersede: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Ends the last tunnel.
    close: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Sockets for Relay {
    fn dial<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, io::Result<Box<dyn Socket>>> {
        let (node, relay) = socket();
        self.0.dialled.borrow_mut().push(relay);
        async move { Ok(Box::new(node) as Box<dyn Socket>) }.boxed_local()
    }

    fn post<'a>(&'a self, _: &'a str, _: &'a str, _: Vec<u8>) -> LocalBoxFuture<'a, io::Result<Pieces>> {
        async { Err(io::ErrorKind::Unsupported.into()) }.boxed_local()
    }
}

impl Relay {
    /// Lets in whoever has dialled last, and serves the tunnel.
    async fn serve(self, now: u64) {
        let mut socket = self.0.dialled.borrow_mut().pop().expect("the node has dialled");
        let identity = Identity::load_or_make(&MemoryStore::new(), &SeededEntropy::new(7), Name::OfKey).await.unwrap();
        *self.0.supersede.borrow_mut() = Some(Box::new(socket.supersede()));
        socket.admit(&identity, now, |host| host == "relay.example").await.expect("the node answers");
        let relay = self.clone();
        let answer = move |request: Request<TunnelBody>| {
            let relay = relay.clone();
            async move { relay.answer(request).await }
        };
        let (tunnel, driver) = tunnel::start(ByteSocket::new(socket.frames()), Side::Relay, answer);
        *self.0.close.borrow_mut() = Some(Box::new(move || tunnel.close()));
        driver.await;
    }

    async fn answer(&self, request: Request<TunnelBody>) -> Response<Whole> {
        let body = request.body.collect(1 << 20).await.unwrap();
        self.0.asked.borrow_mut().push(request.uri.clone());
        if self.0.is_silent.get() {
            return std::future::pending().await;
        }
        if request.uri.starts_with("/_matrix/federation/") {
            let headers = Headers::from_iter([(OUTCOME_HEADER, Outcome::Stored.as_str())]);
            return Response { status: 202, headers, body: whole("{}") };
        }
        if let Some(kind) = request.uri.strip_prefix(DEPOSIT) {
            self.0.deposits.borrow_mut().entry(kind.into()).or_default().push(serde_json::from_slice(&body).unwrap());
        }
        Response { status: 200, headers: Headers::default(), body: whole("{}") }
    }

    fn deposits(&self, kind: &str) -> Vec<Value> {
        self.0.deposits.borrow().get(kind).cloned().unwrap_or_default()
    }

    fn dialled(&self) -> usize {
        self.0.dialled.borrow().len()
    }
}

fn host() -> (Host, Relay) {
    let (host, relay, _) = host_with(Config::default());
    (host, relay)
}

fn host_with(config: Config) -> (Host, Relay, Rc<RelayTransport>) {
    let host = Host::with(Config { relays: vec![URL.into()], ..config });
    let relay = Relay::default();
    let transport = RelayTransport::new(Box::new(relay.clone()));
    let server = Rc::clone(&host.server());
    server.spawn(Rc::clone(&transport).run(Rc::clone(&server)));
    host.run();
    (host, relay, transport)
}

#[test]
fn what_a_relay_keeps_for_a_server_is_left_anew_when_it_changes() {
    let (host, relay) = host();
    let server = Rc::clone(&host.server());
    server.spawn(relay.clone().serve(server.now()));
    host.run();
    assert_eq!((relay.deposits("profiles").len(), relay.deposits("devices").len()), (1, 1), "at once");

    let alice = host.register("alice");
    host.advance(10_000);
    assert_eq!(relay.deposits("devices").last().unwrap()[&alice.id]["content"]["devices"]["user_id"], alice.id);
    host.put(&alice, &format!("/_matrix/client/v3/profile/{}/displayname", alice.id), json!({ "displayname": "Alice" })).ok();
    host.advance(10_000);
    let profiles = relay.deposits("profiles");
    assert_eq!(profiles.last().unwrap()[&alice.id]["content"]["displayname"], "Alice");
    assert_eq!(profiles.len(), 3, "at first, with a new user, and with a new name");
    assert_eq!(relay.deposits("keys").len(), 1, "what is the same is not left again");
}

#[test]
fn a_server_named_below_a_gateway_is_let_in_by_its_key() {
    let (host, relay, _) = host_with(Config { gateway: Some("gateway.example".into()), ..Config::default() });
    let server = Rc::clone(&host.server());
    server.spawn(relay.clone().serve(server.now()));
    host.run();
    let name = relay.deposits("keys")[0]["server_name"].as_str().unwrap().to_owned();
    assert_eq!(name.split_once('.').unwrap().1, "gateway.example");
    assert_eq!(host.register("alice").id, format!("@alice:{name}"));
}

#[test]
fn a_relay_that_says_nothing_is_dialled_again() {
    let (host, relay) = host();
    assert_eq!(relay.dialled(), 1);
    host.advance(19_000);
    assert_eq!(relay.dialled(), 1);
    host.advance(1_000);
    host.advance(1_000);
    assert_eq!(relay.dialled(), 2);
}

#[test]
fn a_relay_with_a_tunnel_is_not_asked_what_it_has_said() {
    let (host, relay, transport) = host_with(Config::default());
    let server = Rc::clone(&host.server());
    server.spawn(relay.clone().serve(server.now()));
    host.run();
    let to = Destination { name: server_name!("away.example").to_owned(), relays: vec![URL.into()] };
    let reply = host.block_on(transport.send(&to, crate::http::Request::new(Method::Put, "/_matrix/federation/v1/send/1"))).unwrap();
    let Reply::Kept { relays, retention } = reply else { panic!("the relay has stored it") };
    assert_eq!((relays, retention), (vec![URL.to_owned()], Some(RETENTION)));
    assert!(!relay.0.asked.borrow().iter().any(|uri| uri == LIMITS));
}

/// Lets in whoever has dialled, and serves the tunnel.
fn let_in(host: &Host, relay: &Relay) {
    let server = Rc::clone(&host.server());
    server.spawn(relay.clone().serve(server.now()));
    host.run();
}

fn standing(host: &Host) -> Value {
    json!(host.server().own_relays.standings().remove(0).1)
}

#[test]
fn what_was_left_is_signed_anew_each_week() {
    let (host, relay) = host();
    let_in(&host, &relay);
    host.register("alice");
    let day = 24 * 60 * 60 * 1000;
    let valid_until = || relay.deposits("keys").last().unwrap()["valid_until_ts"].as_u64().unwrap();
    let first = valid_until();
    // Beside the wait of a day there is a short one.
    for _ in 0..10 {
        host.advance(day);
        host.advance(10_000);
    }
    assert!(valid_until() >= first + 7 * day);
    assert_eq!(relay.deposits("keys").len(), 2, "and not each day");
    let until = |deposit: &Value| deposit.as_object().unwrap().values().next().unwrap()["until"].as_u64().unwrap();
    assert!(until(relay.deposits("profiles").last().unwrap()) >= first + 7 * day);
}

#[test]
fn what_has_not_changed_is_of_one_time_wherever_it_is_left() {
    let (host, relay) = host();
    let alice = host.register("alice");
    for _ in 0..2 {
        let_in(&host, &relay);
        host.advance(3_000);
        relay.0.close.take().unwrap()();
        host.run();
        host.advance(2_000);
    }
    let times: Vec<_> = relay.deposits("profiles").iter().map(|deposit| deposit[&alice.id]["ts"].clone()).collect();
    assert_eq!((times.len(), &times[0]), (2, &times[1]));
}

#[test]
fn who_is_let_in_and_thrown_out_dials_ever_more_rarely() {
    let (host, relay) = host();
    let mut dialled = 0;
    for _ in 0..60 {
        if relay.dialled() > 0 {
            dialled += 1;
            let_in(&host, &relay);
            relay.0.close.take().unwrap()();
            host.run();
        }
        host.advance(1_000);
    }
    assert!((3..=12).contains(&dialled), "{dialled} in a minute");
}

#[test]
fn a_tunnel_that_another_holder_of_the_key_has_taken_is_left_to_it_for_more_than_a_minute() {
    let (host, relay, transport) = host_with(Config::default());
    for minutes in [1, 2, 4] {
        let_in(&host, &relay);
        assert_eq!(standing(&host)["state"], "attached");
        relay.0.supersede.take().unwrap()();
        host.run();
        let standing = standing(&host);
        assert_eq!(standing["state"], "superseded");
        let until = standing["until"].as_u64().unwrap() - host.server().now();
        assert!((minutes * 60_000..=minutes * 120_000).contains(&until), "{until}");
        transport.hurry();
        host.advance(minutes * 60_000 - 1);
        assert_eq!(relay.dialled(), 0, "nothing hurries it");
        host.advance(minutes * 60_000 + 1);
        assert_eq!(relay.dialled(), 1);
    }
}

#[test]
fn a_tunnel_that_leads_nowhere_any_more_is_dialled_again() {
    for is_hurried in [true, false] {
        let (host, relay, transport) = host_with(Config::default());
        let_in(&host, &relay);
        host.advance(60_000);
        host.advance(5_000);
        assert_eq!(standing(&host)["state"], "attached", "a relay that answers is kept");
        relay.0.is_silent.set(true);
        if is_hurried {
            transport.hurry();
            host.run();
        } else {
            host.advance(60_000);
        }
        host.advance(4_999);
        assert_eq!(standing(&host)["state"], "attached");
        host.advance(1);
        assert_eq!(standing(&host)["state"], if is_hurried { "connecting" } else { "waiting" });
        host.advance(if is_hurried { 0 } else { 1_000 });
        assert_eq!(relay.dialled(), 1, "at once where the network is back");
    }
}

#[test]
fn the_first_relay_that_is_the_gateway_of_ones_name_stays_it() {
    let (host, ..) = host_with(Config { gateway: Some("gw.example".into()), ..Config::default() });
    let server = Rc::clone(&host.server());
    let says = |url: &str, domain: Option<&str>| host.block_on(server.own_relays.is_gateway(url, domain));
    assert!(!says(URL, None) && !says(URL, Some("other.example")));
    assert!(says(URL, Some("gw.example")));
    assert!(!says("https://liar.example", Some("gw.example")));
    assert!(says(URL, Some("gw.example")));
}
