//! One tunnel: many requests at a time, in both directions, over any byte stream.
//!
//! Each request is a stream of its own in a yamux connection, with credits: who reads slowly is sent little, and nothing is buffered
//! without end. [`start`] gives a handle for requests, and a future that moves the bytes and answers the peer's requests as long as it
//! is polled.

mod exchange;
mod slots;

use std::{
    future::{Future, poll_fn},
    io,
    task::{Context, Poll},
};

use futures_channel::{mpsc, oneshot};
use futures_util::{AsyncRead, AsyncWrite, StreamExt, stream::FuturesUnordered};
use thiserror::Error;
use yamux::{Config, Connection, Mode};

use crate::message::{Body, Incoming, Request, Response};
pub use exchange::Half;
use exchange::serve;
use slots::{Slot, Slots};

/// How many requests of ours are under way at a time; more wait for their turn.
pub const MAX_OPEN: usize = 32;

/// How many of the peer's requests are answered at a time. More than it may open, since it can give one up before we notice; what comes
/// beyond is reset.
pub const MAX_SERVED: usize = 64;

/// How many requests wait for their turn; more are refused at once.
pub const MAX_WAITING: usize = 256;

/// Streams of both sides, and as many again that are about to end: beyond it the connection is cut.
const MAX_STREAMS: usize = 2 * (MAX_OPEN + MAX_SERVED);

/// What yamux grants each stream at the start. We let it grow no further, so that a tunnel holds `MAX_STREAMS` times this at most, and
/// in practice [`MAX_SERVED`] times.
const WINDOW: usize = yamux::DEFAULT_CREDIT as usize;

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that dialled.
    Node,
    /// The end that was dialled.
    Relay,
}

/// Why a request got no answer. The request may have been served nevertheless.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// The tunnel has ended.
    #[error("the tunnel is closed")]
    Closed,
    /// Too many requests are waiting.
    #[error("too many requests are waiting for this tunnel")]
    Busy,
    /// The request's own body failed; the peer sees that it is cut off.
    #[error("the request's body failed: {0}")]
    Body(io::Error),
    /// The peer ended the exchange, or did not keep to its form.
    #[error("the peer did not answer: {0}")]
    Peer(io::Error),
}

/// How a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By [`Tunnel::close`].
    Here,
    /// The peer closed it.
    ByPeer,
    /// The connection failed, or the peer sent what is no frame.
    Failed(String),
}

/// A handle to a tunnel; clones are the same tunnel. It lives as long as its driver, whether or not handles do.
#[derive(Clone, Debug)]
pub struct Tunnel {
    openings: mpsc::UnboundedSender<Opening>,
    slots: Slots,
}

/// Where the driver puts a stream that was asked for. How many may wait is for [`Slots`] to say.
type Opening = oneshot::Sender<(yamux::Stream, Slot)>;

/// A request's or a response's body as it comes out of a tunnel.
pub type TunnelBody = Incoming<Half>;

/// Starts a tunnel over `socket`. `handler` answers the peer's requests, concurrently, within the driver's task.
///
/// Nothing happens unless the driver is polled. Dropping it ends the tunnel abruptly; every request under way fails.
pub fn start<S, H, F, B>(socket: S, side: Side, handler: H) -> (Tunnel, impl Future<Output = Ended>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<TunnelBody>) -> F,
    F: Future<Output = Response<B>>,
    B: Body,
{
    let (sender, openings) = mpsc::unbounded();
    let slots = Slots::default();
    let connection = Connection::new(socket, config(), side.mode());
    let driver = drive(Driver { connection, openings, slots: slots.clone() }, handler);
    (Tunnel { openings: sender, slots }, driver)
}

