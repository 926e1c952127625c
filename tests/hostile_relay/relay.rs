//! A relay that the test has in hand: its sockets and tunnels are real, and what it does with what it is given is the test's to say.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use futures_executor::block_on;
use futures_util::{FutureExt, SinkExt, StreamExt, future::LocalBoxFuture, io::Cursor, stream};
use inglenook::{
    http::Pieces,
    identity::{Identity, Name},
    ports::Clock,
    relays::{Message, Socket, Sockets},
};
use inglenook_protocol::{
    deposit::{Asked, DEPOSITS},
    handshake::Challenge,
    message::{self, Headers, Response, collect, read_request, whole, write_response},
    node_record::host_of,
    path::{self, OUTCOME_HEADER, Outcome},
    socket::ByteSocket,
    tunnel::{self, Side, Tunnel},
};

use serde_json::{Value, json};

use crate::support::{
    Life, ManualClock, SeededEntropy,
    socket::{End, socket},
};

/// A request that was given to the relay, or that the relay makes of one.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) method: String,
    pub(crate) to: String,
    pub(crate) uri: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// Changes an answer on its way back, given the request's target.
pub(crate) type Change = Box<dyn Fn(&str, &str) -> String>;

/// What the relay does with a request.
#[derive(Default)]
pub(crate) enum Deed {
    /// It hands the request on, and the answer back.
    #[default]
    Pass,
    /// It says that it keeps the request. Whether anybody ever gets it is the test's to say.
    Keep,
    /// It makes up an answer in the destination's name.
    MakeUp(u16, &'static str),
    /// It hands the request on, and changes the answer.
    Change(Change),
    /// It answers as if the destination were away, and changes what that has left.
    Deposit(Change),
    /// It answers as the last request was answered that it has handed on.
    AnswerAsBefore,
    /// It breaks an answer off after so many pieces.
    CutOff(usize),
    /// After so many pieces no more come.
    StandStill(usize),
    /// It never answers.
    Hang,
    /// It answers without an end, and counts the megabytes that it got rid of.
    Pour(Rc<RefCell<usize>>),
}

type Body = stream::LocalBoxStream<'static, io::Result<Vec<u8>>>;

/// The relay.
pub(crate) struct Relay {
    pub(crate) url: String,
    clock: Rc<ManualClock>,
    identity: Identity,
    tunnels: RefCell<BTreeMap<String, Tunnel>>,
    deed: RefCell<Deed>,
    given: RefCell<Vec<Letter>>,
    last_answer: RefCell<Option<(u16, Headers, Vec<u8>)>>,
    /// What nodes have left, by node and kind.
    pub(crate) deposits: RefCell<BTreeMap<(String, String), Value>>,
    /// What it sends on a socket as soon as that is let in, in place of a tunnel.
    pub(crate) garbage: RefCell<Option<Vec<u8>>>,
    pub(crate) dialled: RefCell<usize>,
}

impl Relay {
    pub(crate) fn new(url: &str, clock: &Rc<ManualClock>, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            url: url.to_owned(),
            clock: Rc::clone(clock),
            identity: Identity::make(&SeededEntropy::new(seed), Name::OfKey).unwrap(),
            tunnels: RefCell::default(),
            deed: RefCell::default(),
            given: RefCell::default(),
            last_answer: RefCell::default(),
            deposits: RefCell::default(),
            garbage: RefCell::default(),
            dialled: RefCell::default(),
        })
    }

    /// What it does from now on.
    pub(crate) fn does(&self, deed: Deed) {
        *self.deed.borrow_mut() = deed;
    }

    /// The federation's requests that it was given since the last call, in their order.
    pub(crate) fn given(&self) -> Vec<Letter> {
        self.given.take()
    }

    /// Whether a node has a tunnel to it.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.tunnels.borrow().get(node).is_some_and(|tunnel| !tunnel.is_closed())
    }

    /// A challenge of this relay's.
    pub(crate) fn challenge(&self) -> Challenge {
        Challenge::new(self.identity.server_name().to_owned(), [7; 32], self.clock.now())
    }

    /// Whether a host leads to this relay.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        host_of(&self.url).as_deref() == Some(host)
    }

    /// Sends a request down the tunnel of a node; `None` where it is not answered.
    pub(crate) async fn hand(&self, node: &str, letter: &Letter) -> Option<(u16, Headers, Vec<u8>)> {
        let response = self.ask(node, letter).await?;
        let body = collect(response.body, 64 << 20).await.ok()?;
        Some((response.status, response.headers, body))
    }

    async fn ask(&self, node: &str, letter: &Letter) -> Option<Response<tunnel::TunnelBody>> {
        let tunnel = self.tunnels.borrow().get(node).cloned()?;
        let Letter { method, to, uri, headers, body } = letter.clone();
        tunnel.request(message::Request { method, authority: to, uri, headers, body: whole(body) }).await.ok()
    }

    /// Hands a request on, and its answer back as it comes, cut off where the test says so.
    async fn stream(&self, letter: &Letter) -> Option<Response<Body>> {
        let Response { status, headers, body } = self.ask(&letter.to, letter).await?;
        let headers = headers.with(OUTCOME_HEADER, Outcome::Answered.as_str());
        let body = body.boxed_local();
        let body = match &*self.deed.borrow() {
            Deed::CutOff(after) => body.take(*after).chain(stream::iter([Err(io::ErrorKind::BrokenPipe.into())])).boxed_local(),
            Deed::StandStill(after) => body.take(*after).chain(stream::pending()).boxed_local(),
            _ => body,
        };
        Some(Response { status, headers, body })
    }

    /// Lets a node in and serves its tunnel.
    async fn serve(self: Rc<Self>, mut socket: End) {
        *self.dialled.borrow_mut() += 1;
        let Some(node) = socket.admit(&self.identity, self.clock.now(), |host| self.is_own(host)).await else { return };
        let garbage = self.garbage.borrow().clone();
        if let Some(garbage) = garbage {
            socket.send(Message::Bytes(garbage)).await.unwrap();
        }
        let relay = Rc::clone(&self);
        let answer = move |request: message::Request<tunnel::TunnelBody>| {
            let relay = Rc::clone(&relay);
            async move { relay.answer(read(request).await).await }
        };
        let (tunnel, driver) = tunnel::start(ByteSocket::new(socket.frames()), Side::Relay, answer);
        self.tunnels.borrow_mut().insert(node.to_string(), tunnel);
        driver.await;
    }

    /// What it answers by itself, if it does; the inner `None` is no answer at all.
    fn own_answer(&self) -> Option<Option<Response<Body>>> {
        Some(Some(match &*self.deed.borrow() {
            Deed::Pass | Deed::Change(_) | Deed::Deposit(_) | Deed::CutOff(_) | Deed::StandStill(_) => return None,
            Deed::Hang => return Some(None),
            Deed::Keep => said(202, "{}", Outcome::Stored),
            Deed::MakeUp(status, body) => said(*status, body, Outcome::Answered),
            Deed::AnswerAsBefore => answered(self.last_answer.borrow().clone().expect("one was answered")),
            Deed::Pour(poured) => pour(Rc::clone(poured)),
        }))
    }

    /// What the destination has left, as a relay hands it out.
    fn of_deposit(&self, letter: &Letter, change: &Change) -> Response<Body> {
        let Some(asked) = Asked::of(&letter.method, &letter.uri) else { return said(503, "{}", Outcome::Refused) };
        let (users, deposits) = (asked.users(&letter.body).unwrap(), self.deposits.borrow());
        let left = deposits.get(&(letter.to.clone(), asked.kind().to_owned())).and_then(Value::as_object).cloned().unwrap_or_default();
        let left: BTreeMap<_, _> = left.into_iter().filter(|(user, _)| users.contains(user)).collect();
        said(200, &change(&letter.uri, &json!({ DEPOSITS: left }).to_string()), Outcome::Deposit)
    }

    async fn answer(&self, letter: Letter) -> Response<Body> {
        if let Some(kind) = letter.uri.strip_prefix(path::DEPOSIT) {
            self.deposits.borrow_mut().insert((letter.to, kind.to_owned()), serde_json::from_slice(&letter.body).unwrap());
            return said(200, "{}", Outcome::Answered);
        }
        if letter.uri.starts_with("/_inglenook/relay/") {
            return said(200, "{}", Outcome::Answered);
        }
        self.given.borrow_mut().push(letter.clone());
        match self.own_answer() {
            Some(Some(answer)) => return answer,
            Some(None) => return std::future::pending().await,
            None => {}
        }
        if let Deed::Deposit(change) = &*self.deed.borrow() {
            return self.of_deposit(&letter, change);
        }
        if letter.uri.contains("/media/") {
            return self.stream(&letter).await.unwrap_or_else(|| said(503, "{}", Outcome::Refused));
        }
        let Some((status, headers, body)) = self.hand(&letter.to, &letter).await else {
            return said(503, "{}", Outcome::Refused);
        };
        let body = match &*self.deed.borrow() {
            Deed::Change(change) => change(&letter.uri, &String::from_utf8(body).unwrap()).into_bytes(),
            _ => body,
        };
        *self.last_answer.borrow_mut() = Some((status, headers.clone(), body.clone()));
        answered((status, headers, body))
    }
}

