//! The relay itself: where a request goes, and what is answered when it can go nowhere.

use std::{io, sync::Arc, time::Duration};

use inglenook_protocol::{
    key_name::public_key_of,
    message::{Headers, collect, whole, write_request},
    node_record::{MAX_RELAYS, host_of},
    path::{MAILBOX_HEADER, OUTCOME_HEADER, Outcome, RECORD_HEADER, RELAYS_HEADER},
    tunnel::MAX_OPEN,
};
use ruma::{OwnedServerName, ServerName};

use crate::{
    address::Address,
    callers::Callers,
    clock::Clock,
    config::{Config, MAX_STORED_BODY},
    content::Transaction,
    deposit,
    forward::Forwarder,
    gateway::Gateway,
    identity::Identity,
    metrics::Metrics,
    nodes::{Attached, Nodes},
    origin::{self, WholeRequest},
    own,
    pipe::{beside, paced},
    places::Places,
    reply::{Answer, Refused, Request, Response, boxed, json, with_outcome},
    store::{Appended, Content, NewEntry, Store, StoreError},
    target::{Target, is_federation, mailbox_key},
};

/// How long a sender may take for a body that has to be read as a whole.
const SLOWEST_UPLOAD: Duration = Duration::from_secs(30);

/// How long a node may take for what could as well wait: its sender's own patience, a minute with most, must not end first.
pub(crate) const BEFORE_STORING: Duration = Duration::from_secs(20);

/// How many requests of one caller a node has under way at a time: whoever is slow to ask, or to read the answer, holds so many of the node's
/// streams and no more.
pub(crate) const SHARE_OF_NODE: usize = MAX_OPEN / 4;

/// A relay, as its parts see it.
pub(crate) struct Relay {
    /// What the operator has set.
    pub(crate) config: Config,
    /// The relay's key and name.
    pub(crate) identity: Identity,
    /// The time.
    pub(crate) clock: Clock,
    /// Mailboxes and documents.
    pub(crate) store: Arc<dyn Store>,
    /// Who is attached.
    pub(crate) nodes: Nodes,
    /// The domain of ordinary names, where this relay is a gateway.
    pub(crate) gateway: Option<Gateway>,
    /// The way to other relays.
    pub(crate) forwarder: Forwarder,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Hosts that lead here, as URLs name them.
    pub(crate) hosts: Vec<String>,
    /// What callers may take.
    pub(crate) callers: Arc<Callers>,
    /// Of each caller at each node: [`SHARE_OF_NODE`].
    pub(crate) asking: Places<(OwnedServerName, Caller)>,
    /// Held while a node record is compared and replaced.
    pub(crate) records: tokio::sync::Mutex<()>,
}

/// Who hands over a request. What it is signed by is another matter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// An attached node, up its tunnel, which comes from there.
    Node(OwnedServerName, Option<Address>),
    /// Anybody, over HTTP, from an address that has limits or from within the operator's own network.
    Stranger(Option<Address>),
}

impl Caller {
    /// For whom what is kept of it counts.
    pub(crate) fn address(&self) -> Option<Address> {
        let (Self::Node(_, address) | Self::Stranger(address)) = self;
        *address
    }
}

impl Relay {
    /// Brings a request to where it belongs.
    pub(crate) async fn answer(&self, request: Request, caller: Caller) -> Response {
        // What was read of a request is in memory until it is answered.
        let (body, _held) = self.callers.counted(request.body);
        self.answer_counted(Request { body, ..request }, caller).await
    }

    /// The same for a request whose body the caller has counted.
    pub(crate) async fn answer_counted(&self, request: Request, caller: Caller) -> Response {
        let (authority, uri) = (request.authority.clone(), request.uri.clone());
        tracing::debug!(?caller, %authority, %uri, "a request");
        let response = self.route(request, caller).await.unwrap_or_else(|refused| self.refuse(refused));
        let outcome = Outcome::parse(response.headers.first(OUTCOME_HEADER));
        tracing::debug!(%authority, %uri, status = response.status, ?outcome, "answered");
        self.metrics.count(outcome);
        response
    }

    /// The answer where a request is refused.
    pub(crate) fn refuse(&self, refused: Refused) -> Response {
        if let Some(limit) = refused.limit {
            self.metrics.limited(limit);
        }
        refused.into()
    }

