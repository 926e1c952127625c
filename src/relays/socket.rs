//! What the relays' transport asks of its host: WebSockets, and requests to relays that this server is not attached to.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream, future::LocalBoxFuture};

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
pub(super) struct Binary(pub(super) Box<dyn Socket>);

impl Stream for Binary {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_next(context)) {
            Some(Ok(Message::Bytes(bytes))) => Some(Ok(bytes)),
            Some(Ok(Message::Text(_))) => Some(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message in a tunnel"))),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }
}

impl Sink<Vec<u8>> for Binary {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, bytes: Vec<u8>) -> io::Result<()> {
        Pin::new(&mut self.0).start_send(Message::Bytes(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
