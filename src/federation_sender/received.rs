//! The acknowledgement of what came through a relay: an EDU `im.inglenook.received` with the IDs of the transactions, in a
//! transaction of their destination's own. Its request is signed, so that no relay can say in its place what has arrived.

use ruma::ServerName;
use serde::Deserialize;
use serde_json::Value;

use super::transaction::stretch_of;
use crate::{error::Error, server::Server};

/// The EDU's type.
pub(crate) const RECEIVED: &str = "im.inglenook.received";

#[derive(Deserialize)]
struct Received {
    transactions: Vec<String>,
}

/// Another server acknowledges transactions of this one.
pub(crate) async fn receive(server: &Server, origin: &ServerName, content: &Value) -> Result<(), Error> {
    let Ok(Received { transactions }) = Received::deserialize(content) else { return Ok(()) };
    let (sender, now) = (&server.federation_sender, server.now());
    let stretches: Vec<_> = transactions.iter().filter_map(|id| stretch_of(id, &server.identity)).collect();
    let acknowledging = |destination: &mut super::Destination| {
        stretches.iter().map(|stretch| destination.acknowledge(now, stretch)).fold(false, |any, is_news| any | is_news)
    };
    if sender.with(origin, acknowledging).unwrap_or_default() {
        sender.deliveries.raise();
        sender.woken.raise();
    }
    Ok(())
}
