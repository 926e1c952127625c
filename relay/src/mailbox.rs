//! Handing over what waits: to a node that is attached, oldest first, one at a time, and what comes later at once.

use std::{io, time::Duration};

use inglenook_protocol::{
    message::{self, Headers, collect, read_request, whole},
    path::{MAILBOX_HEADER, ONLINE},
};
use ruma::ServerName;

use crate::{nodes::Attached, relay::Relay, store::Entry};

/// How long to wait before an entry is offered again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often an entry is offered before those behind it get their turn. It keeps its own.
const ATTEMPTS: u32 = 5;

/// What the node says of an entry.
enum Taken {
    /// It is durably in the node's own database.
    Yes,
    /// It may be taken another time.
    Later,
    /// The node will never take it.
    Never,
}

/// Where the hand-over stands.
struct Progress {
    /// Entries up to this number have had their turn for now.
    after: u64,
    attempts: u32,
    pause: Duration,
}

impl Progress {
    const START: Self = Self { after: 0, attempts: 0, pause: FIRST_PAUSE };

    fn advance(&mut self) {
        *self = Self { after: self.after, ..Self::START };
    }

    /// Notes a failed attempt, and how long to wait.
    fn fail(&mut self, id: u64) -> Duration {
        let pause = self.pause;
        self.attempts += 1;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        if self.attempts >= ATTEMPTS {
            *self = Self { after: id, ..Self::START };
        }
        pause
    }
}

/// Runs as long as the node is attached.
pub(crate) async fn hand_over(relay: &Relay, node: &ServerName, attached: &Attached) {
    let mut progress = Progress::START;
    while !attached.tunnel.is_closed() {
        match relay.store.next(node, progress.after).await {
            Ok(Some(entry)) => offer(relay, node, attached, entry, &mut progress).await,
            Ok(None) => {
                // What was put back is offered again after a while, whatever comes.
                let again = if progress.after > 0 { LONGEST_PAUSE } else { Duration::MAX };
                let _ = tokio::time::timeout(again, attached.mail.notified()).await;
                progress = Progress::START;
            }
            Err(error) => {
                tracing::error!(%node, %error, "a mailbox cannot be read");
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
        }
    }
}

async fn offer(relay: &Relay, node: &ServerName, attached: &Attached, entry: Entry, progress: &mut Progress) {
    let id = entry.id;
    let done = match hand(relay, attached, entry).await {
        Taken::Yes => {
            relay.metrics.handed_over.inc();
            relay.store.remove(node, id).await
        }
        Taken::Never => relay.store.skip(node, id).await,
        Taken::Later => {
            tokio::time::sleep(progress.fail(id)).await;
            return;
        }
    };
    match done {
        Ok(()) => progress.advance(),
        // It is offered again; the node knows it by its origin and transaction ID.
        Err(error) => {
            tracing::error!(%node, %error, "an entry cannot be removed");
            tokio::time::sleep(progress.fail(id)).await;
        }
    }
}

async fn hand(relay: &Relay, attached: &Attached, entry: Entry) -> Taken {
    let Ok(request) = stored_request(&entry).await else { return Taken::Never };
    let timeout = Duration::from_secs(relay.config.request_timeout);
    match tokio::time::timeout(timeout, attached.tunnel.request(request)).await {
        Ok(Ok(response)) => match response.status {
            200 => Taken::Yes,
            401 | 404 | 408 | 429 => Taken::Later,
            400..500 => Taken::Never,
            _ => Taken::Later,
        },
        _ => Taken::Later,
    }
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
