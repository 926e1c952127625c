//! A byte stream over a socket that carries messages, as a WebSocket does.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{AsyncRead, AsyncWrite, Sink, Stream};

/// What is gathered into one message: two of the multiplexer's frames, so that neither side holds much of it.
const MESSAGE: usize = 32 * 1024;

/// Where messages come from and go to: a WebSocket's binary ones, once the handshake is over.
///
/// `poll_ready` has to wait while the socket's own buffer is full (a browser's `bufferedAmount`): it is all that keeps memory bounded.
pub trait Messages: Stream<Item = io::Result<Vec<u8>>> + Sink<Vec<u8>, Error = io::Error> + Unpin {}

impl<S: Stream<Item = io::Result<Vec<u8>>> + Sink<Vec<u8>, Error = io::Error> + Unpin> Messages for S {}

/// The byte stream.
#[derive(Debug)]
pub struct ByteSocket<S> {
    messages: S,
    received: Vec<u8>,
    taken: usize,
    gathered: Vec<u8>,
}

impl<S: Messages> ByteSocket<S> {
    /// Takes over a socket whose handshake is done.
    pub fn new(messages: S) -> Self {
        Self { messages, received: Vec::new(), taken: 0, gathered: Vec::new() }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            ready!(Pin::new(&mut self.messages).poll_ready(cx))?;
            let message = mem::take(&mut self.gathered);
            Pin::new(&mut self.messages).start_send(message)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Messages> AsyncRead for ByteSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.taken == self.received.len() {
            match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
                Some(message) => self.received = message?,
                None => return Poll::Ready(Ok(0)),
            }
            self.taken = 0;
        }
        let waiting = self.received.get(self.taken..).unwrap_or_default();
        let count = waiting.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(waiting) {
            *place = *byte;
        }
        self.taken += count;
        if self.taken == self.received.len() {
            // An idle socket holds no memory.
            self.received = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: Messages> AsyncWrite for ByteSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= MESSAGE {
            ready!(self.poll_send(cx))?;
        }
        let count = buffer.len().min(MESSAGE - self.gathered.len());
        self.gathered.extend(buffer.iter().take(count));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.messages).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.messages).poll_close(cx)
    }
}

#[cfg(test)]
pub(crate) mod tests;
