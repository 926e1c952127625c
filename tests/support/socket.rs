//! WebSockets in memory, for nodes that dial relays which a test plays.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_channel::mpsc;
use futures_util::{Sink, SinkExt, Stream, StreamExt, future::ready};
use inglenook::{
    identity::Identity,
    relays::{Message, SUPERSEDED},
};
use inglenook_protocol::{
    handshake::{Challenge, Welcome},
    limits::{AddressLimits, Limits, Quota, Software},
};
use ruma::OwnedServerName;
use serde_json::json;

/// One end of a socket.
pub(crate) struct End {
    incoming: mpsc::UnboundedReceiver<io::Result<Message>>,
    outgoing: mpsc::UnboundedSender<io::Result<Message>>,
}

/// Both ends of a socket.
pub(crate) fn socket() -> (End, End) {
    let (to_relay, at_relay) = mpsc::unbounded();
    let (to_node, at_node) = mpsc::unbounded();
    (End { incoming: at_node, outgoing: to_relay }, End { incoming: at_relay, outgoing: to_node })
}

impl Stream for End {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_next_unpin(context)
    }
}

impl Sink<Message> for End {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.outgoing.unbounded_send(Ok(message)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

impl End {
    /// Closes the socket as a relay does when another holder of the key has attached.
    pub(crate) fn supersede(&self) -> impl FnOnce() + use<> {
        let outgoing = self.outgoing.clone();
        move || outgoing.unbounded_send(Err(SUPERSEDED.into())).unwrap()
    }

    /// Lets in the node at the other end as a relay does that these hosts lead to; its name, if it says who it is.
    pub(crate) async fn admit(&mut self, relay: &Identity, now: u64, is_own: impl Fn(&str) -> bool) -> Option<OwnedServerName> {
        let challenge = Challenge::new(relay.server_name().to_owned(), [7; 32], now);
        self.send(Message::Text(json!(challenge).to_string())).await.unwrap();
        let Some(Ok(Message::Text(proof))) = self.next().await else { return None };
        let node = challenge.check(&serde_json::from_str(&proof).unwrap(), now, is_own).unwrap();
        let verdict = Welcome::sign(&challenge, &node, limits(), false, relay).unwrap();
        self.send(Message::Text(json!(verdict).to_string())).await.unwrap();
        Some(node)
    }

    /// The binary messages, which carry a tunnel.
    pub(crate) fn frames(self) -> impl Stream<Item = io::Result<Vec<u8>>> + Sink<Vec<u8>, Error = io::Error> + Unpin {
        self.with(|bytes| ready(Ok(Message::Bytes(bytes)))).map(|message| match message? {
            Message::Bytes(bytes) => Ok(bytes),
            Message::Text(_) => Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// For how long a relay of the tests keeps mail.
pub(crate) const RETENTION: u64 = 24 * 3_600_000;

fn limits() -> Limits {
    let (software, quota) = (Software { name: "relay".into(), version: "1".into() }, Quota { entries: 1, bytes: 1 });
    Limits {
        software,
        gateway: None,
        allow_list: false,
        max_body: 1,
        max_stored_body: 1,
        mailbox: quota,
        origin: quota,
        retention_ms: RETENTION,
        max_deposit: 1,
        request_timeout_ms: 1,
        address: AddressLimits::default(),
        node_requests_per_minute: 0,
        node_outside_per_minute: 0,
    }
}
