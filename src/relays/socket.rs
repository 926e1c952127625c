//! What the relays' transport asks of its host: WebSockets, and requests to relays that this server is not attached to.

use std::{cell::Cell, io, rc::Rc};

use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    future::{LocalBoxFuture, ready},
};

use crate::{http::Pieces, signal::Signal};

/// A message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The kind of error by which a socket ends that the other end has closed with
/// [`CLOSE_SUPERSEDED`](inglenook_protocol::handshake::CLOSE_SUPERSEDED).
pub const SUPERSEDED: io::ErrorKind = io::ErrorKind::AddrInUse;

/// An open WebSocket. `poll_ready` waits while too much is unsent.
pub trait Socket: Stream<Item = io::Result<Message>> + Sink<Message, Error = io::Error> + Unpin {}

impl<S: Stream<Item = io::Result<Message>> + Sink<Message, Error = io::Error> + Unpin> Socket for S {}

/// The host's sockets.
pub trait Sockets {
    /// Opens a WebSocket.
    fn dial<'a>(&'a self, url: &'a str) -> LocalBoxFuture<'a, io::Result<Box<dyn Socket>>>;

    /// `POST`s bytes of a content type and returns the bytes of the answer as they come, whatever its status.
    fn post<'a>(&'a self, url: &'a str, content_type: &'a str, body: Vec<u8>) -> LocalBoxFuture<'a, io::Result<Pieces>>;
}

/// What shows of a socket beside its messages.
#[derive(Default)]
pub(super) struct Watched {
    /// Counts what has come.
    pub(super) heard: Signal,
    /// Whether another holder of this server's key has taken the tunnel.
    pub(super) is_superseded: Cell<bool>,
}

impl Watched {
    /// Whether the reader or the writer sees it first.
    fn note(&self, error: io::Error) -> io::Error {
        self.is_superseded.set(self.is_superseded.get() || error.kind() == SUPERSEDED);
        error
    }
}

/// A socket's binary messages, once its text messages have said who is there.
pub(super) fn binary(
    socket: Box<dyn Socket>,
    watched: &Rc<Watched>,
) -> impl Stream<Item = io::Result<Vec<u8>>> + Sink<Vec<u8>, Error = io::Error> + Unpin + use<> {
    let (watched, of_writer) = (Rc::clone(watched), Rc::clone(watched));
    let sending = socket.with(|bytes| ready(Ok(Message::Bytes(bytes)))).sink_map_err(move |error| of_writer.note(error));
    sending.map(move |message| match message {
        Ok(Message::Bytes(bytes)) => {
            watched.heard.raise();
            Ok(bytes)
        }
        Ok(Message::Text(_)) => Err(io::Error::new(io::ErrorKind::InvalidData, "a text message in a tunnel")),
        Err(error) => Err(watched.note(error)),
    })
}
