//! The server-server API: the route table, and what every request goes through before its handler.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/>

mod admission;
mod auth_chain;
mod backfill;
mod call;
mod devices;
mod discovery;
mod events;
mod handshake;
mod hierarchy;
mod invites;
mod joins;
mod keys;
mod knocks;
mod leaves;
mod media;
mod node_records;
mod openid;
mod pdus;
mod policy;
mod public_rooms;
mod queries;
mod restricted;
mod third_party_invites;
mod transactions;
mod version;

use std::rc::Rc;

use inglenook_protocol::{
    answer::SignedAnswer,
    key_name::public_key_of,
    path::{ANSWER_HEADER, MAILBOX_HEADER},
};

pub(crate) use self::{
    call::{Access, Call},
    keys::signed_keys,
};
pub(crate) use crate::route::handler;
use crate::{
    error::Error,
    http::{Body, Method, Request, Response},
    route,
    server::Server,
};

/// A route of the server-server API.
pub(crate) type Route = route::Route<Call, Access>;

/// All routes, one slice for each section of the specification.
#[rustfmt::skip]
const ROUTES: &[&[Route]] = &[
    auth_chain::ROUTES,
    backfill::ROUTES,
    devices::ROUTES,
    discovery::ROUTES,
    events::ROUTES,
    hierarchy::ROUTES,
    invites::ROUTES,
    joins::ROUTES,
    keys::ROUTES,
    knocks::ROUTES,
    leaves::ROUTES,
    media::ROUTES,
    openid::ROUTES,
    policy::ROUTES,
    public_rooms::ROUTES,
    queries::ROUTES,
    third_party_invites::ROUTES,
    transactions::ROUTES,
    node_records::ROUTES,
    version::ROUTES,
];

/// The method and path of every route, with `{name}` where a parameter stands.
pub fn routes() -> impl Iterator<Item = (Method, &'static str)> {
    ROUTES.iter().copied().flatten().map(|route| (route.method, route.path))
}

/// Answers a request of the server-server API. Whatever is answered is signed, since a relay may carry it.
pub(crate) async fn answer(server: &Rc<Server>, request: Request) -> Response {
    let (uri, authorization) = (request.target(), request.header("authorization").map(str::to_owned));
    let response = dispatch(server, request).await.unwrap_or_else(|error| error.response());
    let signature = authorization.and_then(|authorization| sign(server, &uri, &authorization, &response));
    signature.into_iter().fold(response, |response, signature| response.with(ANSWER_HEADER, &signature))
}

/// The signature of an answer to a request that names who has made it. Nobody looks for that of a server whose name is made of no key,
/// and a file goes out without, as it is read.
fn sign(server: &Server, uri: &str, authorization: &str, response: &Response) -> Option<String> {
    let answerer = server.identity.server_name();
    let body: &[u8] = match &response.body {
        Body::Empty => b"",
        Body::Bytes(bytes) => bytes,
        Body::Incoming(_) | Body::Stored { .. } | Body::Parts(_) | Body::Coming(_) => return None,
    };
    public_key_of(answerer)?;
    SignedAnswer { uri, authorization, answerer, status: response.status, body }.sign(&*server.identity)
}

async fn dispatch(server: &Rc<Server>, request: Request) -> Result<Response, Error> {
    let (route, params) = route::find(ROUTES, request.method, &request.path)?;
    let call = Call::new(Rc::clone(server), request, params)?.authenticate(route.access).await?;
    if let Ok(origin) = call.origin() {
        let is_there = call.request.header(MAILBOX_HEADER).is_none();
        server.federation_sender.heard_from(server.now(), origin, is_there);
    }
    (route.handler)(call).await
}
