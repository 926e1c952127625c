//! This server's relays and what it knows of where others can be found: endpoints of this server's own.

use ruma::{CanonicalJsonObject, ServerName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Get, path: "/_inglenook/relays", access: Access::Token, handler: handler!(relays) },
    Route { method: Method::Put, path: "/_inglenook/relays", access: Access::Token, handler: handler!(choose) },
    Route { method: Method::Get, path: "/_inglenook/record", access: Access::Token, handler: handler!(own_record) },
    Route { method: Method::Put, path: "/_inglenook/records/{serverName}", access: Access::Token, handler: handler!(learn) },
];

/// The relays with how the tunnel to each stands: `connecting`; `attached`, `since` when and with which `limits`; `waiting`, `until` when
/// and for what `reason`; or `superseded`, left to another holder of this server's key `until` when.
async fn relays(call: Call) -> Result<Response, Error> {
    let standings = call.server.own_relays.standings().into_iter();
    let relays: Vec<_> = standings.map(|(url, standing)| with_url(url, json!(standing))).collect();
    Ok(Response::ok(&json!({ "relays": relays })))
}

fn with_url(url: String, mut standing: Value) -> Value {
    if let Some(standing) = standing.as_object_mut() {
        standing.insert("url".into(), url.into());
    }
    standing
}

#[derive(Deserialize)]
struct Choice {
    relays: Vec<String>,
}

/// Chooses the relays by their base URLs, the first to be tried first.
async fn choose(call: Call) -> Result<Response, Error> {
    let Choice { relays } = call.body()?;
    call.server.own_relays.choose(relays, call.server.now()).await?;
    call.server.deposits_changed.raise();
    Ok(Response::empty())
}

/// The signed record that tells where this server can be found, for an invitation.
async fn own_record(call: Call) -> Result<Response, Error> {
    let record = call.server.own_relays.record();
    record.map(|record| Response::ok(&record)).ok_or_else(|| Error::not_found("This server is found by its name."))
}

/// Learns another server's record, from an invitation.
async fn learn(call: Call) -> Result<Response, Error> {
    let server = ServerName::parse(call.param(0)).map_err(|_| Error::invalid_param("That is no server name."))?;
    let record: CanonicalJsonObject = call.body()?;
    let is_news = call.server.records.learn(&server, &record, false).await?;
    if is_news {
        call.server.federation_sender.heard_from(call.server.now(), &server, false);
    }
    Ok(Response::ok(&json!({ "updated": is_news })))
}
