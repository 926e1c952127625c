//! A node's WebSocket: the handshake, and from then on messages of bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use inglenook_protocol::{
    handshake::{CLOSE_REFUSED, CLOSE_SUPERSEDED, Challenge, Refusal, Verdict, Welcome},
    socket::ByteSocket,
    tunnel::{self, Ended, Side},
};
use ruma::{OwnedServerName, ServerName};
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{
    address::Address,
    identity::random,
    mailbox,
    nodes::{Attached, Farewell, Reason},
    relay::{Caller, Relay},
    reply::{SPACE, boxed},
    store::StoreError,
};

/// How long each message of the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a silent node is asked whether it is there. A browser answers by itself; what lies between often cuts after a minute.
const PING: Duration = Duration::from_secs(30);
/// After which time without any word it is not there.
const SILENCE: Duration = Duration::from_secs(75);
/// How long a tunnel may take to end in order.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a node's socket until it ends.
pub(crate) async fn serve(relay: Arc<Relay>, mut socket: WebSocket, local_host: String, from: Option<Address>) {
    match greet(&relay, &mut socket, &local_host, from).await {
        Ok((node, challenge)) => attach(relay, socket, (node, from), &challenge).await,
        Err(refusal) => {
            relay.metrics.refused.inc();
            tracing::info!(%refusal, "a node was refused");
            let frame = CloseFrame { code: CLOSE_REFUSED, reason: refusal.errcode.clone().into() };
            let _ = send(&mut socket, &Verdict::Refused(refusal)).await;
            let _ = tokio::time::timeout(HANDSHAKE, socket.send(Message::Close(Some(frame)))).await;
        }
    }
}

/// Finds out who the node is, and whether it may be here.
async fn greet(
    relay: &Relay,
    socket: &mut WebSocket,
    local_host: &str,
    from: Option<Address>,
) -> Result<(OwnedServerName, Challenge), Refusal> {
    let nonce = random().map_err(|error| Refusal { errcode: "M_UNKNOWN".into(), error: error.to_string() })?;
    let challenge = Challenge::new(relay.identity.name().clone(), nonce, relay.clock.now());
    send(socket, &challenge).await.map_err(|error| Refusal::unauthorized(error.to_string()))?;
    let answer = tokio::time::timeout(HANDSHAKE, socket.next()).await.map_err(|_| Refusal::unauthorized("There was no answer."))?;
    let Some(Ok(Message::Text(answer))) = answer else { return Err(Refusal::unauthorized("There was no answer.")) };
    let answer = serde_json::from_str(&answer).map_err(|error| Refusal::unauthorized(format!("The answer is none: {error}.")))?;
    let is_own = |host: &str| host == local_host || relay.is_own_host(host);
    let node = challenge.check(&answer, relay.clock.now(), is_own)?;
    if !relay.config.allow.is_empty() && !relay.config.allow.contains(&node) {
        return Err(Refusal { errcode: "M_FORBIDDEN".into(), error: "This relay serves listed nodes only.".into() });
    }
    if relay.nodes.count() >= relay.config.max_tunnels {
        return Err(Refusal { errcode: "M_LIMIT_EXCEEDED".into(), error: "This relay is full.".into() });
    }
    see(relay, &node, from).await?;
    Ok((node, challenge))
}

/// Notes that the node is served here.
async fn see(relay: &Relay, node: &ServerName, from: Option<Address>) -> Result<(), Refusal> {
    let seen = relay.store.see(node, relay.clock.now(), from).await;
    seen.map_err(|error| {
        if matches!(error, StoreError::Full(_)) {
            relay.metrics.limited(SPACE);
        }
        Refusal { errcode: "M_LIMIT_EXCEEDED".into(), error: error.to_string() }
    })
}

async fn send(socket: &mut WebSocket, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(message)?;
    tokio::time::timeout(HANDSHAKE, socket.send(Message::text(text))).await?.map_err(io::Error::other)
}

