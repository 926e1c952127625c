//! What has become of an event at each of its destinations. It follows from how far they have come; nothing is stored for it.

use ruma::OwnedServerName;
use serde::Serialize;

use super::{audience::Audience, progress::Delivery};
use crate::{
    error::Error,
    gather::Gather,
    log::Output,
    ordered::OrderedMap,
    room_server::{Position, stored::StoredEvent},
    server::Server,
};

/// What has become of an event at one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DestinationState {
    state: Delivery,
    /// Why the destination would not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The event's destinations; none where it is not for this server to send it.
pub(crate) async fn of_event(server: &Server, event: &StoredEvent) -> Result<OrderedMap<OwnedServerName, DestinationState>, Error> {
    let position = event.decided.position;
    let entry = server.log.read(position, 1).await?.pop().filter(|(at, _)| *at == position && position > Position(0));
    let Some((_, output @ Output::Event { .. })) = entry else { return Ok(OrderedMap::new()) };
    let audience = Audience::of(server, &output).await?;
    let sender = &server.federation_sender;
    let servers = audience.servers(&sender.room_servers.borrow(), position);
    let servers = servers.into_iter().filter(|name| name != server.identity.server_name());
    Ok(servers.map(|name| (name.clone(), state_at(server, &name, position))).gather())
}

fn state_at(server: &Server, name: &OwnedServerName, position: Position) -> DestinationState {
    let sender = &server.federation_sender;
    let is_read = position <= sender.read_upto.get();
    let known = sender.with(name, |destination| {
        let reason = destination.progress.refusal(position).map(str::to_owned);
        DestinationState { state: destination.delivery(position), reason }
    });
    match known {
        Some(known) if is_read => known,
        // A destination has a row from the moment on at which it is first sent anything.
        _ => DestinationState { state: Delivery::Queued, reason: None },
    }
}
