//! Bytes that one task writes and another reads, a few pieces at a time: between the protocol's writers and HTTP bodies.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_channel::mpsc;
use futures_util::{AsyncRead, AsyncWrite, SinkExt, StreamExt, TryStreamExt, stream};

use crate::reply::{Body, boxed};

/// How many pieces wait between writer and reader.
const PIECES: usize = 4;

/// How long a reader may leave a piece lying, or a writer its reader waiting. Whoever is slower holds up what others need: a tunnel's
/// slots.
const PATIENCE: Duration = Duration::from_secs(30);

/// The end that is written to.
pub(crate) struct Writer(mpsc::Sender<io::Result<Vec<u8>>>);

/// A pipe.
pub(crate) fn pipe() -> (Writer, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (Writer(sender), boxed(receiver))
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_ready(cx)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.0.start_send(Ok(buffer.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close_channel();
        Poll::Ready(Ok(()))
    }
}

/// The same body, let go of when its reader is too slow, and cut off for the reader.
pub(crate) fn paced(mut body: Body) -> Body {
    let (mut sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        while let Some(piece) = body.next().await {
            match tokio::time::timeout(PATIENCE, sender.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    // Going without a word would look like the body's end. A clone has room for one piece of its own.
                    let _ = sender.clone().try_send(Err(io::ErrorKind::TimedOut.into()));
                    return;
                }
            }
        }
    });
    boxed(receiver)
}

/// The same body, cut off for its reader when it is larger than that, or when its writer leaves the reader waiting.
pub(crate) fn limited(body: Body, limit: u64) -> Body {
    boxed(stream::try_unfold((body, limit), |(mut body, left)| async move {
        let Some(piece) = tokio::time::timeout(PATIENCE, body.next()).await?.transpose()? else { return Ok(None) };
        match left.checked_sub(piece.len() as u64) {
            Some(left) => Ok(Some((piece, (body, left)))),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the body is too large")),
        }
    }))
}

/// The same body, with something that is let go of when it is.
pub(crate) fn beside<T: Send + 'static>(body: Body, held: T) -> Body {
    boxed(body.inspect(move |_| {
        let _ = &held;
    }))
}

/// A body as the protocol's readers take it.
pub(crate) fn reader(body: Body) -> impl AsyncRead + Send + Unpin {
    body.into_async_read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_cut_off_where_it_is_too_large() {
        let read = async |limit| {
            let body = stream::iter([b"four".to_vec(), b"five".to_vec()].map(Ok));
            limited(boxed(body), limit).map(|piece| piece.map_err(|error| error.kind())).collect::<Vec<_>>().await
        };
        assert_eq!(read(8).await, [Ok(b"four".to_vec()), Ok(b"five".to_vec())]);
        assert_eq!(read(7).await, [Ok(b"four".to_vec()), Err(io::ErrorKind::InvalidData)]);
    }
}