/// Opens the tunnel, and serves it until it ends.
async fn attach(relay: Arc<Relay>, mut socket: WebSocket, (node, from): (OwnedServerName, Option<Address>), challenge: &Challenge) {
    let replaced = relay.nodes.attached(&node).is_some();
    let welcome = Welcome::sign(challenge, &node, relay.config.limits(), replaced, &relay.identity);
    let Ok(welcome) = welcome else { return };
    if send(&mut socket, &welcome).await.is_err() {
        return;
    }
    let farewell = Arc::default();
    let messages = ByteSocket::new(Messages::new(socket, Arc::clone(&farewell)));
    let (handler_relay, caller) = (relay.clone(), Caller::Node(node.clone(), from));
    let (tunnel, driver) = tunnel::start(messages, Side::Relay, move |request| {
        let (relay, caller) = (handler_relay.clone(), caller.clone());
        async move { relay.answer(request.map_body(boxed), caller).await }
    });
    let attached = Attached::new(tunnel, farewell);
    if let Some(older) = relay.nodes.attach(node.clone(), attached.clone()) {
        relay.metrics.superseded.inc();
        older.close(Reason { code: CLOSE_SUPERSEDED, text: "another holder of this key has attached" });
    }
    relay.metrics.attached.inc();
    tracing::info!(%node, replaced, "a node has attached");
    let ended = run(&relay, &node, &attached, driver).await;
    relay.nodes.detach(&node, &attached);
    tracing::info!(%node, ?ended, "a tunnel has ended");
    // Until when mail is kept counts from here.
    let _ = see(&relay, &node, from).await;
}

/// Runs the tunnel, and beside it what the node is to be handed.
async fn run(relay: &Relay, node: &ServerName, attached: &Attached, driver: impl Future<Output = Ended>) -> Ended {
    let farewell = async {
        attached.closing.notified().await;
        tokio::time::sleep(FAREWELL).await;
    };
    let deliver = async {
        mailbox::tell(relay, node).await;
        if let Err(error) = relay.expire().await {
            tracing::error!(%error, "the store failed");
        }
        mailbox::hand_over(relay, node, attached).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = driver => ended,
        () = farewell => Ended::Here,
        () = deliver => Ended::Here,
    }
}

/// A WebSocket's binary messages. It also makes sure that the other end is there, and says why it closes.
struct Messages {
    socket: WebSocket,
    farewell: Arc<Farewell>,
    ping: Interval,
    heard: Instant,
}

impl Messages {
    fn new(socket: WebSocket, farewell: Arc<Farewell>) -> Self {
        let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, farewell, ping, heard: Instant::now() }
    }

    /// Asks whether the node is there, now and then. What cannot be written now is not waited for: then there is no silence either.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.ping.poll_tick(cx).is_ready() {
            if self.heard.elapsed() > SILENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let Poll::Ready(ready) = self.socket.poll_ready_unpin(cx) {
                ready.map_err(io::Error::other)?;
                self.socket.start_send_unpin(Message::Ping(Vec::new().into())).map_err(io::Error::other)?;
                let _ = self.socket.poll_flush_unpin(cx).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

impl Messages {
    /// Closes the socket when it is told to. The node answers with a close frame of its own, and that ends the tunnel.
    ///
    /// The multiplexer's own farewell would come first and tell no reason.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(Reason { code, text }) = self.farewell.poll(cx) {
            let frame = CloseFrame { code, reason: text.into() };
            // Where there is no room for a frame, nobody reads: the tunnel is cut a little later.
            if let Poll::Ready(Ok(())) = self.socket.poll_ready_unpin(cx) {
                self.socket.start_send_unpin(Message::Close(Some(frame))).map_err(io::Error::other)?;
                let _ = self.socket.poll_flush_unpin(cx).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

impl Stream for Messages {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_ping(cx)?;
        self.poll_farewell(cx)?;
        loop {
            let message = ready!(self.socket.poll_next_unpin(cx));
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Some(Ok(bytes.into()))),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_))) => return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into()))),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            }
        }
    }
}

impl Sink<Vec<u8>> for Messages {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Vec<u8>) -> io::Result<()> {
        self.socket.start_send_unpin(Message::Binary(message.into())).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(cx).map_err(io::Error::other)
    }
}
