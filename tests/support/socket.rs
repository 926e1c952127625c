//! WebSockets in memory, for nodes that dial relays which a test plays.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_channel::mpsc;
use futures_util::{Sink, Stream, StreamExt};
use inglenook::relays::Message;

/// One end of a socket.
pub(crate) struct End {
    incoming: mpsc::UnboundedReceiver<Message>,
    outgoing: mpsc::UnboundedSender<Message>,
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
        self.incoming.poll_next_unpin(context).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for End {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.outgoing.unbounded_send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

/// A socket's binary messages, which carry a tunnel.
pub(crate) struct Frames(pub(crate) End);

impl Stream for Frames {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context).map(|message| match message? {
            Ok(Message::Bytes(bytes)) => Some(Ok(bytes)),
            Ok(Message::Text(_)) => Some(Err(io::ErrorKind::InvalidData.into())),
            Err(error) => Some(Err(error)),
        })
    }
}

impl Sink<Vec<u8>> for Frames {
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
