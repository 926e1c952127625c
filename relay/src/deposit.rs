//! What a node leaves with its relay for the time when it is away, and the queries that the relay answers from it.
//!
//! A node that asks is handed what the node has signed about each user, and verifies it: the relay could leave a user out, or hand out
//! what was left before, and cannot make anything up. An ordinary server is handed the answer, and has to believe its gateway.

use inglenook_protocol::{
    deposit::{Asked, DEPOSITS, Unanswered},
    key_name::public_key_of,
    signed,
};
use ruma::ServerName;
use serde_json::{Map, Value, json};

use crate::{
    address::Address,
    config::MAX_DEPOSIT,
    origin::WholeRequest,
    relay::Relay,
    reply,
    reply::{Answer, Refused, Response},
    store::Document,
    target::segments,
};

/// Keeps what `node`, which comes from there, leaves, in place of what it left before.
pub(crate) async fn keep(relay: &Relay, node: &ServerName, kind: &str, body: Vec<u8>, from: Option<Address>) -> Answer {
    let document = Document::deposit(kind).ok_or_else(Refused::unrecognized)?;
    if body.len() > MAX_DEPOSIT {
        return Err(Refused::new(413, "M_TOO_LARGE", "The deposit is too large."));
    }
    let value: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| Refused::bad(format!("The body is no object: {error}.")))?;
    if document == Document::Keys {
        check_keys(node, value)?;
    }
    relay.store.keep(document, node, body, from).await?;
    relay.metrics.deposits.inc();
    Ok(reply::json(200, &json!({})))
}

/// The keys are handed out under the node's name to whoever asks: they have to be its own.
fn check_keys(node: &ServerName, keys: Map<String, Value>) -> Result<(), Refused> {
    let wrong = |error: &dyn std::fmt::Display| Refused::bad(format!("These are not the node's keys: {error}."));
    let keys = serde_json::from_value(Value::Object(keys)).map_err(|error| wrong(&error))?;
    let keys: Value = signed::verify(&keys, node).map_err(|error| wrong(&error))?;
    let is_own = keys.get("server_name").and_then(Value::as_str) == Some(node.as_str());
    is_own.then_some(()).ok_or_else(|| wrong(&"they name another server"))
}

/// The answer that `node`, which is away, has left to a request; `None` where it has left none.
pub(crate) async fn answer(relay: &Relay, node: &ServerName, request: &WholeRequest) -> Result<Option<Response>, Refused> {
    if asks_for_keys(request) {
        let keys = relay.store.document(Document::Keys, node).await?;
        return keys.map(|keys| read(&keys)).transpose().map(|keys| keys.map(|keys| reply::json(200, &keys)));
    }
    let Some(asked) = Asked::of(&request.method, &request.uri) else { return Ok(None) };
    let document = Document::deposit(asked.kind()).ok_or_else(Refused::unrecognized)?;
    let origin = relay.origin(request, node).await?;
    let users = asked.users(&request.body).map_err(unanswered)?;
    let Some(deposit) = relay.store.document(document, node).await? else { return Ok(None) };
    let mut left = read(&deposit)?;
    left.retain(|user, _| users.contains(user));
    if public_key_of(&origin).is_some() {
        return Ok(Some(reply::json(200, &json!({ DEPOSITS: left }))));
    }
    left.values_mut().for_each(|deposit| *deposit = deposit.get_mut("content").map(Value::take).unwrap_or_default());
    asked.answer(&left, &request.body).map(|answer| Some(reply::json(200, &answer))).map_err(unanswered)
}

fn asks_for_keys(request: &WholeRequest) -> bool {
    let path = segments(&request.uri);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_path = matches!(path.as_slice(), ["_matrix", "key", "v2", "server"] | ["_matrix", "key", "v2", "server", _]);
    request.method == "GET" && is_path
}

fn read(deposit: &[u8]) -> Result<Map<String, Value>, Refused> {
    serde_json::from_slice(deposit).map_err(|error| Refused::failed(format!("The deposit: {error}.")))
}

fn unanswered(why: Unanswered) -> Refused {
    match why {
        Unanswered::Unknown => Refused::not_found("The node has left nothing about that user."),
        Unanswered::Form => Refused::bad("The body does not say whose keys are wanted."),
    }
}