impl Side {
    fn mode(self) -> Mode {
        match self {
            Self::Node => Mode::Client,
            Self::Relay => Mode::Server,
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(MAX_STREAMS).set_max_connection_receive_window(Some(MAX_STREAMS * WINDOW));
    config
}

impl Tunnel {
    /// Sends a request and waits for the head of its answer.
    ///
    /// The answer ends the request: what the peer has not read of its body by then is not sent any more.
    pub async fn request<B: Body>(&self, request: Request<B>) -> Result<Response<TunnelBody>, TunnelError> {
        let (stream, slot) = self.open().await?;
        exchange::exchange(stream, slot, request).await
    }

    /// Ends the tunnel, once what was written is sent.
    pub fn close(&self) {
        self.slots.close();
    }

    /// Whether the driver has ended.
    pub fn is_closed(&self) -> bool {
        self.openings.is_closed()
    }

    /// Whether both are handles of one tunnel.
    pub fn is_same(&self, other: &Self) -> bool {
        self.openings.same_receiver(&other.openings)
    }

    async fn open(&self) -> Result<(yamux::Stream, Slot), TunnelError> {
        let (sender, receiver) = oneshot::channel();
        if !self.slots.enqueue() {
            return Err(TunnelError::Busy);
        }
        self.openings.unbounded_send(sender).map_err(|_| TunnelError::Closed)?;
        receiver.await.map_err(|_| TunnelError::Closed)
    }
}

/// What the driver holds.
struct Driver<S> {
    connection: Connection<S>,
    openings: mpsc::UnboundedReceiver<Opening>,
    slots: Slots,
}

async fn drive<S, H, F, B>(mut driver: Driver<S>, handler: H) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<TunnelBody>) -> F,
    F: Future<Output = Response<B>>,
    B: Body,
{
    let mut serving = FuturesUnordered::new();
    let ended = poll_fn(|cx| {
        driver.slots.register(cx);
        loop {
            while let Poll::Ready(Some(())) = serving.poll_next_unpin(cx) {}
            match driver.poll(cx) {
                Poll::Ready(Step::Inbound(stream)) if serving.len() < MAX_SERVED => serving.push(serve(stream, &handler)),
                // Dropping a stream resets it.
                Poll::Ready(Step::Inbound(_) | Step::Outbound) => {}
                Poll::Ready(Step::End(ended)) => return Poll::Ready(ended),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if ended == Ended::Here {
        // Its failure changes nothing: the tunnel ends here either way.
        let _ = poll_fn(|cx| driver.connection.poll_close(cx)).await;
    }
    ended
}

/// What the driver has come to.
enum Step {
    Inbound(yamux::Stream),
    Outbound,
    End(Ended),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.slots.is_closing() {
            return Poll::Ready(Step::End(Ended::Here));
        }
        match self.connection.poll_next_inbound(cx) {
            Poll::Ready(Some(Ok(stream))) => Poll::Ready(Step::Inbound(stream)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Step::End(Ended::Failed(error.to_string()))),
            Poll::Ready(None) => Poll::Ready(Step::End(Ended::ByPeer)),
            Poll::Pending => self.poll_opening(cx),
        }
    }

    /// Opens the next stream that is asked for, when there is a slot for it.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if !self.slots.is_free() {
            return Poll::Pending;
        }
        // Without handles the tunnel still serves.
        let Poll::Ready(Some(opening)) = self.openings.poll_next_unpin(cx) else { return Poll::Pending };
        self.slots.dequeue();
        if opening.is_canceled() {
            return Poll::Ready(Step::Outbound);
        }
        match self.connection.poll_new_outbound(cx) {
            Poll::Ready(Ok(stream)) => {
                // Who gave up just now drops stream and slot.
                let _ = opening.send((stream, self.slots.take()));
                Poll::Ready(Step::Outbound)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Step::End(Ended::Failed(error.to_string()))),
            // yamux waits when eight times our slots are not acknowledged: the peer is no longer there, and who asked hears so.
            Poll::Pending => Poll::Ready(Step::Outbound),
        }
    }
}

#[cfg(test)]
mod tests;
