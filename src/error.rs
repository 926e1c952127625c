//! What can go wrong, by whose fault it is, and the one place that turns it into a status and an `errcode`.

use std::borrow::Cow;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    federation_client::PeerError,
    http::Response,
    ports::{BlobError, StoreError, TransportError},
};

/// Why the server could not do something, by whose fault it is.
#[derive(Debug, Error)]
pub enum Error {
    /// The client asked for what it may not have, or asked badly.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Something failed that the request is not to blame for.
    #[error("{0}")]
    Failed(Box<Failure>),
}

/// What failed. Behind a pointer in [`Error`], which almost every function may return and hand on.
#[derive(Debug, Error)]
pub enum Failure {
    /// Another server could not be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Another server was asked and has not helped.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The storage underneath failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// The media storage underneath failed.
    #[error(transparent)]
    Media(#[from] BlobError),
    /// This server contradicts itself: stored data that cannot be, or a rule that was broken.
    #[error("a fault of this server: {0}")]
    Bug(String),
}

/// A refusal in the specification's words.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The `errcode`.
    pub code: Cow<'static, str>,
    /// A sentence that helps.
    pub message: String,
    /// Further fields of the response.
    pub details: Map<String, Value>,
}

impl<F: Into<Failure>> From<F> for Error {
    fn from(failure: F) -> Self {
        Self::Failed(Box::new(failure.into()))
    }
}

impl Error {
    /// A refusal with this status, `errcode` and sentence.
    pub fn refused(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refusal { status, code: code.into(), message: message.into(), details: Map::new() }))
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::refused(403, "M_FORBIDDEN", message)
    }

    /// 404 `M_NOT_FOUND`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::refused(404, "M_NOT_FOUND", message)
    }

    /// 400 `M_BAD_JSON`: JSON, but not of the expected shape.
    pub fn bad_json(message: impl Into<String>) -> Self {
        Self::refused(400, "M_BAD_JSON", message)
    }

    /// 400 `M_INVALID_PARAM`.
    pub fn invalid_param(message: impl Into<String>) -> Self {
        Self::refused(400, "M_INVALID_PARAM", message)
    }

    /// 400 `M_MISSING_PARAM`.
    pub fn missing_param(message: impl Into<String>) -> Self {
        Self::refused(400, "M_MISSING_PARAM", message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::refused(413, "M_TOO_LARGE", message)
    }

    /// A fault of this server.
    pub fn bug(message: impl Into<String>) -> Self {
        Failure::Bug(message.into()).into()
    }

    /// The same refusal with one more field in its response.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.details.insert(name.into(), value.into());
        }
        self
    }

    /// The response that tells a client of the error.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>
    pub fn response(&self) -> Response {
        let refusal = self.refusal();
        let mut body = refusal.details.clone();
        body.insert("errcode".into(), refusal.code.as_ref().into());
        body.insert("error".into(), refusal.message.clone().into());
        let response = Response::json(refusal.status, &body);
        match body.get("retry_after_ms").and_then(Value::as_u64) {
            Some(millis) => response.with("retry-after", &millis.div_ceil(1000).to_string()),
            None => response,
        }
    }

    fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => (**refusal).clone(),
            Self::Failed(failure) => failure.refusal(),
        }
    }
}

impl Failure {
    fn refusal(&self) -> Refusal {
        let refusal = |status, code: &'static str, message: &dyn ToString| Refusal {
            status,
            code: code.into(),
            message: message.to_string(),
            details: Map::new(),
        };
        match self {
            Self::Transport(error) => refusal(502, "M_UNREACHABLE", error),
            Self::Peer(PeerError::Unreachable(error)) => refusal(502, "M_UNREACHABLE", error),
            Self::Peer(PeerError::Refused { status, code, message }) => {
                Refusal { status: *status, code: code.clone().into(), message: message.clone(), details: Map::new() }
            }
            Self::Peer(PeerError::Malformed(_)) => refusal(502, "M_UNKNOWN", self),
            Self::Media(BlobError::TooLarge(limit)) => refusal(413, "M_TOO_LARGE", &format!("Uploads may have {limit} bytes at most.")),
            Self::Media(BlobError::NotAnImage) => refusal(400, "M_UNKNOWN", &"This file cannot be scaled as an image."),
            Self::Media(BlobError::Missing) => refusal(404, "M_NOT_FOUND", &"There is no such file."),
            Self::Storage(StoreError::QuotaExceeded) | Self::Media(BlobError::QuotaExceeded) => {
                refusal(507, "M_RESOURCE_LIMIT_EXCEEDED", &"The storage that the browser allows is used up; free some and try again.")
            }
            Self::Storage(StoreError::Superseded) => refusal(503, "M_UNKNOWN", &"Another instance has taken over; try again."),
            Self::Storage(_) | Self::Media(_) | Self::Bug(_) => refusal(500, "M_UNKNOWN", self),
        }
    }
}
