//! Requests and answers as the relay handles them, and the answers that it gives itself.

use std::io;

use futures_util::{Stream, StreamExt, stream::BoxStream};
use inglenook_protocol::{
    message::{self, Headers, whole},
    path::{OUTCOME_HEADER, Outcome},
};
use serde::Serialize;
use serde_json::json;

/// A body of whatever origin.
pub(crate) type Body = BoxStream<'static, io::Result<Vec<u8>>>;

/// A request with such a body.
pub(crate) type Request = message::Request<Body>;

/// A response with such a body.
pub(crate) type Response = message::Response<Body>;

/// Forgets where a body comes from.
pub(crate) fn boxed(body: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static) -> Body {
    body.boxed()
}

/// An answer with a JSON body.
pub(crate) fn json(status: u16, value: &impl Serialize) -> Response {
    let headers = Headers::default().with("content-type", "application/json");
    Response { status, headers, body: boxed(whole(serde_json::to_vec(value).unwrap_or_default())) }
}

/// The same with an outcome.
pub(crate) fn with_outcome(mut response: Response, outcome: Outcome) -> Response {
    response.headers = response.headers.with(OUTCOME_HEADER, outcome.as_str());
    response
}

/// An error as the specification has it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#tls>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The status code.
    pub(crate) status: u16,
    /// The `errcode`.
    pub(crate) errcode: &'static str,
    /// A sentence that helps.
    pub(crate) error: String,
    /// When to try again.
    pub(crate) retry_after_ms: Option<u64>,
    /// Which limit was reached, where that is to be counted.
    pub(crate) limit: Option<&'static str>,
}

/// How long a sender whose mailbox is full may wait: its owner has to come back, which nobody can foretell.
const RETRY_WHEN_FULL_MS: u64 = 60_000;

/// The same where others' requests are under way, which takes no longer than they may take to come.
const RETRY_WHEN_BUSY_MS: u64 = 10_000;

/// The limit of what is kept, of one or of all.
pub(crate) const SPACE: &str = "space";

impl Refused {
    /// An error.
    pub(crate) fn new(status: u16, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), retry_after_ms: None, limit: None }
    }

    /// 400: the request is none.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(400, "M_BAD_JSON", error)
    }

    /// 401: nothing proves who asks.
    pub(crate) fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(401, "M_UNAUTHORIZED", error)
    }

    /// 403: who asks may not.
    pub(crate) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(403, "M_FORBIDDEN", error)
    }

    /// 404: there is no such thing here.
    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(404, "M_NOT_FOUND", error)
    }

    /// 404: there is no such endpoint.
    pub(crate) fn unrecognized() -> Self {
        Self::new(404, "M_UNRECOGNIZED", "There is no such endpoint.")
    }

    /// 429: too much is waiting.
    pub(crate) fn full(what: &str) -> Self {
        let error = format!("No more can be stored: {what} is full.");
        Self { retry_after_ms: Some(RETRY_WHEN_FULL_MS), limit: Some(SPACE), ..Self::new(429, "M_LIMIT_EXCEEDED", error) }
    }

    /// 503: the requests that are under way fill the memory that there is for them.
    pub(crate) fn busy() -> Self {
        let error = "The relay has too much to do.";
        Self { retry_after_ms: Some(RETRY_WHEN_BUSY_MS), limit: Some("bytes"), ..Self::new(503, "M_LIMIT_EXCEEDED", error) }
    }

    /// 429: an address asks too much.
    pub(crate) fn too_often(retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(429, "M_LIMIT_EXCEEDED", "Too many requests come from there.") }
    }

    /// 502 or 503: the destination does not answer.
    pub(crate) fn unreachable(status: u16, error: impl Into<String>) -> Self {
        Self::new(status, "M_UNREACHABLE", error)
    }

    /// 500: our own fault.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self::new(500, "M_UNKNOWN", error)
    }
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        let mut body = json!({ "errcode": refused.errcode, "error": refused.error });
        if let (Some(retry), Some(object)) = (refused.retry_after_ms, body.as_object_mut()) {
            object.insert("retry_after_ms".into(), retry.into());
        }
        with_outcome(json(refused.status, &body), Outcome::Refused)
    }
}

/// What has become of a request.
pub(crate) type Answer = Result<Response, Refused>;
