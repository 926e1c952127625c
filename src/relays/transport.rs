//! The transport of a server that has relays: requests go up its tunnels, or straight to the destination's own relays.

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    rc::Rc,
};

use futures_util::{
    FutureExt, TryStreamExt,
    future::{join_all, select},
};
use inglenook_protocol::{
    answer::SignedAnswer,
    key_name::public_key_of,
    limits::Limits,
    message::{self, CONTENT_TYPE, read_response, write_request},
    node_record::host_of,
    path::{self, Outcome},
    tunnel::{Ended, Tunnel},
    x_matrix::Authorization,
};

use super::{
    attachment::{Standing, attach, pause},
    carry, deposits,
    socket::Sockets,
};
use crate::{
    federation_client::read,
    http::{Body, Method, Request, Response},
    parse,
    ports::{Answer, Destination, Reply, Transport, TransportError},
    server::Server,
    signal::Signal,
};

/// Of so many relays it is known how long they keep mail, or that they do not answer: peers name theirs as they like. Past that, all
/// are asked again.
const MAX_RETENTIONS: usize = 1_000;

/// The tunnels of one server.
pub struct RelayTransport {
    sockets: Box<dyn Sockets>,
    tunnels: RefCell<BTreeMap<String, Tunnel>>,
    /// For how long relays keep what they store, by their URLs, as they say; `None` for one that does not say.
    retentions: RefCell<BTreeMap<String, Option<u64>>>,
    /// Relays that have not answered for as long as the last one who asked has waited: they are asked after the others.
    silent: RefCell<BTreeSet<String>>,
    /// Raised when there is reason to dial at once.
    hurry: Signal,
}

/// What a relay said of a request.
enum Said {
    Answered(Response),
    /// It is stored, by the relay that was asked or by the one that it names.
    Stored(Option<String>),
    Refused(String),
}

impl RelayTransport {
    /// A transport without tunnels. [`RelayTransport::run`] opens them.
    pub fn new(sockets: Box<dyn Sockets>) -> Rc<Self> {
        Rc::new(Self::over(sockets))
    }

    fn over(sockets: Box<dyn Sockets>) -> Self {
        Self { sockets, tunnels: RefCell::default(), retentions: RefCell::default(), silent: RefCell::default(), hurry: Signal::default() }
    }

    /// Keeps a tunnel to each of the server's relays, for the server's life.
    pub async fn run(self: Rc<Self>, server: Rc<Server>) {
        while !server.is_stopping() {
            let changed = server.own_relays.changed.raised();
            let urls = server.own_relays.urls();
            let kept = join_all(urls.iter().map(|url| self.keep_attached(&server, url)));
            // With no relay there is nothing to keep, and nothing but a change to wait for.
            let kept = kept.then(|_| std::future::pending::<()>());
            select(kept.boxed_local(), changed.boxed_local()).await;
            // The tunnels' drivers were dropped, which ends them.
            self.tunnels.borrow_mut().clear();
        }
    }

    /// Dials at once whatever waits: the network is back.
    pub fn hurry(&self) {
        self.hurry.raise();
    }

    async fn keep_attached(&self, server: &Rc<Server>, url: &str) {
        let mut attempts = 0;
        loop {
            server.own_relays.note(url, Standing::Connecting);
            let reason = match attach(&*self.sockets, server, url).await {
                Ok((tunnel, welcome, driver)) => {
                    attempts = 0;
                    self.keep_retention(url, Some(welcome.limits.retention_ms));
                    server.own_relays.note(url, Standing::Attached { since: server.now(), limits: Box::new(welcome.limits) });
                    self.tunnels.borrow_mut().insert(url.to_owned(), tunnel.clone());
                    server.federation_sender.network_is_back();
                    let ended = live(driver, deposits::keep(server, &tunnel)).await;
                    self.tunnels.borrow_mut().remove(url);
                    ended
                }
                Err(error) => error.to_string(),
            };
            let millis = pause(attempts, chance(server));
            attempts += 1;
            let hurried = self.hurry.raised();
            server.own_relays.note(url, Standing::Waiting { until: server.now() + millis, reason });
            select(server.ports.clock.sleep(millis), hurried.boxed_local()).await;
        }
    }

    fn tunnel_to(&self, url: &str) -> Option<Tunnel> {
        self.tunnels.borrow().get(url).cloned()
    }

    fn all_tunnels(&self) -> Vec<(String, Tunnel)> {
        self.tunnels.borrow().iter().map(|(url, tunnel)| (url.clone(), tunnel.clone())).collect()
    }

