//! A pair of sockets in memory, and what the byte stream over them does.
#![allow(clippy::unwrap_used)]

use futures_channel::mpsc;
use futures_executor::block_on;
use futures_util::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};

use super::*;

/// One end of a connection in memory.
pub(crate) struct End {
    incoming: mpsc::Receiver<Vec<u8>>,
    outgoing: mpsc::Sender<Vec<u8>>,
}

/// Two ends, with room for one message in each direction.
pub(crate) fn pair() -> (End, End) {
    let (here, there) = (mpsc::channel(0), mpsc::channel(0));
    (End { incoming: here.1, outgoing: there.0 }, End { incoming: there.1, outgoing: here.0 })
}

impl Stream for End {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_next_unpin(cx).map(|message| message.map(Ok))
    }
}

impl Sink<Vec<u8>> for End {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Vec<u8>) -> io::Result<()> {
        self.outgoing.start_send_unpin(message).map_err(io::Error::other)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

#[test]
fn bytes_arrive_in_order_whatever_the_messages() {
    let (here, there) = pair();
    let sent: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let (mut here, mut there) = (ByteSocket::new(here), ByteSocket::new(there));
    let mut received = Vec::new();
    block_on(async {
        let write = async {
            here.write_all(&sent).await.unwrap();
            here.close().await.unwrap();
        };
        futures_util::future::join(write, there.read_to_end(&mut received)).await.1.unwrap();
    });
    assert_eq!(received, sent);
}

#[test]
fn what_is_not_flushed_yet_is_one_message() {
    let (here, mut there) = pair();
    let mut here = ByteSocket::new(here);
    block_on(async {
        here.write_all(b"a frame's head").await.unwrap();
        here.write_all(b" and its body").await.unwrap();
        here.flush().await.unwrap();
        assert_eq!(there.next().await.unwrap().unwrap(), b"a frame's head and its body");
    });
}

#[test]
fn empty_messages_are_no_end() {
    let (mut here, there) = pair();
    let mut there = ByteSocket::new(there);
    let mut received = [0; 2];
    block_on(async {
        let send = async {
            for message in [vec![], vec![1], vec![], vec![2]] {
                here.send(message).await.unwrap();
            }
        };
        futures_util::future::join(send, there.read_exact(&mut received)).await.1.unwrap();
    });
    assert_eq!(received, [1, 2]);
}
