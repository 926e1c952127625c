//! Several hosts on one executor and one clock, and the simulated network between them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    ops::{Index, IndexMut},
    rc::{Rc, Weak},
    task::Poll,
};

use futures_channel::{mpsc, oneshot};
use futures_util::{
    FutureExt, StreamExt,
    future::{ready, select},
};
use inglenook::{
    Config,
    http::{Body, Request, Response},
    ports::{Answer, Clock, Destination, Reply, Transport, TransportError},
};
use serde_json::Value;

use super::{
    Executor, Host, Life, ManualClock, MemoryBlobs,
    relay::{self, Relay},
};

/// Hosts that can reach each other, by the names that the test gives them.
pub(crate) struct Network {
    pub(crate) wires: Rc<Wires>,
    pub(crate) clock: Rc<ManualClock>,
    executor: Rc<Executor>,
    hosts: Vec<(String, Host)>,
    /// The servers that the test plays.
    played: Life,
}

/// A request that was carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    /// The relays that the sender knows of.
    pub(crate) relays: Vec<String>,
    /// The JSON body, or null where there is none.
    pub(crate) body: Value,
}

/// What the network does to a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum Treatment {
    /// It is carried, and so is its answer.
    #[default]
    Carry,
    /// It never arrives.
    Lose,
    /// It arrives, and its answer does not.
    LoseAnswer,
    /// The connection breaks while it is being answered.
    BreakOff,
    /// It arrives twice; the second answer is told.
    Repeat,
    /// It is answered so instead.
    Answer(Response),
    /// After so many milliseconds it is treated so.
    Late(u64, Box<Treatment>),
    /// A relay keeps it until [`Network::deliver_mail`].
    Keep,
    /// These relays keep it, for so many milliseconds.
    KeepAt(Vec<String>, u64),
}

/// What a host listens on.
pub(crate) type Door = mpsc::UnboundedSender<(Request, oneshot::Sender<Response>)>;

/// Why a request goes nowhere whose sender knows no relay of the one that it is for.
pub(super) const NO_ROUTE: &str = "no route";

type Rule = Box<dyn FnMut(&Carried) -> Treatment>;

/// How many milliseconds the next request, or the next answer, takes.
type Latency = Box<dyn FnMut() -> u64>;

/// What lies between the hosts.
pub(crate) struct Wires {
    pub(super) clock: Rc<ManualClock>,
    relays: RefCell<BTreeMap<String, Rc<Relay>>>,
    doors: RefCell<BTreeMap<String, Door>>,
    /// Hosts that are reached through their relays alone.
    behind_relays: RefCell<BTreeSet<String>>,
    cut: RefCell<BTreeSet<(String, String)>>,
    latency: RefCell<Latency>,
    carried: RefCell<Vec<Carried>>,
    /// What a relay keeps: origin, destination, request.
    mail: RefCell<Vec<(String, String, Request)>>,
    rule: RefCell<Option<Rule>>,
}

impl Network {
    /// Hosts of these names, each on an empty database. A name that is empty is made of the host's key.
    pub(crate) fn new(names: &[&str]) -> Self {
        let configs = names.iter().map(|name| Config { server_name: Some((*name).to_owned()), ..Config::default() });
        Self::with(configs.zip(1..).collect())
    }

    /// Hosts that are named by their own keys.
    pub(crate) fn of_keys(count: u64) -> Self {
        Self::with((1..=count).map(|seed| (Config::default(), seed)).collect())
    }

    /// Hosts with these settings and seeds.
    pub(crate) fn with(configs: Vec<(Config, u64)>) -> Self {
        let (clock, executor) = (Rc::new(ManualClock::new()), Executor::new());
        let wires = Rc::new(Wires::new(Rc::clone(&clock)));
        let hosts = configs.into_iter().map(|(config, seed)| {
            let host = Host::on(Rc::clone(&executor), Rc::clone(&clock), Some(Rc::clone(&wires)), config, seed);
            (host.name(), host)
        });
        let hosts = hosts.collect();
        let played = executor.begin();
        Self { wires, clock, executor, hosts, played }
    }

    /// Answers in the name of a server that is no host: one that the test plays itself.
    pub(crate) fn play(&self, name: &str, answer: impl Fn(Request) -> Response + 'static) {
        let (door, requests) = mpsc::unbounded::<(Request, oneshot::Sender<Response>)>();
        self.wires.open(name, door);
        self.played.spawn(requests.for_each(move |(request, sender)| {
            // Whoever asked may have gone.
            drop(sender.send(answer(request)));
            ready(())
        }));
    }

    /// Lets everything run that can.
    pub(crate) fn run(&self) {
        self.executor.run();
    }

    /// Moves the clock, and lets everything run that can.
    pub(crate) fn advance(&self, millis: u64) {
        self.clock.advance(millis);
        self.run();
    }

    /// Moves the clock in steps, so that what is due one after the other happens in that order.
    pub(crate) fn advance_in_steps(&self, step: u64, count: usize) {
        for _ in 0..count {
            self.advance(step);
        }
    }

