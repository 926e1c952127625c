//! The two endpoints by which Dendrite's peers leave and fetch transactions at a relay.

use inglenook_protocol::{message::read_request, x_matrix::Authorization};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    content::Transaction,
    origin::{self, WholeRequest},
    relay::{Caller, Relay},
    reply::{Answer, Refused, json},
    store::Entry,
    target::{Target, query, segments},
};

/// Leaves a transaction for the server of a user: 200 when it is stored.
pub(crate) async fn send_relay(relay: &Relay, user: &str, request: WholeRequest, caller: &Caller) -> Answer {
    let user = user_id(user)?;
    let transaction = Transaction::read(&request.body).ok_or_else(|| Refused::bad("The body is no transaction, or a too large one."))?;
    let origin = origin::verify(&request, &addressed(relay, &request))?;
    if !relay.serves(user.server_name()).await? {
        return Err(Refused::not_found(format!("{} is not served here.", user.server_name())));
    }
    relay.put(user.server_name(), origin, &request, transaction.content(), caller.address()).await?;
    Ok(json(200, &json!({})))
}

/// The oldest transaction that waits for the server of a user, once the one that it has taken is removed.
pub(crate) async fn relay_txn(relay: &Relay, user: &str, request: WholeRequest) -> Answer {
    let user = user_id(user)?;
    let taken = entry_id(&request)?;
    let origin = origin::verify(&request, &addressed(relay, &request))?;
    if origin != user.server_name() {
        return Err(Refused::forbidden("A mailbox is for its owner alone."));
    }
    if taken > 0 {
        relay.store.remove(&origin, taken).await?;
    }
    let answer = match oldest(relay, &origin).await? {
        Some((id, request)) => {
            let transaction: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            json!({ "transaction": transaction, "entry_id": id, "entries_queued": true, "request": whole_request(&request) })
        }
        None => json!({ "transaction": { "pdus": [] }, "entry_id": 0, "entries_queued": false }),
    };
    Ok(json(200, &answer))
}

/// The name by which the request calls this relay: its own, or a host that leads here.
fn addressed(relay: &Relay, request: &WholeRequest) -> OwnedServerName {
    let header = request.headers.first("authorization").and_then(|header| Authorization::parse(header).ok());
    let named = header.and_then(|header| header.destination).filter(|named| relay.is_own_host(named.as_str()));
    named.unwrap_or_else(|| relay.identity.name().clone())
}

/// The first entry that is a transaction; an invitation is not, and waits for the tunnel.
async fn oldest(relay: &Relay, mailbox: &ServerName) -> Result<Option<(u64, WholeRequest)>, Refused> {
    let mut after = 0;
    while let Some(Entry { id, request, .. }) = relay.store.next(mailbox, after).await? {
        let failed = |error: std::io::Error| Refused::failed(format!("A stored request: {error}."));
        let request = read_request(request.as_slice()).await.map_err(failed)?;
        let body = inglenook_protocol::message::collect(request.body, usize::MAX).await.map_err(failed)?;
        let request =
            WholeRequest { method: request.method, authority: request.authority, uri: request.uri, headers: request.headers, body };
        if is_transaction(&request) {
            return Ok(Some((id, request)));
        }
        after = id;
    }
    Ok(None)
}

fn is_transaction(request: &WholeRequest) -> bool {
    !matches!(Target::of(&request.method, &request.uri), Target::Invite(..))
        && segments(&request.uri).iter().any(|segment| segment == "send" || segment == "send_relay")
}

/// The request as it was signed, so that its receiver can verify it.
fn whole_request(request: &WholeRequest) -> Value {
    json!({
        "method": request.method,
        "uri": request.uri,
        "destination": request.authority,
        "authorization": request.headers.first("authorization"),
        "content": String::from_utf8_lossy(&request.body),
    })
}

fn user_id(user: &str) -> Result<OwnedUserId, Refused> {
    UserId::parse(user).map_err(|_| Refused::new(400, "M_INVALID_USERNAME", "That is no user ID."))
}

#[derive(Deserialize)]
struct EntryId {
    entry_id: u64,
}

/// In the body, or in the query for those who cannot send a body with GET.
fn entry_id(request: &WholeRequest) -> Result<u64, Refused> {
    let wrong = || Refused::bad("entry_id is missing or no number.");
    if request.body.is_empty() {
        return query(&request.uri, "entry_id").and_then(|id| id.parse().ok()).ok_or_else(wrong);
    }
    serde_json::from_slice::<EntryId>(&request.body).map(|body| body.entry_id).map_err(|_| wrong())
}