fn answered((status, headers, body): (u16, Headers, Vec<u8>)) -> Response<Body> {
    let headers = headers.with(OUTCOME_HEADER, Outcome::Answered.as_str());
    Response { status, headers, body: whole(body).boxed_local() }
}

async fn read<B: message::Body + Unpin>(request: message::Request<B>) -> Letter {
    let message::Request { method, authority, uri, headers, body } = request;
    Letter { method, to: authority, uri, headers, body: collect(body, 64 << 20).await.unwrap() }
}

fn said(status: u16, body: &str, outcome: Outcome) -> Response<Body> {
    let headers = Headers::from_iter([(OUTCOME_HEADER, outcome.as_str())]);
    Response { status, headers, body: whole(body).boxed_local() }
}

/// An answer that does not end.
fn pour(poured: Rc<RefCell<usize>>) -> Response<Body> {
    let body = stream::repeat_with(move || {
        *poured.borrow_mut() += 1;
        Ok(vec![b' '; 1 << 20])
    });
    Response { body: body.boxed_local(), ..said(200, "", Outcome::Answered) }
}

/// The sockets of a node: they lead to relays of the test.
pub(crate) struct Relays {
    pub(crate) relays: Vec<Rc<Relay>>,
    pub(crate) life: Rc<Life>,
}