    /// What became of a request that these relays keep.
    async fn kept(&self, relays: Vec<String>) -> Reply {
        let mut retention = None;
        for relay in &relays {
            retention = retention.max(self.retention(relay).await);
        }
        Reply::Kept { relays, retention }
    }

    fn keep_retention(&self, relay: &str, retention: Option<u64>) {
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
        Ok(said(to, request, answer?))
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
        let (mut kept, mut refusal) = (Vec::new(), None);
        for relay in self.in_order(to) {
            match self.ask(relay, to, &request).await {
                Ok(Said::Answered(response)) => return Ok(Reply::Answered(response)),
                Ok(Said::Stored(_)) => kept.push(relay.clone()),
                Ok(Said::Refused(why)) => refusal = Some(why),
                Err(error) => refusal = Some(error.to_string()),
            }
        }
        if !kept.is_empty() {
            return Ok(self.kept(kept).await);
        }
        self.ask_own(to, &request, refusal).await
    }

    /// Asks this server's own relays, one of which may know the way.
    async fn ask_own(&self, to: &Destination, request: &Request, mut refusal: Option<String>) -> Result<Reply, TransportError> {
        for (url, tunnel) in self.all_tunnels() {
            let message = carry::request(to.name.as_str(), request).map(|mut message| {
                if !to.relays.is_empty() {
                    message.headers.push(path::RELAYS_HEADER, to.relays.join(", "));
                }
                message
            });
            let asked = async { io::Result::Ok(said(to, request, up(&tunnel, message?).await?)) };
            match asked.await {
                Ok(Said::Answered(response)) => return Ok(Reply::Answered(response)),
                Ok(Said::Stored(at)) => {
                    let keeper = at.filter(|at| to.relays.contains(at)).unwrap_or(url);
                    return Ok(self.kept(vec![keeper]).await);
                }
                Ok(Said::Refused(why)) => refusal = Some(why),
                Err(error) => refusal = Some(error.to_string()),
            }
        }
        Err(match refusal {
            Some(why) => TransportError::Unreachable(to.name.to_string(), why),
            None => TransportError::NoRoute(to.name.to_string()),
        })
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

/// Drives a tunnel to its end, and beside it what is to be done while it lives. Returns why it ended.
async fn live(driver: impl Future<Output = Ended>, beside: impl Future<Output = ()>) -> String {
    let beside = beside.then(|()| std::future::pending::<Ended>());
    let (ended, _) = select(driver.boxed_local(), beside.boxed_local()).await.factor_first();
    match ended {
        Ended::Here => "this server has closed the tunnel".into(),
        Ended::ByPeer => "the relay has closed the tunnel".into(),
        Ended::Failed(why) => why,
    }
}

/// A number between 0 and 1.
fn chance(server: &Server) -> f64 {
    f64::from(u32::from_be_bytes(server.random())) / f64::from(u32::MAX)
}

/// A relay that is being asked; it is silent from when whoever asks gives up.
struct Waiting<'a> {
    silent: &'a RefCell<BTreeSet<String>>,
    relay: Option<&'a str>,
}

impl<'a> Waiting<'a> {
    fn begin(silent: &'a RefCell<BTreeSet<String>>, relay: &'a str) -> Self {
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

/// Whether the answer is the destination's own, as far as that matters: what a relay makes up of a transaction would have this
/// server believe that events were delivered, or that they never will be. Only those sign whose name is made of their key.
fn is_own(to: &Destination, request: &Request, response: &Response) -> bool {
    if public_key_of(&to.name).is_none() || !request.path.starts_with("/_matrix/federation/v1/send/") {
        return true;
    }
    let asker = request.header("authorization").and_then(|header| Authorization::parse(header).ok());
    let (Some(asker), Some(signature), Body::Bytes(body)) = (asker, response.headers.get(path::ANSWER_HEADER), &response.body) else {
        return false;
    };
    let (uri, asker, answerer) = (&request.target(), &asker.origin, &to.name);
    SignedAnswer { uri, asker, answerer, status: response.status, body }.is_signed(signature)
}

/// What a relay's answer says of the request.
fn said(to: &Destination, request: &Request, response: Response) -> Said {
    match Outcome::parse(response.headers.get(path::OUTCOME_HEADER).map(String::as_str)) {
        Outcome::Answered | Outcome::Deposit if !is_own(to, request, &response) => {
            Said::Refused("the answer is not signed by its server".into())
        }
        Outcome::Answered | Outcome::Deposit => Said::Answered(response),
        Outcome::Stored => Said::Stored(response.headers.get(path::RELAYS_HEADER).cloned()),
        Outcome::Refused => Said::Refused(match read(response) {
            Ok(_) => "the relay does not say what became of the request".into(),
            Err(error) => error.to_string(),
        }),
    }
}
