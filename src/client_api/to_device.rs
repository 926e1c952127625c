//! Sending messages to devices.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging>

use serde::Deserialize;
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    http::{Method, Response},
    storage::Batch,
    to_device::{self, Messages},
    transactions::Begun,
};

pub(super) const ROUTES: &[Route] = &[Route {
    method: Method::Put,
    path: "/_matrix/client/{version}/sendToDevice/{eventType}/{txnId}",
    access: Access::Token,
    handler: handler!(send),
}];

#[derive(Deserialize)]
struct Sent {
    messages: Messages,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>
async fn send(call: Call) -> Result<Response, Error> {
    let Sent { messages } = call.body()?;
    let (server, session, kind) = (&call.server, call.caller()?, call.param(0));
    let transaction = match server.transactions.begin(session, format!("sendToDevice/{kind}"), call.param(1)).await? {
        Begun::Answered(body) => return Ok(Response::ok(&body)),
        Begun::New(transaction) => transaction,
    };
    let (body, mut rows) = (json!({}), Batch::new());
    transaction.store(&body, &mut rows);
    to_device::send(server, &session.user, kind, messages, rows).await?;
    transaction.remember(body.clone());
    Ok(Response::ok(&body))
}