    /// Cuts the wire between two hosts, both ways.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        self.wires.cut.borrow_mut().insert(self.pair(one, other));
    }

    /// Mends it.
    pub(crate) fn heal(&self, one: usize, other: usize) {
        self.wires.cut.borrow_mut().remove(&self.pair(one, other));
    }

    fn pair(&self, one: usize, other: usize) -> (String, String) {
        ordered(&self.hosts[one].0, &self.hosts[other].0)
    }

    /// Carries each request after so many milliseconds, and its answer after as many.
    pub(crate) fn delay(&self, millis: u64) {
        self.delay_by(move || millis);
    }

    /// Carries each request and each answer after as many milliseconds as it is told then: what is sent later may come first.
    pub(crate) fn delay_by(&self, latency: impl FnMut() -> u64 + 'static) {
        *self.wires.latency.borrow_mut() = Box::new(latency);
    }

    /// Treats requests by a rule from now on.
    pub(crate) fn treat(&self, rule: impl FnMut(&Carried) -> Treatment + 'static) {
        *self.wires.rule.borrow_mut() = Some(Box::new(rule));
    }

    /// Carries everything again.
    pub(crate) fn treat_well(&self) {
        *self.wires.rule.borrow_mut() = None;
    }

    /// What was sent since the last call, whether or not it arrived.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        self.wires.carried.take()
    }

    /// The relay hands over what it keeps for a host, one after the other, and forgets what was taken.
    pub(crate) fn deliver_mail(&self, to: usize) {
        let name = &self.hosts[to].0;
        let (mail, rest) = self.wires.mail.take().into_iter().partition(|(_, destination, _)| destination == name);
        *self.wires.mail.borrow_mut() = rest;
        for (number, (from, to, mut request)) in Vec::into_iter(mail).enumerate() {
            request.headers.insert("inglenook-mailbox".into(), number.to_string());
            let kept = (from.clone(), to.clone(), request.clone());
            let taken = self.executor.block_on(self.wires.deliver(&from, &to, request));
            if taken.is_ok_and(|response| response.status == 200) {
                continue;
            }
            self.wires.mail.borrow_mut().push(kept);
        }
        self.run();
    }

    /// Sets up a relay at a base URL, for hosts that use it.
    pub(crate) fn add_relay(&self, url: &str) -> Rc<Relay> {
        let relay = Rc::<Relay>::default();
        self.wires.relays.borrow_mut().insert(url.to_owned(), Rc::clone(&relay));
        self.played.spawn(Rc::clone(&relay).run(Rc::clone(&self.wires)));
        relay
    }

    /// The relay loses everything.
    pub(crate) fn lose_mail(&self) {
        self.wires.mail.borrow_mut().clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }
}

impl Index<usize> for Network {
    type Output = Host;

    fn index(&self, index: usize) -> &Host {
        &self.hosts[index].1
    }
}

impl IndexMut<usize> for Network {
    fn index_mut(&mut self, index: usize) -> &mut Host {
        &mut self.hosts[index].1
    }
}

impl Wires {
    fn new(clock: Rc<ManualClock>) -> Self {
        Self {
            clock,
            relays: RefCell::default(),
            doors: RefCell::default(),
            behind_relays: RefCell::default(),
            cut: RefCell::default(),
            latency: RefCell::new(Box::new(|| 0)),
            carried: RefCell::default(),
            mail: RefCell::default(),
            rule: RefCell::default(),
        }
    }

    /// Leads requests for a host to its door, in place of the one of its earlier life.
    pub(crate) fn open(&self, name: &str, door: Door) {
        self.doors.borrow_mut().insert(name.to_owned(), door);
    }

    /// From now on a host is reached through its relays alone, as one whose name is made of a key is.
    pub(crate) fn put_behind_relays(&self, name: &str) {
        self.behind_relays.borrow_mut().insert(name.to_owned());
    }

    /// Nobody answers for a host any more.
    pub(crate) fn close(&self, name: &str) {
        self.doors.borrow_mut().remove(name);
    }