    async fn route(&self, mut request: Request, caller: Caller) -> Answer {
        if let Caller::Node(node, _) = &caller {
            self.callers.node(node).map_err(|wait| self.too_often("node", wait))?;
        }
        let relays = request.headers.first(RELAYS_HEADER).map(str::to_owned);
        // These are the relay's own words to a node.
        request.headers.remove(RELAYS_HEADER);
        request.headers.remove(MAILBOX_HEADER);
        if self.is_own(&request) {
            return own::answer(self, request, caller).await;
        }
        let destination = ServerName::parse(&request.authority).ok().filter(|name| name.as_str().len() <= origin::MAX_NAME);
        let destination = destination.ok_or_else(|| Refused::bad("The destination is no server name."))?;
        if !is_federation(&request.uri) {
            return Err(Refused::unrecognized());
        }
        let here = self.nodes.attached(&destination);
        match (here, &caller, relays.as_deref().map(urls)) {
            (Some(attached), ..) => self.live(attached, &destination, request, &caller).await,
            (None, Caller::Node(node, _), Some(urls)) => self.through(&urls, &destination, request, (node, &caller)).await,
            (None, Caller::Node(node, _), None) if self.is_outside(&destination).await? => self.outside(node, &destination, request).await,
            _ => self.absent(&destination, whole_body(request).await?, &caller).await,
        }
    }

    fn too_often(&self, limit: &'static str, wait: u64) -> Refused {
        self.metrics.limited(limit);
        Refused::too_often(wait)
    }

    /// Whether a node may send one more request to others than this relay and its nodes.
    fn may_go_out(&self, node: &OwnedServerName) -> Result<(), Refused> {
        self.callers.outside(node).map_err(|wait| self.too_often("outside", wait))
    }

    /// Whether a server can only be one that is found by its name, like an ordinary one.
    async fn is_outside(&self, destination: &ServerName) -> Result<bool, Refused> {
        let Some(gateway) = &self.gateway else { return Ok(false) };
        // A bare key leads nowhere.
        let is_found_by_name = destination.host().contains('.') || public_key_of(destination).is_none();
        Ok(is_found_by_name && !gateway.is_below(destination) && !self.serves(destination).await?)
    }

    /// Hands a node's request to an ordinary server.
    async fn outside(&self, node: &OwnedServerName, destination: &ServerName, request: Request) -> Answer {
        let gateway = self.gateway.as_ref().filter(|gateway| gateway.is_below(node));
        let gateway =
            gateway.ok_or_else(|| Refused::forbidden("Only nodes with a name below the gateway's domain reach ordinary servers."))?;
        self.may_go_out(node)?;
        self.metrics.gateway_out.inc();
        match gateway.ordinary.ask(destination, whole_body(request).await?).await {
            Ok(response) => {
                // Another gateway says whether its node was there; an ordinary server knows nothing of that.
                let is_node = public_key_of(destination).is_some();
                let outcome = Outcome::parse(response.headers.first(OUTCOME_HEADER));
                let outcome = if is_node && outcome == Outcome::Stored { outcome } else { Outcome::Answered };
                Ok(with_outcome(response.map_body(paced), outcome))
            }
            Err(error) => {
                self.metrics.gateway_failed.inc();
                Err(unreachable(destination.as_str(), &error))
            }
        }
    }

    /// Who has signed a request for a node.
    pub(crate) async fn origin(&self, request: &WholeRequest, node: &ServerName) -> Result<OwnedServerName, Refused> {
        let claim = origin::claim(request, node)?;
        let gateway = self.gateway.as_ref().filter(|gateway| gateway.is_below(node) && public_key_of(&claim.origin).is_none());
        let Some(gateway) = gateway else { return origin::verify(request, node) };
        let key = gateway.keys.key(&gateway.ordinary, &claim.origin, &claim.key).await;
        let key = key.ok_or_else(|| Refused::unauthorized(format!("{} has no key {:?} that can be had.", claim.origin, claim.key)))?;
        origin::prove(claim, request, node, key)
    }

    /// Whether a request is for the relay and not for a node.
    fn is_own(&self, request: &Request) -> bool {
        request.uri.starts_with("/_inglenook/relay/")
            || request.authority == self.identity.name().as_str()
            || self.is_own_host(&request.authority)
    }

