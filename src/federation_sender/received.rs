//! The acknowledgement of what came through a relay: an EDU `im.inglenook.received` with the IDs of the transactions, in a
//! transaction of their destination's own. Its request is signed, so that no relay can say in its place what has arrived.

use ruma::ServerName;
use serde::Deserialize;
use serde_json::Value;

use super::transaction::stretch_of;
use crate::{
    error::Error,
    server::Server,
    storage::{Batch, Key, Table},
};

/// The EDU's type.
pub(crate) const RECEIVED: &str = "im.inglenook.received";

/// So many acknowledgements wait for a server at most: what one sender may have in a mailbox of a relay's default size. What is
/// not acknowledged comes again when the relays' time is over.
const MAX_OWED: usize = 10_000;

#[derive(Deserialize)]
struct Received {
    transactions: Vec<String>,
}

/// Another server acknowledges transactions of this one.
pub(crate) fn receive(server: &Server, origin: &ServerName, content: &Value) -> Result<bool, Error> {
    let Ok(Received { transactions }) = Received::deserialize(content) else { return Ok(false) };
    let (sender, now) = (&server.federation_sender, server.now());
    let stretches: Vec<_> = transactions.iter().filter_map(|id| stretch_of(id, &server.identity)).collect();
    let acknowledging = |destination: &mut super::Destination| {
        stretches.iter().map(|stretch| destination.acknowledge(now, stretch)).fold(false, |any, is_news| any | is_news)
    };
    let is_news = sender.with(origin, acknowledging).unwrap_or_default();
    if is_news {
        sender.deliveries.raise();
        sender.woken.raise();
    }
    Ok(is_news)
}

/// A transaction of another server came through a relay, and is done: it is to be acknowledged. A stranger's of which nothing was
/// taken is not, since anybody can make keys; nor is anything of a server that takes no acknowledgements.
///
/// What is lost with the power is made up for: the other server sends again what stays without acknowledgement.
pub(crate) async fn note(server: &Server, origin: &ServerName, id: &str) -> Result<(), Error> {
    let sender = &server.federation_sender;
    let owed = sender.with(origin, |destination| destination.owed_acknowledgements());
    let is_due = match owed {
        Some(owed) => owed < MAX_OWED,
        None => server.receiver.transactions.answer(origin, id).await?.is_some(),
    };
    if !is_due {
        return Ok(());
    }
    let mut batch = Batch::relaxed();
    batch.put(acknowledgement_key(origin, id), []);
    server.ports.store.commit(batch).await?;
    sender.with_new(origin, |destination| destination.note(|notes| notes.acknowledged.extend([id.to_owned()])));
    sender.woken.raise();
    Ok(())
}

pub(super) fn acknowledgement_key(origin: &ServerName, id: &str) -> Key {
    Key::new(Table::Acknowledgements).text(origin.as_str()).text(id)
}
