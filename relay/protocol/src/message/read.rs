//! Reading the head of a message from a peer that is not trusted: nothing is allocated on the strength of a length that it states.
//!
//! bhttp writes heads; it is not used to read them, since its reader for streams allocates what the peer announces and can miss a wake-up.

use std::io;

use futures_util::{AsyncRead, AsyncReadExt, io::BufReader};

use super::{Headers, Incoming, MAX_HEAD, Request, Response, body::Form, malformed};

/// Lengths and short fields are read from here, not one by one from the stream.
const BUFFER: usize = 2 * 1024;

/// Reads a request up to its body, which the caller reads from the result.
pub async fn read_request<R: AsyncRead + Unpin>(reader: R) -> io::Result<Request<Incoming<R>>> {
    let mut head = Head::new(BufReader::with_capacity(BUFFER, reader));
    let form = match head.integer().await? {
        0 => Form::KnownLength,
        2 => Form::IndeterminateLength,
        _ => return Err(malformed("this is no request")),
    };
    let method = head.text().await?;
    let _scheme = head.text().await?;
    let authority = head.text().await?;
    let uri = head.text().await?;
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(malformed("the method is none"));
    }
    if !uri.starts_with('/') || !uri.bytes().chain(authority.bytes()).all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("the target is none"));
    }
    let headers = head.headers(form).await?;
    Ok(Request { method, authority, uri, headers, body: Incoming::new(head.reader, form) })
}

/// Reads a response up to its body, which the caller reads from the result.
pub async fn read_response<R: AsyncRead + Unpin>(reader: R) -> io::Result<Response<Incoming<R>>> {
    let mut head = Head::new(BufReader::with_capacity(BUFFER, reader));
    let form = match head.integer().await? {
        1 => Form::KnownLength,
        3 => Form::IndeterminateLength,
        _ => return Err(malformed("this is no response")),
    };
    loop {
        let status = head.integer().await?;
        let headers = head.headers(form).await?;
        match u16::try_from(status) {
            // Informational responses come before the final one.
            Ok(100..200) => {}
            Ok(status @ 200..600) => return Ok(Response { status, headers, body: Incoming::new(head.reader, form) }),
            _ => return Err(malformed("no such status code")),
        }
    }
}

/// A head as it is read, with the number of bytes that it may still have.
struct Head<R> {
    reader: R,
    left: usize,
}

impl<R: AsyncRead + Unpin> Head<R> {
    fn new(reader: R) -> Self {
        Self { reader, left: MAX_HEAD }
    }

    async fn bytes(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(buffer.len()).ok_or_else(|| malformed("the head is too large"))?;
        self.reader.read_exact(buffer).await
    }

    async fn integer(&mut self) -> io::Result<u64> {
        let mut first = [0];
        self.bytes(&mut first).await?;
        let [first] = first;
        let mut value = u64::from(first & 0x3f);
        for _ in 1..1_u8 << (first >> 6) {
            let mut next = [0];
            self.bytes(&mut next).await?;
            value = value << 8 | u64::from(u8::from_be_bytes(next));
        }
        Ok(value)
    }

    async fn octets(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.integer().await?).ok().filter(|length| *length <= self.left);
        let mut octets = vec![0; length.ok_or_else(|| malformed("the head is too large"))?];
        self.bytes(&mut octets).await?;
        Ok(octets)
    }

    async fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.octets().await?).map_err(|_| malformed("the head is no text"))
    }

    async fn headers(&mut self, form: Form) -> io::Result<Headers> {
        match form {
            Form::IndeterminateLength => self.fields().await,
            Form::KnownLength => {
                // The same fields, with their length in front instead of an empty name behind.
                let mut section = self.octets().await?;
                section.push(0);
                let mut within = Head { reader: section.as_slice(), left: section.len() };
                within.fields().await.and_then(|fields| if within.left == 0 { Ok(fields) } else { Err(malformed("an empty name")) })
            }
        }
    }

    async fn fields(&mut self) -> io::Result<Headers> {
        let mut headers = Headers::default();
        loop {
            let name = self.text().await?;
            if name.is_empty() {
                return Ok(headers);
            }
            let value = self.text().await?;
            if !name.bytes().all(is_of_name) || value.bytes().any(is_forbidden) {
                return Err(malformed("a header is none"));
            }
            headers.push(name, value);
        }
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What would end a header, or the head, where the message is handed on as text.
fn is_forbidden(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
