//! Handing over what waits: to a node that is attached, each sender's oldest first, and what comes later at once.
//!
//! Senders take turns. What the node does not take now puts its sender aside for a while, and never holds up another's mail.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use inglenook_protocol::{
    message::{self, Body, Headers, collect, read_request, whole},
    path::{MAILBOX_HEADER, ONLINE},
};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{
    aside::Aside,
    nodes::Attached,
    relay::{BEFORE_STORING, Relay},
    store::{Entry, StoreError},
};

/// Of how many senders a request is under way at a time, so that one whose request takes long holds up none of the others. A tunnel carries
/// eight times as many.
const LANES: usize = 4;

/// How long to wait before a mailbox that cannot be read is tried again.
const WHEN_UNREADABLE: Duration = Duration::from_secs(60);

/// Of an error, which is a line.
const MAX_ERROR: usize = 16 * 1024;

/// What the node says of an entry.
enum Taken {
    /// It is durably in the node's own database.
    Yes,
    /// It may be taken another time.
    Later,
    /// The node will never take it.
    Never,
}

/// Whose turn it is.
struct Turns<'a> {
    relay: &'a Relay,
    node: &'a ServerName,
    aside: Arc<Aside>,
    /// Whose turn it was.
    last: String,
    /// Of whom a request is under way.
    busy: BTreeSet<OwnedServerName>,
    /// Whether it was somebody's who was aside.
    was_aside: bool,
}

/// Runs as long as the node is attached.
pub(crate) async fn hand_over(relay: &Relay, node: &ServerName, attached: &Attached) {
    let aside = relay.nodes.aside(node);
    let mut turns = Turns { relay, node, aside: Arc::clone(&aside), last: String::new(), busy: BTreeSet::new(), was_aside: false };
    let mut lanes = FuturesUnordered::new();
    while !attached.tunnel.is_closed() {
        let is_free = lanes.len() < LANES;
        let next = if is_free { turns.next().await } else { Ok(None) };
        let again = match next {
            Ok(Some(entry)) => {
                turns.busy.insert(entry.origin.clone());
                lanes.push(offer(relay, node, attached, &aside, entry));
                continue;
            }
            Ok(None) => aside.next(&turns.busy).map(|(until, _)| until),
            Err(error) => {
                tracing::error!(%node, %error, "a mailbox cannot be read");
                Some(Instant::now() + WHEN_UNREADABLE)
            }
        };
        tokio::select! {
            Some(origin) = lanes.next(), if !lanes.is_empty() => drop(turns.busy.remove(&origin)),
            () = attached.mail.notified(), if is_free => {}
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if is_free && again.is_some() => {}
        }
    }
}

impl Turns<'_> {
    /// The next request to hand over. Those who were aside, and whose time has come, and all others alternate.
    async fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        for is_aside in [!self.was_aside, self.was_aside] {
            let entry = if is_aside { self.of_who_was_aside().await? } else { self.in_turn().await? };
            if entry.is_some() {
                self.was_aside = is_aside;
                return Ok(entry);
            }
        }
        Ok(None)
    }

    async fn in_turn(&mut self) -> Result<Option<Entry>, StoreError> {
        let mut but_not = self.aside.origins();
        but_not.extend(self.busy.iter().cloned());
        let entry = self.relay.store.turn(self.node, &self.last, but_not).await?;
        if let Some(entry) = &entry {
            self.last = entry.origin.to_string();
        }
        Ok(entry)
    }

    async fn of_who_was_aside(&self) -> Result<Option<Entry>, StoreError> {
        while let Some((_, origin)) = self.aside.next(&self.busy).filter(|(until, _)| *until <= Instant::now()) {
            match self.relay.store.first(self.node, &origin).await? {
                Some(entry) => return Ok(Some(entry)),
                // It has expired.
                None => self.aside.forget(&origin),
            }
        }
        Ok(None)
    }
}

/// Offers an entry to the node, and says whose it was.
async fn offer(relay: &Relay, node: &ServerName, attached: &Attached, aside: &Aside, entry: Entry) -> OwnedServerName {
    let (id, origin) = (entry.id, entry.origin.clone());
    let patience = aside.patience(&origin, BEFORE_STORING).min(Duration::from_secs(relay.config.request_timeout));
    let taken = tokio::time::timeout(patience, hand(attached, &entry)).await.unwrap_or(Taken::Later);
    if matches!(taken, Taken::Yes) {
        relay.metrics.handed_over.inc();
    }
    let is_gone = match taken {
        // A tunnel that has ended says nothing of the entry.
        Taken::Later if attached.tunnel.is_closed() => return origin,
        Taken::Later => false,
        Taken::Yes | Taken::Never => remove(relay, node, id).await,
    };
    if is_gone {
        aside.forget(&origin)
    } else {
        aside.fail(&origin, Instant::now())
    }
    origin
}

/// What cannot be removed is offered again; the node knows it by its origin and transaction ID.
async fn remove(relay: &Relay, node: &ServerName, id: u64) -> bool {
    let removed = relay.store.remove(node, id).await;
    removed.inspect_err(|error| tracing::error!(%node, %error, "an entry cannot be removed")).is_ok()
}

async fn hand(attached: &Attached, entry: &Entry) -> Taken {
    let Ok(request) = stored_request(entry).await else { return Taken::Never };
    let Ok(response) = attached.tunnel.request(request).await else { return Taken::Later };
    match response.status {
        200 => Taken::Yes,
        404 => {
            if is_unrecognized(response.body).await {
                Taken::Never
            } else {
                Taken::Later
            }
        }
        401 | 408 | 429 => Taken::Later,
        400..500 => Taken::Never,
        _ => Taken::Later,
    }
}

/// Whether an error says that the node has no such endpoint, so that it will not have it later either.
async fn is_unrecognized(error: impl Body) -> bool {
    #[derive(Deserialize)]
    struct Error {
        errcode: String,
    }
    let body = collect(error, MAX_ERROR).await.unwrap_or_default();
    serde_json::from_slice::<Error>(&body).is_ok_and(|error| error.errcode == "M_UNRECOGNIZED")
}

async fn stored_request(entry: &Entry) -> io::Result<message::Request<message::Whole>> {
    let mut request = read_request(entry.request.as_slice()).await?;
    request.headers.push(MAILBOX_HEADER, entry.id.to_string());
    let message::Request { method, authority, uri, headers, body } = request;
    Ok(message::Request { method, authority, uri, headers, body: whole(collect(body, usize::MAX).await?) })
}

/// Tells those who have sent something to `node` while it was away that it is there.
pub(crate) async fn tell(relay: &Relay, node: &ServerName) {
    for sender in relay.nodes.take_expecting(node) {
        let Some(attached) = relay.nodes.attached(&sender) else { continue };
        let notice = message::Request {
            method: "PUT".into(),
            authority: sender.to_string(),
            uri: format!("{ONLINE}{node}"),
            headers: Headers::default(),
            body: whole(""),
        };
        let timeout = Duration::from_secs(relay.config.request_timeout);
        tokio::spawn(async move {
            // Who does not hear it tries again by itself.
            let _ = tokio::time::timeout(timeout, attached.tunnel.request(notice)).await;
        });
    }
}
