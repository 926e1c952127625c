//! The transport of a server that has relays: requests go up its tunnels, or straight to the destination's own relays.

#[cfg(test)]
mod tests;

use std::{cell::RefCell, io, rc::Rc};

use futures_util::{FutureExt, TryStreamExt};
use inglenook_protocol::{
    key_name::public_key_of,
    limits::Limits,
    message::{self, CONTENT_TYPE, read_response, write_request},
    node_record::host_of,
    path,
    tunnel::Tunnel,
};

use super::{
    answers::{Answers, Said},
    carry,
    socket::Sockets,
};
use crate::{
    http::{Body, Method, Request, Response},
    ordered::{OrderedMap, OrderedSet},
    parse,
    ports::{Answer, Clock, Destination, Reply, Transport, TransportError},
    signal::Signal,
};

/// Of so many relays it is known how long they keep mail, or that they do not answer: peers name theirs as they like. Past that, all
/// are asked again.
const MAX_RETENTIONS: usize = 1_000;

/// The tunnels of one server.
pub struct RelayTransport {
    pub(super) sockets: Box<dyn Sockets>,
    pub(super) tunnels: RefCell<OrderedMap<String, Way>>,
    /// The time, once the server runs.
    pub(super) clock: RefCell<Option<Rc<dyn Clock>>>,
    answers: Answers,
    /// For how long relays keep what they store, by their URLs, as they say; `None` for one that does not say.
    retentions: RefCell<OrderedMap<String, Option<u64>>>,
    /// Relays that have not answered for as long as the last one who asked has waited: they are asked after the others.
    silent: RefCell<OrderedSet<String>>,
    /// Raised when there is reason to dial at once.
    pub(super) hurry: Signal,
}

/// A tunnel.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) tunnel: Tunnel,
    /// Whether it leads to the gateway of this server's name: to servers whose name is made of no key there is no other way.
    pub(super) is_gateway: bool,
}

/// What relays have said that did not take a request.
#[derive(Default)]
struct Refusals {
    last: Option<String>,
    /// Whether the destination is known at any of them.
    is_known: bool,
}

impl Refusals {
    fn note(&mut self, why: String, is_known: bool) {
        self.last = Some(why);
        self.is_known |= is_known;
    }

    /// There is no route where nobody has to do with the destination: it may be found elsewhere.
    fn error(self, to: &Destination) -> TransportError {
        match self.last {
            Some(why) if self.is_known => TransportError::Unreachable(to.name.to_string(), why),
            Some(why) => TransportError::NoRoute(format!("{}: {why}", to.name)),
            None => TransportError::NoRoute(to.name.to_string()),
        }
    }
}

impl RelayTransport {
    /// A transport without tunnels. [`RelayTransport::run`] opens them.
    pub fn new(sockets: Box<dyn Sockets>) -> Rc<Self> {
        Rc::new(Self::over(sockets))
    }

    fn over(sockets: Box<dyn Sockets>) -> Self {
        Self {
            sockets,
            tunnels: RefCell::default(),
            clock: RefCell::default(),
            answers: Answers::default(),
            retentions: RefCell::default(),
            silent: RefCell::default(),
            hurry: Signal::default(),
        }
    }

    fn tunnel_to(&self, url: &str) -> Option<Tunnel> {
        self.tunnels.borrow().get(url).map(|way| way.tunnel.clone())
    }

    /// The tunnels by which a way may lead to a server of which no relay is known. What is not made of a key is only found by a gateway;
    /// any other relay could make up who it is.
    fn ways_to(&self, to: &Destination) -> Vec<(String, Tunnel)> {
        let is_made_of_key = public_key_of(&to.name).is_some();
        let tunnels = self.tunnels.borrow();
        let ways = tunnels.iter().filter(|(_, way)| is_made_of_key || way.is_gateway);
        ways.map(|(url, way)| (url.clone(), way.tunnel.clone())).collect()
    }

    fn read(&self, to: &Destination, request: &Request, response: Response) -> Said {
        let now = self.clock.borrow().as_ref().map_or(0, |clock| clock.now());
        self.answers.read(to, request, response, now)
    }

    /// What became of a request that these relays keep.
    async fn kept(&self, relays: Vec<String>) -> Reply {
        let mut retention = None;
        for relay in &relays {
            retention = retention.max(self.retention(relay).await);
        }
        Reply::Kept { relays, retention }
    }

    pub(super) fn keep_retention(&self, relay: &str, retention: Option<u64>) {
        let mut retentions = self.retentions.borrow_mut();
        if retentions.len() >= MAX_RETENTIONS {
            retentions.clear();
        }
        retentions.insert(relay.to_owned(), retention);
    }

