//! Transactions: the events and other news that a server sends.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

use futures_util::future::join;
use inglenook_protocol::path::MAILBOX_HEADER;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    event::RawPdu,
    federation_receiver::{Edu, Received, receive_edus, receive_pdus},
    federation_sender::{
        received::{RECEIVED, note},
        shares_room,
    },
    gather::Gather,
    http::{Method, Response},
};

pub(super) const ROUTES: &[Route] = &[
    Route { method: Method::Put, path: "/_matrix/federation/v1/send/{txnId}", access: Access::Signed, handler: handler!(send) },
    Route {
        method: Method::Put,
        path: "/_matrix/federation/v1/send_relay/{txnId}/{userId}",
        access: Access::SignedForRelay,
        handler: handler!(send_relay),
    },
];

/// <https://spec.matrix.org/v1.19/server-server-api/#transactions>
const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;

/// A transaction ID has so many bytes at most: a name for a row, and no text.
const MAX_ID_BYTES: usize = 255;

#[derive(Deserialize)]
struct Transaction {
    origin_server_ts: Option<u64>,
    pdus: Vec<Box<RawValue>>,
    #[serde(default)]
    edus: Vec<Value>,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
///
/// What came out of a relay's mailbox is acknowledged to its origin, each time that it comes: the last acknowledgement may be lost.
/// What acknowledges itself is not, or two servers would thank each other for ever.
async fn send(call: Call) -> Result<Response, Error> {
    let transaction: Transaction = call.body()?;
    if transaction.origin_server_ts.is_none() {
        return Err(Error::bad_json("origin_server_ts is missing."));
    }
    receive(call, transaction).await
}

/// What a peer of the older kind has left with a relay for the server of a user, as the relay has kept it. It need not say when it was
/// made; then it is too old for whatever is not worth keeping.
async fn send_relay(call: Call) -> Result<Response, Error> {
    if call.user_id(1)?.server_name() != call.server.name() {
        return Err(Error::invalid_param("That user is not on this server."));
    }
    let transaction = call.body()?;
    receive(call, transaction).await
}

async fn receive(call: Call, transaction: Transaction) -> Result<Response, Error> {
    let acknowledges = transaction.edus.iter().any(|edu| edu.get("edu_type").and_then(Value::as_str) == Some(RECEIVED));
    let answer = take(&call, transaction).await?;
    if call.request.header(MAILBOX_HEADER).is_some() && !acknowledges {
        note(&call.server, call.origin()?, call.param(0)).await?;
    }
    Ok(answer)
}

async fn take(call: &Call, transaction: Transaction) -> Result<Response, Error> {
    let (server, origin, id) = (&call.server, call.origin()?, call.param(0));
    if transaction.pdus.len() > MAX_PDUS || transaction.edus.len() > MAX_EDUS {
        return Err(Error::invalid_param(format!("A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs.")));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(Error::invalid_param(format!("A transaction ID has at most {MAX_ID_BYTES} bytes.")));
    }
    let _in_turn = server.receiver.origins.lock(origin).await;
    // What is no event has no ID under which the answer could speak of it.
    let events = transaction.pdus.iter().filter_map(|json| RawPdu::parse(json.get().as_bytes()).ok()).collect();
    // Whether the transaction is known is read together with whether its events are: those that come again change nothing.
    let (answered, received) = join(server.receiver.transactions.answer(origin, id), receive_pdus(server, origin, events)).await;
    if let Some(answer) = answered? {
        return Ok(Response::ok(&answer));
    }
    let edus: Vec<Edu> = transaction.edus.into_iter().filter_map(|edu| serde_json::from_value(edu).ok()).collect();
    let told = receive_edus(server, origin, transaction.origin_server_ts.unwrap_or_default(), edus).await?;
    server.receiver.heard_from(server.now(), origin);
    server.pending_joins.heard_from(origin);
    // Where there was no space for events, the transaction comes again, and the rest of it changes nothing then.
    let received = received?;
    let body = answer(&received);
    // Who has told nothing that was taken leaves no trace either.
    if told || received.values().any(Result::is_ok) {
        let (transactions, now) = (&server.receiver.transactions, server.now());
        if shares_room(server, origin).await? {
            transactions.remember(origin, id, &body, now).await?;
        } else {
            transactions.remember_stranger(origin, id, &body, now).await?;
        }
    }
    Ok(Response::ok(&body))
}

fn answer(received: &Received) -> Value {
    let results = received.iter().map(|(id, result)| {
        let result = match result {
            Ok(()) => json!({}),
            Err(why) => json!({ "error": why }),
        };
        (id.to_string(), result)
    });
    json!({ "pdus": results.gather::<Map<_, _>>() })
}