impl Relays {
    fn find(&self, url: &str) -> io::Result<Rc<Relay>> {
        let host = host_of(url);
        self.relays.iter().find(|relay| host_of(&relay.url) == host).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Sockets for Relays {
    fn dial<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, io::Result<Box<dyn Socket>>> {
        let dialled = self.find(url).map(|relay| {
            let (node, end) = socket();
            self.life.spawn(relay.serve(end));
            Box::new(node) as Box<dyn Socket>
        });
        async move { dialled }.boxed_local()
    }

    fn post<'a>(&'a self, url: &'a str, _: &'a str, body: Vec<u8>) -> LocalBoxFuture<'a, io::Result<Pieces>> {
        async move {
            let relay = self.find(url.strip_suffix(path::FORWARD).unwrap())?;
            let answer = relay.answer(read(read_request(Cursor::new(body)).await?).await).await;
            let mut bytes = Cursor::new(Vec::new());
            write_response(&mut bytes, answer).await.map_err(io::Error::other)?;
            Ok(stream::iter([Ok(bytes.into_inner())]).boxed_local())
        }
        .boxed_local()
    }
}

/// A server that is nothing but a key.
pub(crate) fn stranger(seed: u64) -> Identity {
    block_on(async { Identity::make(&SeededEntropy::new(seed), Name::OfKey) }).unwrap()
}
