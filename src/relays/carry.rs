//! The server's requests and responses as messages of a tunnel, and back.

use std::{io, rc::Rc};

use futures_util::{Stream, StreamExt, stream};
use inglenook_protocol::message::{self, Headers, collect};

use crate::{
    gather::Gather,
    http::{self, Body, Coming, Method},
    ports::Blobs,
};

/// How much of a stored body is in memory at a time, while it is sent.
const PIECE: u64 = 64 << 10;

/// The largest body that comes through a tunnel and is no file: the state of a large room.
pub(super) const MAX_BODY: usize = 64 << 20;

/// A body on its way out.
pub(super) type Outgoing = http::Pieces;

/// A request for a server, to go up a tunnel.
pub(super) fn request(authority: &str, request: &http::Request) -> io::Result<message::Request<message::Whole>> {
    let body = match &request.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => {
            return Err(io::Error::other("a request's body is in memory"));
        }
    };
    let method = request.method.as_str().to_owned();
    Ok(message::Request {
        method,
        authority: authority.to_owned(),
        uri: request.target(),
        headers: Headers::from_iter(request.headers.clone()),
        body: message::whole(body),
    })
}

/// What came down a tunnel; `None` for a method that this server does not have.
pub(super) async fn incoming_request<B>(request: message::Request<B>) -> io::Result<Option<http::Request>>
where
    B: message::Body + Unpin,
{
    let Some(method) = Method::parse(&request.method) else { return Ok(None) };
    let mut read = http::Request::new(method, &request.uri);
    read.headers = headers(&request.headers);
    read.body = bytes(collect(request.body, MAX_BODY).await?);
    Ok(Some(read))
}

/// An answer that came down a tunnel, to a request of this target. A file is left to be read as it comes.
pub(super) async fn incoming_response<B>(target: &str, response: message::Response<B>) -> io::Result<http::Response>
where
    B: message::Body + Unpin + 'static,
{
    let (status, headers) = (response.status, headers(&response.headers));
    if status == 200 && is_file(target) {
        return Ok(http::Response { status, headers, body: Body::Coming(Coming::new(response.body.boxed_local())) });
    }
    Ok(http::Response { status, headers, body: bytes(collect(response.body, MAX_BODY).await?) })
}

/// Whether a file is asked for, of whatever size.
fn is_file(target: &str) -> bool {
    ["/_matrix/federation/v1/media/", "/_matrix/media/"].iter().any(|prefix| target.starts_with(prefix))
}

/// This server's answer, to go up a tunnel.
pub(super) fn response(response: http::Response, blobs: &Rc<dyn Blobs>) -> message::Response<Outgoing> {
    let body = outgoing(response.body, blobs);
    message::Response { status: response.status, headers: Headers::from_iter(response.headers), body }
}

fn outgoing(body: Body, blobs: &Rc<dyn Blobs>) -> Outgoing {
    match body {
        Body::Empty | Body::Incoming(_) | Body::Coming(_) => stream::empty().boxed_local(),
        Body::Bytes(bytes) => message::whole(bytes).boxed_local(),
        Body::Stored { id, start, end } => pieces(Rc::clone(blobs), id, start, end).boxed_local(),
        Body::Parts(parts) => {
            let parts: Vec<_> = parts.into_iter().map(|part| outgoing(part, blobs)).collect();
            stream::iter(parts).flatten().boxed_local()
        }
    }
}

/// A part of a blob, piece by piece.
fn pieces(blobs: Rc<dyn Blobs>, id: String, start: u64, end: u64) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::unfold(start, move |at| {
        let (blobs, id) = (Rc::clone(&blobs), id.clone());
        async move {
            let next = end.min(at + PIECE);
            let read = blobs.read(&id, at, next).await.map_err(io::Error::other);
            (at < end).then_some((read, next))
        }
    })
}

fn headers(headers: &Headers) -> http::Headers {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).gather()
}

fn bytes(bytes: Vec<u8>) -> Body {
    if bytes.is_empty() { Body::Empty } else { Body::Bytes(bytes) }
}
