//! The way to other servers. A browser has none of its own.

use futures_util::FutureExt;

use crate::{
    http::{Request, Response},
    ports::{Answer, Transport, TransportError},
};

/// Reaches nobody: a page cannot be connected to, and relays are what carries requests between nodes.
pub(super) struct NoTransport;

impl Transport for NoTransport {
    fn send<'a>(&'a self, destination: &'a str, _request: Request) -> Answer<'a, Response, TransportError> {
        async move { Err(TransportError::NoRoute(destination.into())) }.boxed_local()
    }
}
