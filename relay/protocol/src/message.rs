//! HTTP requests and responses, and their form as bytes: RFC 9292's binary messages, with bodies that stream.
//!
//! <https://www.rfc-editor.org/rfc/rfc9292>

mod body;
mod read;
mod write;

use futures_util::{Stream, stream};
use std::io;

pub use body::{Incoming, collect};
pub use read::{read_request, read_response};
pub use write::{WriteError, write_request, write_response};

/// The media type of a message that travels as the body of another.
pub const CONTENT_TYPE: &str = "message/bhttp";

/// Method, target and headers of a message together: eight times what other servers take, for long `via` lists.
pub const MAX_HEAD: usize = 64 * 1024;

/// A body: the largest media file, 50 MB by default, twice.
pub const MAX_BODY: u64 = 100 * 1024 * 1024;

/// Names are lower case, values without control characters; in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first header of that lower-case name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(each, _)| *each == name).map(|(_, value)| value)
    }

    /// All headers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds one more.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Removes every header of that lower-case name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(each, _)| each != name);
    }

    /// The same with that header once, at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.remove(name);
        self.push(name, value);
        self
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A request, whose body is a stream of chunks.
#[derive(Clone, Debug)]
pub struct Request<B> {
    /// The method, in upper case.
    pub method: String,
    /// The name of the server that the request is for in the end.
    pub authority: String,
    /// Path and query, byte for byte as they are signed.
    pub uri: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: B,
}

/// A response, whose body is a stream of chunks.
#[derive(Clone, Debug)]
pub struct Response<B> {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: B,
}

impl<B> Request<B> {
    /// The same request with another body.
    pub fn map_body<C>(self, change: impl FnOnce(B) -> C) -> Request<C> {
        let Self { method, authority, uri, headers, body } = self;
        Request { method, authority, uri, headers, body: change(body) }
    }
}

impl<B> Response<B> {
    /// The same response with another body.
    pub fn map_body<C>(self, change: impl FnOnce(B) -> C) -> Response<C> {
        let Self { status, headers, body } = self;
        Response { status, headers, body: change(body) }
    }
}

/// A body that is at hand as a whole; an empty one has no chunk.
pub type Whole = stream::Iter<std::option::IntoIter<io::Result<Vec<u8>>>>;

/// Makes a body of bytes.
pub fn whole(bytes: impl Into<Vec<u8>>) -> Whole {
    let bytes = bytes.into();
    stream::iter((!bytes.is_empty()).then_some(Ok(bytes)))
}

/// What a body is made of.
pub trait Body: Stream<Item = io::Result<Vec<u8>>> {}

impl<S: Stream<Item = io::Result<Vec<u8>>>> Body for S {}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