    /// For how long a relay keeps what it stores, if it says. It is asked once; one with a tunnel has said so in its welcome.
    async fn retention(&self, relay: &str) -> Option<u64> {
        if let Some(known) = self.retentions.borrow().get(relay) {
            return *known;
        }
        let request = Request::new(Method::Get, path::LIMITS);
        let answer = self.exchange(relay, carry::request(&host_of(relay)?, &request).ok()?).await.ok()?;
        let limits = match answer.body {
            Body::Bytes(bytes) if answer.status == 200 => parse::json::<Limits>(&bytes).ok(),
            _ => None,
        };
        let retention = limits.map(|limits| limits.retention_ms);
        self.keep_retention(relay, retention);
        retention
    }

    /// Asks one of the destination's relays: through this server's own tunnel to it, or by a request of its own.
    async fn ask(&self, relay: &str, to: &Destination, request: &Request) -> io::Result<Said> {
        let waiting = Waiting::begin(&self.silent, relay);
        let answer = self.exchange(relay, carry::request(to.name.as_str(), request)?).await;
        waiting.end();
        Ok(self.read(to, request, answer?))
    }

    /// The destination's relays, those that have left somebody waiting behind the others.
    fn in_order<'a>(&self, to: &'a Destination) -> impl Iterator<Item = &'a String> + use<'a> {
        let silent = self.silent.borrow();
        let (last, first): (Vec<_>, Vec<_>) = to.relays.iter().partition(|relay| silent.contains(*relay));
        first.into_iter().chain(last)
    }

    async fn exchange(&self, relay: &str, message: message::Request<message::Whole>) -> io::Result<Response> {
        if let Some(tunnel) = self.tunnel_to(relay) {
            return up(&tunnel, message).await;
        }
        let target = message.uri.clone();
        let mut bytes = futures_util::io::Cursor::new(Vec::new());
        write_request(&mut bytes, message).await.map_err(io::Error::other)?;
        let url = format!("{}{}", relay.trim_end_matches('/'), path::FORWARD);
        let answer = self.sockets.post(&url, CONTENT_TYPE, bytes.into_inner()).await?;
        carry::incoming_response(&target, read_response(answer.into_async_read()).await?).await
    }

    async fn deliver(&self, to: &Destination, request: Request) -> Result<Reply, TransportError> {
        let (mut kept, mut refusals) = (Vec::new(), Refusals::default());
        for relay in self.in_order(to) {
            match self.ask(relay, to, &request).await {
                Ok(Said::Answered(response)) => return Ok(Reply::Answered(response)),
                Ok(Said::Stored(_)) => kept.push(relay.clone()),
                Ok(Said::Refused(why, is_known)) => refusals.note(why, is_known),
                Err(error) => refusals.note(error.to_string(), false),
            }
        }
        if !kept.is_empty() {
            return Ok(self.kept(kept).await);
        }
        self.ask_own(to, &request, refusals).await
    }

    /// Asks this server's own relays, one of which may know the way.
    async fn ask_own(&self, to: &Destination, request: &Request, mut refusals: Refusals) -> Result<Reply, TransportError> {
        for (url, tunnel) in self.ways_to(to) {
            let message = carry::request(to.name.as_str(), request).map(|mut message| {
                if !to.relays.is_empty() {
                    message.headers.push(path::RELAYS_HEADER, to.relays.join(", "));
                }
                message
            });
            let asked = async { io::Result::Ok(self.read(to, request, up(&tunnel, message?).await?)) };
            match asked.await {
                Ok(Said::Answered(response)) => return Ok(Reply::Answered(response)),
                Ok(Said::Stored(at)) => {
                    let keeper = at.filter(|at| to.relays.contains(at)).unwrap_or(url);
                    return Ok(self.kept(vec![keeper]).await);
                }
                Ok(Said::Refused(why, is_known)) => refusals.note(why, is_known),
                Err(error) => refusals.note(error.to_string(), false),
            }
        }
        Err(refusals.error(to))
    }
}

impl Transport for RelayTransport {
    fn send<'a>(&'a self, to: &'a Destination, request: Request) -> Answer<'a, Reply, TransportError> {
        self.deliver(to, request).boxed_local()
    }
}

/// Sends a request up a tunnel.
async fn up(tunnel: &Tunnel, message: message::Request<message::Whole>) -> io::Result<Response> {
    let target = message.uri.clone();
    carry::incoming_response(&target, tunnel.request(message).await.map_err(io::Error::other)?).await
}

/// A relay that is being asked; it is silent from when whoever asks gives up.
struct Waiting<'a> {
    silent: &'a RefCell<OrderedSet<String>>,
    relay: Option<&'a str>,
}

impl<'a> Waiting<'a> {
    fn begin(silent: &'a RefCell<OrderedSet<String>>, relay: &'a str) -> Self {
        Self { silent, relay: Some(relay) }
    }

    fn end(mut self) {
        if let Some(relay) = self.relay.take() {
            self.silent.borrow_mut().remove(relay);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut silent = self.silent.borrow_mut();
        if let Some(relay) = self.relay.filter(|_| silent.len() < MAX_RETENTIONS) {
            silent.insert(relay.to_owned());
        }
    }
}
