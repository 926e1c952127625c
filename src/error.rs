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
///
/// What is told of it stands behind a pointer: almost every function may fail and hands errors on, and what that costs in
/// wasm grows with their size.
#[derive(Debug, Error)]
pub enum Error {
    /// The client asked for what it may not have, or asked badly.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Another server could not be reached.
    #[error("{0}")]
    Transport(Box<TransportError>),
    /// Another server was asked and has not helped.
    #[error("{0}")]
    Peer(Box<PeerError>),
    /// The storage underneath failed.
    #[error("{0}")]
    Storage(Box<StoreError>),
    /// The media storage underneath failed.
    #[error("{0}")]
    Media(Box<BlobError>),
    /// This server contradicts itself: stored data that cannot be, or a rule that was broken.
    #[error("{0}")]
    Bug(Box<Fault>),
}

/// How this server contradicts itself.
#[derive(Debug, Error)]
#[error("a fault of this server: {0}")]
pub struct Fault(String);

macro_rules! from {
    ($($inner:ty => $variant:ident,)*) => {
        $(impl From<$inner> for Error {
            fn from(error: $inner) -> Self {
                Self::$variant(Box::new(error))
            }
        })*
    };
}

from! {
    TransportError => Transport,
    PeerError => Peer,
    StoreError => Storage,
    BlobError => Media,
    Fault => Bug,
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
        Fault(message.into()).into()
    }

    /// What another server answered, or why it did not.
    pub(crate) fn peer(&self) -> Option<&PeerError> {
        match self {
            Self::Peer(error) => Some(error),
            _ => None,
        }
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
        let body = self.body();
        let response = Response::json(self.refusal().status, &body);
        match body.get("retry_after_ms").and_then(Value::as_u64) {
            Some(millis) => response.with("retry-after", &millis.div_ceil(1000).to_string()),
            None => response,
        }
    }

    /// The error as an object: the response's body, or a part of one that tells of several failures.
    pub(crate) fn body(&self) -> Map<String, Value> {
        let Refusal { code, message, details: mut body, .. } = self.refusal();
        body.insert("errcode".into(), code.into_owned().into());
        body.insert("error".into(), message.into());
        body
    }

    fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => (**refusal).clone(),
            Self::Transport(error) => refusal(502, "M_UNREACHABLE", error),
            Self::Peer(error) => match &**error {
                PeerError::Unreachable(error) => refusal(502, "M_UNREACHABLE", error),
                PeerError::Refused { status, code, message } => {
                    Refusal { status: *status, code: code.clone().into(), message: message.clone(), details: Map::new() }
                }
                PeerError::Malformed(_) => refusal(502, "M_UNKNOWN", error),
            },
            Self::Media(error) => match &**error {
                BlobError::TooLarge(limit) => refusal(413, "M_TOO_LARGE", &format!("Uploads may have {limit} bytes at most.")),
                BlobError::NotAnImage => refusal(400, "M_UNKNOWN", &"This file cannot be scaled as an image."),
                BlobError::Missing => refusal(404, "M_NOT_FOUND", &"There is no such file."),
                BlobError::QuotaExceeded => quota_exceeded(),
                BlobError::Failed(_) => refusal(500, "M_UNKNOWN", error),
            },
            Self::Storage(error) => match &**error {
                StoreError::QuotaExceeded => quota_exceeded(),
                StoreError::Superseded => refusal(503, "M_UNKNOWN", &"Another instance has taken over; try again."),
                StoreError::Failed(_) => refusal(500, "M_UNKNOWN", error),
            },
            Self::Bug(fault) => refusal(500, "M_UNKNOWN", fault),
        }
    }
}

fn refusal(status: u16, code: &'static str, message: &dyn ToString) -> Refusal {
    Refusal { status, code: code.into(), message: message.to_string(), details: Map::new() }
}

fn quota_exceeded() -> Refusal {
    refusal(507, "M_RESOURCE_LIMIT_EXCEEDED", &"The server's storage is full; free some and try again.")
}