    async fn carry(&self, from: &str, destination: &Destination, request: Request) -> Result<Reply, TransportError> {
        let to = destination.name.as_str();
        let unreachable = |why: &str| match why {
            NO_ROUTE => TransportError::NoRoute(to.to_owned()),
            why => TransportError::Unreachable(to.to_owned(), why.to_owned()),
        };
        let body = if let Body::Bytes(bytes) = &request.body { serde_json::from_slice(bytes).unwrap_or_default() } else { Value::Null };
        let carried = Carried {
            from: from.into(),
            to: to.into(),
            method: request.method.as_str(),
            target: request.target(),
            relays: destination.relays.clone(),
            body,
        };
        self.carried.borrow_mut().push(carried.clone());
        let mut treatment = self.rule.borrow_mut().as_mut().map(|rule| rule(&carried)).unwrap_or_default();
        self.wait().await;
        while let Treatment::Late(millis, then) = treatment {
            self.clock.sleep(millis).await;
            treatment = *then;
        }
        match treatment {
            Treatment::Carry | Treatment::Late(..) => {}
            Treatment::Lose => return Err(unreachable("the request was lost")),
            Treatment::LoseAnswer => {
                self.pass(from, destination, request).await.map_err(unreachable)?;
                return Err(unreachable("the answer was lost"));
            }
            Treatment::BreakOff => {
                let passing = self.pass(from, destination, request);
                let _ = select(passing.boxed_local(), once_more().boxed_local()).await;
                return Err(unreachable("the connection broke"));
            }
            Treatment::Repeat => drop(self.pass(from, destination, request.clone()).await),
            Treatment::Answer(response) => return Ok(Reply::Answered(response)),
            Treatment::KeepAt(relays, retention) => {
                self.mail.borrow_mut().push((from.to_owned(), to.to_owned(), request));
                return Ok(Reply::Kept { relays, retention: Some(retention) });
            }
            Treatment::Keep => {
                self.mail.borrow_mut().push((from.to_owned(), to.to_owned(), request));
                return Ok(Reply::Kept { relays: vec!["https://relay.example".into()], retention: None });
            }
        }
        let reply = self.pass(from, destination, request).await.map_err(unreachable)?;
        self.wait().await;
        if matches!(reply, Reply::Answered(_)) && self.is_cut(from, to) { Err(unreachable("the wire was cut")) } else { Ok(reply) }
    }

    /// Brings a request to a host by way of its relays as far as the sender knows them, or straight where the host has none.
    async fn pass(&self, from: &str, destination: &Destination, request: Request) -> Result<Reply, &'static str> {
        let relays = self.relays.borrow().clone();
        match relay::through(self, &relays, from, destination, &request).await {
            Some(reply) => reply,
            None if self.behind_relays.borrow().contains(destination.name.as_str()) => Err(NO_ROUTE),
            None => self.deliver(from, destination.name.as_str(), request).await.map(Reply::Answered),
        }
    }

    /// Hands a request over, unless the wire between the two is cut.
    pub(super) async fn deliver(&self, from: &str, to: &str, request: Request) -> Result<Response, &'static str> {
        if self.is_cut(from, to) {
            return Err("the wire is cut");
        }
        self.hand(to, request).await
    }

    /// Hands a request over, whoever sent it.
    pub(super) async fn hand(&self, to: &str, request: Request) -> Result<Response, &'static str> {
        let door = self.doors.borrow().get(to).cloned().ok_or("there is no such host")?;
        let (sender, receiver) = oneshot::channel();
        door.unbounded_send((request, sender)).map_err(|_| "the host is down")?;
        receiver.await.map_err(|_| "the host went down")
    }

    async fn wait(&self) {
        let millis = (self.latency.borrow_mut())();
        match millis {
            0 => {}
            millis => self.clock.sleep(millis).await,
        }
    }

    fn is_cut(&self, one: &str, other: &str) -> bool {
        self.cut.borrow().contains(&ordered(one, other))
    }
}

/// Lets everything else run a few times.
async fn once_more() {
    for _ in 0..5 {
        let mut is_first = true;
        poll_fn(|context| {
            context.waker().wake_by_ref();
            if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

fn ordered(one: &str, other: &str) -> (String, String) {
    if one < other { (one.into(), other.into()) } else { (other.into(), one.into()) }
}

/// A host's end of the wires.
pub(crate) struct Wire {
    wires: Weak<Wires>,
    /// The host's name, known only after its start.
    name: Rc<RefCell<String>>,
}

impl Wire {
    pub(crate) fn new(wires: &Rc<Wires>, name: Rc<RefCell<String>>) -> Self {
        Self { wires: Rc::downgrade(wires), name }
    }
}

impl Transport for Wire {
    fn send<'a>(&'a self, to: &'a Destination, request: Request) -> Answer<'a, Reply, TransportError> {
        async move {
            let wires = self.wires.upgrade().ok_or_else(|| TransportError::NoRoute(to.name.to_string()))?;
            let from = self.name.borrow().clone();
            wires.carry(&from, to, request).await
        }
        .boxed_local()
    }
}

/// A response as it is on the wire: whole, whatever the host keeps it in.
pub(crate) fn on_the_wire(mut response: Response, blobs: &MemoryBlobs) -> Response {
    if matches!(response.body, Body::Stored { .. } | Body::Parts(_)) {
        response.body = Body::Bytes(whole(std::mem::take(&mut response.body), blobs));
    }
    response
}

/// The bytes of a response's body.
pub(crate) fn whole(body: Body, blobs: &MemoryBlobs) -> Vec<u8> {
    match body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes,
        Body::Stored { id, start, end } => blobs.read(&id, start, end),
        Body::Parts(parts) => parts.into_iter().flat_map(|part| whole(part, blobs)).collect(),
        Body::Incoming(_) | Body::Coming(_) => panic!("a response has no such body"),
    }
}
