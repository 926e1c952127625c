//! The way to other servers. A browser has none of its own.

use futures_util::FutureExt;

use crate::{
    http::Request,
    ports::{Answer, Destination, Reply, Transport, TransportError},
};

/// Reaches nobody: a page cannot be connected to, and relays are what carries requests between nodes.
pub(super) struct NoTransport;

impl Transport for NoTransport {
    fn send<'a>(&'a self, to: &'a Destination, _request: Request) -> Answer<'a, Reply, TransportError> {
        async move { Err(TransportError::NoRoute(to.name.to_string())) }.boxed_local()
    }
}
