//! What comes down a tunnel: other servers' requests, and what the relay itself has to say.

use std::rc::Rc;

use inglenook_protocol::{message, path, tunnel::TunnelBody};
use ruma::ServerName;

use super::carry::{self, Outgoing};
use crate::{
    error::Error,
    http::{Request, Response},
    server::Server,
};

/// Answers a request that came down a tunnel.
pub(super) async fn answer(server: Rc<Server>, request: message::Request<TunnelBody>) -> message::Response<Outgoing> {
    let response = match carry::incoming_request(request).await {
        Ok(Some(request)) => respond(&server, request).await,
        Ok(None) => Error::refused(405, "M_UNRECOGNIZED", "There is no such method here.").response(),
        Err(error) => Error::bad_json(format!("The request did not arrive whole: {error}.")).response(),
    };
    carry::response(response, &server.ports.blobs)
}

/// The federation's paths, and no others: the client-server API is for the page alone.
async fn respond(server: &Rc<Server>, request: Request) -> Response {
    match request.path.strip_prefix(path::ONLINE) {
        Some(name) => {
            if let Ok(name) = ServerName::parse(name) {
                server.federation_sender.heard_from(server.now(), &name, true);
            }
            Response::empty()
        }
        None => server.federation(request).await,
    }
}
