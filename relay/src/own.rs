//! The relay's own endpoints, whether they are asked over HTTP or through a tunnel.

use inglenook_protocol::{
    message::whole,
    node_record::NodeRecord,
    path::{DEPOSIT, LIMITS, PRESENCE, RECORD},
};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName};
use serde_json::json;

use crate::{
    dendrite, deposit,
    relay::{Caller, Relay, whole_body},
    reply::{Answer, Refused, Request, boxed, json},
    store::Document,
    target::segments,
};

/// What a node record takes at most: eight URLs and a signature.
const MAX_RECORD: usize = 4 * 1024;

/// Answers a request to the relay itself.
pub(crate) async fn answer(relay: &Relay, request: Request, caller: Caller) -> Answer {
    let path = request.uri.split('?').next().unwrap_or_default().to_owned();
    let method = request.method.clone();
    if method == "GET" && path == LIMITS {
        return Ok(json(200, &relay.config.limits()));
    }
    if let Some(server) = path.strip_prefix(RECORD) {
        let server = server_name(server)?;
        return match method.as_str() {
            "GET" => record(relay, &server).await,
            "PUT" => publish(relay, &server, request, caller).await,
            _ => Err(Refused::unrecognized()),
        };
    }
    match (method.as_str(), path.strip_prefix(PRESENCE), path.strip_prefix(DEPOSIT), caller) {
        ("GET", Some(server), _, Caller::Node(..)) => presence(relay, &server_name(server)?),
        ("PUT", _, Some(kind), Caller::Node(node, from)) => deposit::keep(relay, &node, kind, whole_body(request).await?.body, from).await,
        (_, None, None, caller) => matrix(relay, request, &caller).await,
        (.., Caller::Stranger(_)) => Err(Refused::unauthorized("Only an attached node may do this, through its tunnel.")),
        _ => Err(Refused::unrecognized()),
    }
}

fn server_name(name: &str) -> Result<OwnedServerName, Refused> {
    ServerName::parse(name).map_err(|_| Refused::new(400, "M_INVALID_PARAM", "That is no server name."))
}

fn presence(relay: &Relay, server: &ServerName) -> Answer {
    Ok(json(200, &json!({ "attached": relay.nodes.attached(server).is_some() })))
}

async fn record(relay: &Relay, server: &ServerName) -> Answer {
    let record = relay.store.document(Document::Record, server).await?;
    let record = record.ok_or_else(|| Refused::not_found("No record of that server is known here."))?;
    let mut response = json(200, &());
    response.body = boxed(whole(record));
    Ok(response)
}

/// Keeps a record that is newer than the one known. Anybody may bring it, since the node has signed it; it is kept for nodes that are
/// served here.
async fn publish(relay: &Relay, server: &ServerName, request: Request, caller: Caller) -> Answer {
    let body = whole_body(request).await?.body;
    if body.len() > MAX_RECORD {
        return Err(Refused::new(413, "M_TOO_LARGE", "The record is too large."));
    }
    let read = |bytes: &[u8]| {
        let object: CanonicalJsonObject = serde_json::from_slice(bytes).ok()?;
        NodeRecord::verify(&object, server).ok()
    };
    let record = read(&body).ok_or_else(|| Refused::forbidden("That is no record that the server has signed."))?;
    let is_own = matches!(&caller, Caller::Node(node, _) if node == server);
    if !is_own && !relay.serves(server).await? {
        return Err(Refused::not_found(format!("{server} is not served here.")));
    }
    let _one_at_a_time = relay.records.lock().await;
    let known = relay.store.document(Document::Record, server).await?.and_then(|bytes| read(&bytes));
    let seq = known.as_ref().map_or(record.seq, |known| known.seq.max(record.seq));
    if known.is_none_or(|known| record.replaces(&known)) {
        relay.store.keep(Document::Record, server, body, caller.address()).await?;
    }
    Ok(json(200, &json!({ "seq": seq })))
}

/// What the specification, or Dendrite, asks of any server.
async fn matrix(relay: &Relay, request: Request, caller: &Caller) -> Answer {
    let path = segments(&request.uri);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["_matrix", "key", "v2", "server"] | ["_matrix", "key", "v2", "server", _]) => {
            Ok(json(200, &relay.identity.keys(relay.clock.now())))
        }
        ("GET", ["_matrix", "federation", "v1", "version"]) => {
            let software = relay.config.limits().software;
            Ok(json(200, &json!({ "server": software })))
        }
        ("PUT", ["_matrix", "federation", "v1", "send_relay", _, user]) => {
            let user = (*user).to_owned();
            dendrite::send_relay(relay, &user, whole_body(request).await?, caller).await
        }
        ("GET", ["_matrix", "federation", "v1", "relay_txn", user]) => {
            let user = (*user).to_owned();
            dendrite::relay_txn(relay, &user, whole_body(request).await?).await
        }
        _ => Err(Refused::unrecognized()),
    }
}
