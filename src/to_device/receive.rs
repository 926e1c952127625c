//! Messages that another server brings for local devices: each is taken once, however often it comes.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#send-to-device-messaging>

use std::rc::Rc;

use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::{Messages, Recipients};
use crate::{
    error::Error,
    kept_rows::KeptRows,
    keys::remote::by_server,
    ports::Store,
    server::Server,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// The longest message ID that is taken: the specification allows 32 characters, of up to four bytes.
const MAX_ID_BYTES: usize = 128;

/// How long a message is remembered, in milliseconds: longer than any server, or a relay in its stead, tries to deliver it.
const REMEMBERED: u64 = 90 * 24 * 60 * 60 * 1000;

/// So many are remembered of all servers that share no room with anybody here: of a server that has to try again, more than it sends
/// meanwhile.
const REMEMBERED_OF_STRANGERS: u64 = 1_000;

/// With each message that comes, so many are forgotten of those that were remembered for their server alone, as once was done.
const FORGOTTEN_AT_ONCE: usize = 2;

/// The messages that were received.
pub(crate) struct ReceivedMessages {
    of_strangers: KeptRows,
    of_others: KeptRows,
}

impl ReceivedMessages {
    pub(crate) fn new(store: &Rc<dyn Store>) -> Self {
        let rows = |part, most| KeptRows::new(Rc::clone(store), Table::ToDeviceReceived, part, most, REMEMBERED);
        Self { of_strangers: rows(0, REMEMBERED_OF_STRANGERS), of_others: rows(1, u64::MAX) }
    }
}

/// The content of `m.direct_to_device`.
#[derive(Debug, Deserialize)]
struct DirectToDevice {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    message_id: String,
    messages: Messages,
}

/// Takes messages of another server, unless they came before. What is not of that server, or malformed, is dropped.
/// Returns whether anything came of it.
pub(crate) async fn receive(server: &Server, origin: &ServerName, content: Value) -> Result<bool, Error> {
    let Ok(DirectToDevice { sender, kind, message_id, messages }) = serde_json::from_value(content) else { return Ok(false) };
    if sender.server_name() != origin || message_id.len() > MAX_ID_BYTES {
        return Ok(false);
    }
    // Held so that the same message does not come twice at once.
    let _lock = server.accounts.lock(&sender).await;
    let received = received_key(origin, &message_id);
    if server.ports.store.get_many(std::slice::from_ref(&received)).await?.pop().flatten().is_some() {
        return Ok(false);
    }
    let (local, _) = by_server(server, messages);
    let mut recipients = Recipients::of(server, local).await?;
    let is_known = recipients.leave_out_full(server, &sender).await?;
    if recipients.devices.is_empty() {
        return Ok(false);
    }
    let now = server.now();
    let mut batch = Batch::new();
    let remembered = &server.received_messages;
    let kept = if is_known { &remembered.of_others } else { &remembered.of_strangers };
    kept.add(&received, now, &mut batch).await?;
    batch.put(received, now.to_be_bytes());
    forget_old(server, origin, now, &mut batch).await?;
    let appending = server.log.append(|positions| {
        recipients.write(&sender, &kind, positions, &mut batch);
        batch
    });
    appending.await?;
    Ok(true)
}

/// Forgets what was remembered for this server alone.
async fn forget_old(server: &Server, origin: &ServerName, now: u64, batch: &mut Batch) -> Result<(), Error> {
    let old = Scan::range(age_prefix(origin), age_prefix(origin).number(now.saturating_sub(REMEMBERED)));
    for row in server.ports.store.scan(&old.limited(FORGOTTEN_AT_ONCE)).await? {
        let mut key = KeyReader::new(&row.key);
        if let (Some(_), Some(_), Some(_), Some(message_id)) = (key.text(), key.byte(), key.number(), key.text()) {
            batch.delete(received_key(origin, &message_id));
        }
        batch.delete(Key::new(Table::ToDeviceReceived).raw(&row.key));
    }
    Ok(())
}

fn received_key(origin: &ServerName, message_id: &str) -> Key {
    Key::new(Table::ToDeviceReceived).text(origin.as_str()).byte(0).text(message_id)
}

fn age_prefix(origin: &ServerName) -> Key {
    Key::new(Table::ToDeviceReceived).text(origin.as_str()).byte(1)
}
