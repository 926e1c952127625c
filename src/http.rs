//! Requests and responses as the server sees them: no sockets, only what a handler needs.

use std::{cell::RefCell, fmt, io, rc::Rc};

use futures_util::stream::LocalBoxStream;
use serde::Serialize;

use crate::{ordered::OrderedMap, signal::Signal};

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
}

impl Method {
    /// Reads a method's name as it stands in a request line.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => return None,
        })
    }

    /// The method's name as it stands in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// A body, or a handle to one that the host holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// The whole body.
    Bytes(Vec<u8>),
    /// A request body that the host has not read yet, under a number of the host's own; only [`crate::ports::Blobs::put`] takes it.
    Incoming(u32),
    /// A response body that the host reads from its blobs: bytes `start..end` of the blob `id`.
    Stored {
        /// The blob's name.
        id: String,
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// Several response bodies, one behind the other.
    Parts(Vec<Body>),
    /// Another server's file, which is read as it comes. Only [`crate::ports::Blobs::put`] takes it.
    Coming(Coming),
}

/// A body's pieces, as they come.
pub type Pieces = LocalBoxStream<'static, io::Result<Vec<u8>>>;

/// A body that comes from elsewhere. Clones are the same: it is there once.
#[derive(Clone)]
pub struct Coming(Rc<RefCell<Option<Pieces>>>);

impl Coming {
    /// The body of these pieces.
    pub fn new(pieces: Pieces) -> Self {
        Self(Rc::new(RefCell::new(Some(pieces))))
    }

    /// The pieces, if nobody has taken them.
    pub fn take(&self) -> Option<Pieces> {
        self.0.take()
    }
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coming")
    }
}

impl PartialEq for Coming {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Coming {}

/// Header names are lower case.
pub type Headers = OrderedMap<String, String>;

/// Tells that whoever has sent a request is gone and waits for no answer. Clones tell of the same.
#[derive(Clone, Debug, Default)]
pub struct Gone(Rc<Signal>);

impl Gone {
    /// They are gone: what merely waits for something to tell them ends.
    pub fn tell(&self) {
        self.0.raise();
    }

    /// Whether they are.
    pub(crate) fn is_told(&self) -> bool {
        self.0.count() > 0
    }

    /// Completes when they go after this call.
    pub(crate) fn told(&self) -> impl Future<Output = ()> + use<> {
        self.0.raised()
    }
}

/// An HTTP request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, still percent-encoded, without the query.
    pub path: String,
    /// The query, still percent-encoded, without its question mark.
    pub query: String,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
    /// Whether somebody still waits for the answer.
    pub gone: Gone,
}

impl Request {
    /// A request without headers or body to `target`, a path with an optional query.
    pub fn new(method: Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method, path: path.into(), query: query.into(), headers: Headers::new(), body: Body::Empty, gone: Gone::default() }
    }

    /// The path with its query, as they stand in the request line.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A response with a JSON body.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        Self::of_json(status, serde_json::to_vec(value))
    }

    /// The same for values of all types.
    fn of_json(status: u16, json: serde_json::Result<Vec<u8>>) -> Self {
        Self::bytes(status, "application/json", json.unwrap_or_else(|_| b"{}".to_vec()))
    }

    /// A 200 with a JSON body.
    pub fn ok(value: &impl Serialize) -> Self {
        Self::json(200, value)
    }

    /// A 200 with an empty JSON object.
    pub fn empty() -> Self {
        Self::bytes(200, "application/json", b"{}".to_vec())
    }

    /// A response with a body of the given content type.
    pub fn bytes(status: u16, content_type: &str, bytes: Vec<u8>) -> Self {
        Self { status, headers: Headers::new(), body: Body::Bytes(bytes) }.with("content-type", content_type)
    }

    /// A response without a body.
    pub fn bare(status: u16) -> Self {
        Self { status, headers: Headers::new(), body: Body::Empty }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }
}
