//! What has become of a user's events on their way to other servers: an endpoint of this server's own.

use futures_util::future::{Either, select};
use ruma::{EventId, OwnedEventId, OwnedServerName};
use serde::Serialize;
use serde_json::json;

use super::{Access, Call, Route, handler};
use crate::{
    error::Error,
    federation_sender::delivery::{DestinationState, of_event},
    http::{Method, Response},
    ordered::OrderedMap,
    sight::Sight,
};

pub(super) const ROUTES: &[Route] =
    &[Route { method: Method::Get, path: "/_inglenook/rooms/{roomId}/delivery", access: Access::Token, handler: handler!(delivery) }];

/// So many events may be asked for at once: about what a client shows.
const MAX_EVENTS: usize = 100;

/// The longest that a request waits for a change, in milliseconds.
const MAX_WAIT_MILLIS: u64 = 60_000;

#[derive(Serialize)]
struct EventDelivery {
    /// Empty for what this server does not send to others.
    destinations: OrderedMap<OwnedServerName, DestinationState>,
}

/// The delivery of the events named by `event_id`, which may stand several times.
///
/// Each is answered with its destinations and their states: `queued`, `at_relay` or `delivered`; with a `reason` where the
/// destination would not take the event. With `since`, the `serial` of an earlier answer, the answer waits up to `timeout`
/// milliseconds until something has changed.
async fn delivery(call: Call) -> Result<Response, Error> {
    let (server, room) = (&call.server, call.room(0).await?);
    if !Sight::of(server, &room, call.user()?).await?.may_read() {
        return Err(Error::forbidden("You are not in that room."));
    }
    let events = wanted_events(&call)?;
    wait_for_change(&call).await?;
    let serial = server.federation_sender.deliveries.count();
    let mut deliveries = OrderedMap::new();
    for id in events {
        if let Some(event) = server.rooms.event_by_id(&room, &id).await? {
            let destinations = of_event(server, &event).await?;
            deliveries.insert(id, EventDelivery { destinations });
        }
    }
    // The serial counts from the server's start.
    Ok(Response::ok(&json!({ "events": deliveries, "serial": format!("{}.{serial}", server.boot) })))
}

fn wanted_events(call: &Call) -> Result<Vec<OwnedEventId>, Error> {
    let parse = |id: &str| EventId::parse(id).map_err(|_| Error::invalid_param(format!("{id:?} is no event ID.")));
    let events: Vec<_> = call.query_all("event_id").map(parse).collect::<Result<_, _>>()?;
    match events.len() {
        0 => Err(Error::missing_param("Say by event_id which events you ask for.")),
        1..=MAX_EVENTS => Ok(events),
        _ => Err(Error::invalid_param(format!("Ask for {MAX_EVENTS} events at most."))),
    }
}

async fn wait_for_change(call: &Call) -> Result<(), Error> {
    let (server, sender) = (&call.server, &call.server.federation_sender);
    let Some((boot, serial)) = call.query("since").and_then(|since| since.split_once('.')) else { return Ok(()) };
    let mut left = call.query_number("timeout")?.unwrap_or(0).min(MAX_WAIT_MILLIS);
    let until = server.now() + left;
    while boot == server.boot && serial == sender.deliveries.count().to_string() && left > 0 && !server.is_stopping() {
        let (changed, stopped) = (sender.deliveries.raised(), server.log.changed());
        let news = Box::pin(select(Box::pin(changed), Box::pin(stopped)));
        if let Either::Right(_) = select(news, server.ports.clock.sleep(left)).await {
            break;
        }
        left = until.saturating_sub(server.now());
    }
    Ok(())
}
