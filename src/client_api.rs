//! The client-server API: the route table, and what every request goes through before and after its handler.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/>

mod account;
mod account_data;
mod admin;
mod call;
mod capabilities;
mod create_room;
mod cross_signing;
mod delivery;
mod devices;
mod directory;
mod events;
pub(crate) mod filters;
mod inglenook;
mod inherited_settings;
mod interactive_auth;
mod key_backup;
mod keys;
mod limits;
mod login;
mod media;
mod membership;
mod openid;
mod presence;
mod profile;
mod public_rooms;
mod published_rooms_chunk;
mod push_rules;
mod pushers;
mod readable_state;
mod receipts;
mod redaction;
mod registration;
mod relations;
mod relays;
mod reports;
mod room_summary;
mod sending;
mod server_info;
mod spaces;
mod state;
mod tags;
mod third_party_ids;
mod third_party_networks;
mod threads;
mod timestamp;
mod to_device;
mod typing;
mod upgrade;
mod user_directory;
mod voip;

use std::rc::Rc;

pub(crate) use self::{
    call::{Access, Call},
    membership::{allowed_rooms, candidates, granting_user, join_located},
    public_rooms::PublicRoomsQuery,
    room_summary::RoomSummary,
    sending::Outbox,
    spaces::SpaceChildren,
    timestamp::closest,
};
pub(crate) use crate::route::handler;
use crate::{
    error::Error,
    http::{Body, Method, Request, Response},
    recent_requests::AnsweredRequest,
    route,
    server::Server,
    sync,
};

/// A route of the client-server API.
pub(crate) type Route = route::Route<Call, Access>;

/// What answers a request of the client-server API.
type Handler = route::Handler<Call>;

/// All routes, one slice for each section of the specification.
#[rustfmt::skip]
const ROUTES: &[&[Route]] = &[
    account::ROUTES,
    account_data::ROUTES,
    admin::ROUTES,
    capabilities::ROUTES,
    create_room::ROUTES,
    delivery::ROUTES,
    cross_signing::ROUTES,
    devices::ROUTES,
    directory::ROUTES,
    events::ROUTES,
    filters::ROUTES,
    inglenook::ROUTES,
    key_backup::ROUTES,
    keys::ROUTES,
    login::ROUTES,
    media::ROUTES,
    membership::ROUTES,
    openid::ROUTES,
    presence::ROUTES,
    profile::ROUTES,
    public_rooms::ROUTES,
    push_rules::ROUTES,
    pushers::ROUTES,
    receipts::ROUTES,
    redaction::ROUTES,
    registration::ROUTES,
    relations::ROUTES,
    relays::ROUTES,
    reports::ROUTES,
    room_summary::ROUTES,
    sending::ROUTES,
    server_info::ROUTES,
    spaces::ROUTES,
    state::ROUTES,
    tags::ROUTES,
    third_party_ids::ROUTES,
    third_party_networks::ROUTES,
    threads::ROUTES,
    timestamp::ROUTES,
    to_device::ROUTES,
    typing::ROUTES,
    upgrade::ROUTES,
    user_directory::ROUTES,
    voip::ROUTES,
    sync::ROUTES,
    sync::INITIAL_SYNC_ROUTES,
    sync::EVENTS_ROUTES,
];

/// The method and path of every route, with `{name}` where a parameter stands.
pub fn routes() -> impl Iterator<Item = (Method, &'static str)> {
    ROUTES.iter().copied().flatten().map(|route| (route.method, route.path))
}

/// Any web page may ask, since a token and not an origin says who asks.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>
const CORS: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"),
    ("access-control-allow-headers", "X-Requested-With, Content-Type, Authorization"),
];

/// Answers a request of the client-server API.
pub(crate) async fn answer(server: &Rc<Server>, request: Request) -> Response {
    let (at, method, path) = (server.now(), request.method, request.path.clone());
    let mut response = dispatch(server, request).await.unwrap_or_else(|error| error.response());
    for (name, value) in CORS {
        response.headers.insert(name.into(), value.into());
    }
    if method == Method::Head {
        response.body = Body::Empty;
    }
    let millis = server.now().saturating_sub(at);
    server.recent_requests.borrow_mut().remember(AnsweredRequest { at, method: method.as_str(), path, status: response.status, millis });
    response
}

async fn dispatch(server: &Rc<Server>, request: Request) -> Result<Response, Error> {
    if request.method == Method::Options {
        return Ok(Response::empty());
    }
    let (route, params) = route::find(ROUTES, request.method, &request.path)?;
    let call = Call::new(Rc::clone(server), request, params)?;
    let call = call.authenticate(route.access).await?;
    limits::check(&call)?;
    (route.handler)(call).await
}
