//! A body that arrives: chunks as they come, refused when it is cut off or too large.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{AsyncRead, Stream, StreamExt, io::BufReader};

use super::{Body, MAX_BODY, malformed};

/// What one item of the stream holds at most: one of the multiplexer's frames.
const CHUNK: u64 = 16 * 1024;

/// RFC 9292's two forms of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    KnownLength,
    IndeterminateLength,
}

/// The body of a message that is being received.
///
/// It ends with an error when the peer goes away before the end that it announced; a message that was cut off is never taken for whole.
#[derive(Debug)]
pub struct Incoming<R> {
    reader: BufReader<R>,
    form: Form,
    state: State,
    received: u64,
}

#[derive(Debug)]
enum State {
    /// In front of a chunk: its length as far as it has arrived, and how many of its bytes are still to come, once that is known.
    Length { value: u64, missing: Option<u8> },
    /// In a chunk, with so many bytes to come.
    Chunk { left: u64 },
    /// At the end, or behind an error.
    Done,
}

const NEXT_CHUNK: State = State::Length { value: 0, missing: None };

impl<R> Incoming<R> {
    pub(super) fn new(reader: BufReader<R>, form: Form) -> Self {
        Self { reader, form, state: NEXT_CHUNK, received: 0 }
    }

    /// Notes the length of the chunk that comes.
    fn begin_chunk(&mut self, length: u64) -> io::Result<()> {
        self.received = self.received.saturating_add(length);
        if self.received > MAX_BODY {
            return Err(malformed("the body is too large"));
        }
        self.state = if length == 0 { State::Done } else { State::Chunk { left: length } };
        Ok(())
    }

    /// Notes that bytes of the chunk have arrived.
    fn advance(&mut self, left: u64) {
        self.state = match (left, self.form) {
            (0, Form::KnownLength) => State::Done,
            (0, Form::IndeterminateLength) => NEXT_CHUNK,
            _ => State::Chunk { left },
        };
    }
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Collects the body, refusing one of more than `limit` bytes.
    pub async fn collect(self, limit: usize) -> io::Result<Vec<u8>> {
        collect(self, limit).await
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.reader).poll_read(cx, buffer))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    /// Reads on; a chunk of the caller's when there is one, nothing when only the state has changed.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        match self.state {
            State::Length { value, missing: Some(0) } => self.begin_chunk(value)?,
            State::Length { value, missing } => {
                let mut byte = [0];
                ready!(self.poll_bytes(cx, &mut byte))?;
                self.state = longer(value, missing, u8::from_be_bytes(byte));
            }
            State::Chunk { left } => {
                let mut chunk = vec![0; usize::try_from(left.min(CHUNK)).unwrap_or_default()];
                let count = ready!(self.poll_bytes(cx, &mut chunk))?;
                chunk.truncate(count);
                self.advance(left - count as u64);
                return Poll::Ready(Ok(Some(chunk)));
            }
            State::Done => {}
        }
        Poll::Ready(Ok(None))
    }
}

/// The length with one more of its bytes; the first says in its two highest bits how many there are.
fn longer(value: u64, missing: Option<u8>, byte: u8) -> State {
    match missing {
        None => State::Length { value: u64::from(byte & 0x3f), missing: Some((1 << (byte >> 6)) - 1) },
        Some(missing) => State::Length { value: value << 8 | u64::from(byte), missing: Some(missing.saturating_sub(1)) },
    }
}

impl<R: AsyncRead + Unpin> Stream for Incoming<R> {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !matches!(self.state, State::Done) {
            match ready!(self.poll_step(cx)) {
                Ok(None) => {}
                Ok(Some(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Err(error) => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Collects any body, refusing one of more than `limit` bytes.
pub async fn collect(body: impl Body, limit: usize) -> io::Result<Vec<u8>> {
    let mut body = std::pin::pin!(body);
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > limit {
            return Err(malformed("the body is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
