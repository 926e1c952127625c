//! What the relays' transport asks of its host: WebSockets, and requests to relays that this server is not attached to.

use std::io;

use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    future::{LocalBoxFuture, ready},
};

use crate::http::Pieces;

/// A message of a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

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

/// A socket's binary messages, once its text messages have said who is there.
pub(super) fn binary(socket: Box<dyn Socket>) -> impl Stream<Item = io::Result<Vec<u8>>> + Sink<Vec<u8>, Error = io::Error> + Unpin {
    socket.with(|bytes| ready(Ok(Message::Bytes(bytes)))).map(|message| match message? {
        Message::Bytes(bytes) => Ok(bytes),
        Message::Text(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a text message in a tunnel")),
    })
}
