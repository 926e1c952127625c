//! Writing a message: the head in one piece, then the body as it comes, in chunks of the indeterminate-length form.

use std::{io, pin::pin};

use bhttp::{ControlData, FieldSection, Mode, StatusCode};
use futures_util::{AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, io::BufWriter};
use thiserror::Error;

use super::{Body, Headers, Request, Response, malformed};

const INDETERMINATE_REQUEST: u8 = 2;
const INDETERMINATE_RESPONSE: u8 = 3;

/// The end of the content, and an empty section of trailers.
const END: [u8; 2] = [0, 0];

/// What is gathered before it goes out, so that a small message is one frame: as much as one of the multiplexer's frames carries.
const GATHERED: usize = 16 * 1024;

/// Why a message could not be written to its end.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Where the message went does not take it.
    #[error("the peer does not take the message: {0}")]
    Peer(io::Error),
    /// Where the body came from failed, or the head is none.
    #[error("the message has no end: {0}")]
    Message(io::Error),
}

/// Writes a request and closes the writer.
pub async fn write_request(writer: impl AsyncWrite + Unpin, request: Request<impl Body>) -> Result<(), WriteError> {
    let Request { method, authority, uri, headers, body } = request;
    let control = ControlData::Request { method: method.into(), scheme: b"https".to_vec(), authority: authority.into(), path: uri.into() };
    write(writer, INDETERMINATE_REQUEST, &control, &headers, body).await
}

/// Writes a response and closes the writer.
pub async fn write_response(writer: impl AsyncWrite + Unpin, response: Response<impl Body>) -> Result<(), WriteError> {
    let Response { status, headers, body } = response;
    let status = StatusCode::try_from(u64::from(status)).map_err(|_| WriteError::Message(malformed("no such status code")))?;
    write(writer, INDETERMINATE_RESPONSE, &ControlData::Response(status), &headers, body).await
}

async fn write(
    writer: impl AsyncWrite + Unpin,
    form: u8,
    control: &ControlData,
    headers: &Headers,
    body: impl Body,
) -> Result<(), WriteError> {
    let head = head(form, control, headers).map_err(|error| WriteError::Message(io::Error::other(error)))?;
    let mut writer = BufWriter::with_capacity(GATHERED, writer);
    writer.write_all(&head).await.map_err(WriteError::Peer)?;
    let mut body = pin!(body);
    loop {
        // What was gathered does not wait for a chunk that is not there yet.
        let next = match body.next().now_or_never() {
            Some(next) => next,
            None => {
                writer.flush().await.map_err(WriteError::Peer)?;
                body.next().await
            }
        };
        match next {
            None => break,
            Some(Ok(chunk)) => write_chunk(&mut writer, &chunk).await.map_err(WriteError::Peer)?,
            // What came before is told nevertheless, and that it was cut off shows.
            Some(Err(error)) => {
                writer.flush().await.map_err(WriteError::Peer)?;
                return Err(WriteError::Message(error));
            }
        }
    }
    writer.write_all(&END).await.map_err(WriteError::Peer)?;
    writer.close().await.map_err(WriteError::Peer)
}

fn head(form: u8, control: &ControlData, headers: &Headers) -> Result<Vec<u8>, bhttp::Error> {
    let mut head = vec![form];
    control.write_bhttp(&mut head)?;
    let mut fields = FieldSection::default();
    for (name, value) in headers.iter() {
        fields.put(name, value);
    }
    fields.write_bhttp(Mode::IndeterminateLength, &mut head)?;
    Ok(head)
}

async fn write_chunk(writer: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> io::Result<()> {
    // A chunk of length 0 would be the end.
    if chunk.is_empty() {
        return Ok(());
    }
    writer.write_all(&varint(chunk.len())).await?;
    writer.write_all(chunk).await
}

/// QUIC's integers of variable length, in the four-byte form or, from 1 GiB on, the eight-byte one.
fn varint(length: usize) -> Vec<u8> {
    match u32::try_from(length) {
        Ok(length) if length < 1 << 6 => vec![length as u8],
        Ok(length) if length < 1 << 30 => (length | 2 << 30).to_be_bytes().to_vec(),
        _ => (length as u64 | 3 << 62).to_be_bytes().to_vec(),
    }
}