    /// Whether a host, as it stands in a URL, leads here.
    pub(crate) fn is_own_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own == host)
    }

    /// Hands a request to the node, which is attached.
    async fn live(&self, attached: Attached, destination: &ServerName, request: Request, caller: &Caller) -> Answer {
        let target = Target::of(&request.method, &request.uri);
        if !target.is_storable() && matches!(caller, Caller::Node(..)) {
            return self.ask(&attached, destination, request, caller).await;
        }
        let request = whole_body(request).await?;
        if !target.is_storable() {
            return self.ask(&attached, destination, request.map_body(|body| boxed(whole(body))), caller).await;
        }
        // What came before it is still on its way: a sender's transactions keep their order.
        if self.waits_for_another(destination, &request).await? {
            return self.store(destination, &request, caller).await;
        }
        let answer = self.ask(&attached, destination, request.clone().map_body(|body| boxed(whole(body))), caller);
        match tokio::time::timeout(BEFORE_STORING, answer).await {
            Ok(Ok(response)) => Ok(response),
            _ => self.store(destination, &request, caller).await,
        }
    }

    async fn waits_for_another(&self, destination: &ServerName, request: &WholeRequest) -> Result<bool, Refused> {
        // It is proved when the request is stored.
        let Ok(claim) = origin::claim(request, destination) else { return Ok(false) };
        Ok(self.store.waiting(destination, &claim.origin).await? > 0)
    }

    async fn ask(&self, attached: &Attached, destination: &ServerName, request: Request, caller: &Caller) -> Answer {
        let timeout = Duration::from_secs(self.config.request_timeout);
        let asked = async {
            let place = match caller {
                // A proxy, or the operator's own network, is nobody in particular.
                Caller::Stranger(None) => None,
                _ => self.asking.take(&(destination.to_owned(), caller.clone())).await,
            };
            attached.tunnel.request(request).await.map(|response| response.map_body(|body| beside(paced(boxed(body)), place)))
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(response)) => Ok(with_outcome(response, Outcome::Answered)),
            Ok(Err(error)) => Err(Refused::unreachable(502, format!("The node does not answer: {error}."))),
            Err(_) => Err(Refused::unreachable(504, "The node does not answer in time.")),
        }
    }

    /// Hands a request to the relays where its destination can be found: the first that takes it.
    async fn through(
        &self,
        urls: &[&str],
        destination: &ServerName,
        request: Request,
        (node, caller): (&OwnedServerName, &Caller),
    ) -> Answer {
        let request = whole_body(request).await?;
        let mut refused = Refused::not_found("None of the destination's relays is known.");
        for url in urls {
            let Some(host) = host_of(url) else { continue };
            let answer = if self.is_own_host(&host) {
                self.absent(destination, request.clone(), caller).await
            } else {
                self.forward(url, &request, node).await
            };
            match answer {
                Ok(response)
                    if Outcome::parse(response.headers.first(OUTCOME_HEADER)) == Outcome::Refused && url != urls.last().unwrap_or(&"") => {}
                Ok(response) => return Ok(if self.is_own_host(&host) { response } else { naming(response, url) }),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Hands a request of a node to another relay.
    async fn forward(&self, url: &str, request: &WholeRequest, node: &OwnedServerName) -> Answer {
        self.may_go_out(node)?;
        self.metrics.forwarded.inc();
        self.forwarder.forward(url, request).await.map_err(|error| unreachable(url, &error))
    }

    /// Answers for a node that is not attached.
    async fn absent(&self, destination: &ServerName, request: WholeRequest, caller: &Caller) -> Answer {
        if !self.serves(destination).await? {
            return Err(Refused::not_found(format!("{destination} is not served here.")));
        }
        if Target::of(&request.method, &request.uri).is_storable() {
            return self.store(destination, &request, caller).await;
        }
        match deposit::answer(self, destination, &request).await? {
            Some(response) => Ok(with_outcome(response, Outcome::Deposit)),
            None => Err(Refused::unreachable(503, format!("{destination} is not attached."))),
        }
    }

    /// Whether a node's mail is kept here: it was attached within the retention time, or the operator lists it.
    pub(crate) async fn serves(&self, node: &ServerName) -> Result<bool, Refused> {
        if !self.config.allow.is_empty() {
            return Ok(self.config.allow.iter().any(|allowed| allowed == node));
        }
        let Some(seen) = self.store.seen(node).await? else { return Ok(false) };
        Ok(self.clock.now().saturating_sub(seen) < self.config.quotas().retention_ms)
    }

    /// Puts a transaction or an invitation into the destination's mailbox.
    async fn store(&self, destination: &ServerName, request: &WholeRequest, caller: &Caller) -> Answer {
        let origin = self.origin(request, destination).await?;
        let content = match Target::of(&request.method, &request.uri) {
            Target::Send(_) => {
                Transaction::read(&request.body).ok_or_else(|| Refused::bad("The body is no transaction, or a too large one."))?.content()
            }
            _ => Content::default(),
        };
        self.put(destination, origin, request, content, caller.address()).await?;
        if let Caller::Node(sender, _) = caller {
            self.nodes.expect(destination, sender);
        }
        Ok(with_outcome(json(202, &serde_json::json!({})), Outcome::Stored))
    }

    /// Removes what has expired, all of it.
    pub(crate) async fn expire(&self) -> Result<(), StoreError> {
        loop {
            match self.store.expire(self.clock.now()).await? {
                0 => return Ok(()),
                count => self.metrics.expired.inc_by(count),
            };
        }
    }

    /// Puts a request whose origin is known into a mailbox, and tells its owner. It counts for whoever has brought it.
    pub(crate) async fn put(
        &self,
        mailbox: &ServerName,
        origin: OwnedServerName,
        request: &WholeRequest,
        content: Content,
        from: Option<Address>,
    ) -> Result<Appended, Refused> {
        let key = mailbox_key(&request.method, &request.uri);
        let request = kept(request).await.map_err(|error| Refused::failed(format!("{error}.")))?;
        let entry = NewEntry { mailbox: mailbox.to_owned(), origin, key, request, content, received: self.clock.now(), from };
        let appended = self.store.append(entry).await?;
        if let Some(attached) = self.nodes.attached(mailbox) {
            attached.mail.notify_one();
        }
        Ok(appended)
    }
}

/// The request with the headers that matter to its receiver, byte for byte.
async fn kept(request: &WholeRequest) -> io::Result<Vec<u8>> {
    let kept = request.headers.iter().filter(|(name, _)| matches!(*name, "authorization" | "content-type" | RECORD_HEADER));
    let request = WholeRequest { headers: Headers::from_iter(kept), ..request.clone() };
    let mut message = Vec::new();
    write_request(&mut message, request.map_body(whole)).await.map_err(io::Error::other)?;
    Ok(message)
}

/// The answer of another relay, with its name where it keeps the request.
fn naming(mut response: Response, url: &str) -> Response {
    if Outcome::parse(response.headers.first(OUTCOME_HEADER)) == Outcome::Stored {
        response.headers.remove(RELAYS_HEADER);
        response.headers.push(RELAYS_HEADER, url);
    }
    response
}

fn urls(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|url| !url.is_empty()).take(MAX_RELAYS).collect()
}

/// Reads a request's body, which has a size and a time.
pub(crate) async fn whole_body(request: Request) -> Result<WholeRequest, Refused> {
    let Request { method, authority, uri, headers, body } = request;
    let body = tokio::time::timeout(SLOWEST_UPLOAD, collect(body, MAX_STORED_BODY)).await;
    let body = body.map_err(|_| Refused::new(408, "M_UNKNOWN", "The request takes too long."))?;
    let body = body.map_err(|error| match error.kind() {
        io::ErrorKind::OutOfMemory => Refused::busy(),
        io::ErrorKind::InvalidData => Refused::new(413, "M_TOO_LARGE", "The request is too large."),
        _ => Refused::bad(format!("The request is cut off: {error}.")),
    })?;
    Ok(WholeRequest { method, authority, uri, headers, body })
}

fn unreachable(url: &str, error: &io::Error) -> Refused {
    Refused::unreachable(502, format!("{url} cannot be reached: {error}."))
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(what) => Self::full(what),
            StoreError::Failed(why) => {
                tracing::error!(%why, "the store failed");
                Self::failed("The relay cannot store anything at the moment.")
            }
        }
    }
}
