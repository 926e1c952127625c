//! The second part of a `multipart/mixed` body, read as it comes: its head first, and then its content piece by piece.
//!
//! <https://www.rfc-editor.org/rfc/rfc2046#section-5.1>

use std::io;

use futures_util::{StreamExt, stream};

use crate::http::Pieces;

/// What comes before the content: an empty object, and a few headers.
const MAX_HEAD: usize = 64 << 10;

/// Reads up to the content of the second part; returns its headers, and the content.
pub(super) async fn second_part(body: Pieces, boundary: &str) -> io::Result<(String, Pieces)> {
    let delimiter = format!("--{boundary}");
    let mut reader = Reader { body, buffer: Vec::new(), end: format!("\r\n{delimiter}").into_bytes() };
    reader.until(delimiter.as_bytes()).await?;
    reader.until(&reader.end.clone()).await?;
    let headers = reader.until(b"\r\n\r\n").await?;
    let headers = String::from_utf8(headers).map_err(|_| malformed("a part's headers are no text"))?;
    let content = stream::try_unfold(Some(reader), |reader| async move {
        let Some(mut reader) = reader else { return Ok(None) };
        let (piece, is_last) = reader.content().await?;
        Ok(Some((piece, (!is_last).then_some(reader))))
    });
    Ok((headers, content.boxed_local()))
}

struct Reader {
    body: Pieces,
    /// What has come and was not handed on.
    buffer: Vec<u8>,
    /// What ends a part.
    end: Vec<u8>,
}

impl Reader {
    async fn more(&mut self) -> io::Result<()> {
        let piece = self.body.next().await.unwrap_or_else(|| Err(malformed("the body ends within a part")))?;
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }

    /// What comes before these bytes; they are passed by.
    async fn until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(place) = find(&self.buffer, mark) {
                let rest = self.buffer.split_off(place + mark.len());
                let mut before = std::mem::replace(&mut self.buffer, rest);
                before.truncate(place);
                return Ok(before);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(malformed("a part's head is too large"));
            }
            self.more().await?;
        }
    }

    /// The next piece of the content, and whether it is the last.
    async fn content(&mut self) -> io::Result<(Vec<u8>, bool)> {
        loop {
            if let Some(place) = find(&self.buffer, &self.end) {
                self.buffer.truncate(place);
                return Ok((std::mem::take(&mut self.buffer), true));
            }
            // The end may have come in part.
            let sure = self.buffer.len().saturating_sub(self.end.len());
            if sure > 0 {
                let rest = self.buffer.split_off(sure);
                return Ok((std::mem::replace(&mut self.buffer, rest), false));
            }
            self.more().await?;
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    let (first, mut from) = (mark.first()?, 0);
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes.get(at..)?.starts_with(mark) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
