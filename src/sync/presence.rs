//! The presence of those who share a room with the user.

use ruma::OwnedUserId;
use serde_json::{Value, json};

use super::{device_lists::Circle, window::Window};
use crate::{
    error::Error,
    gather::Gather,
    log::Output,
    ordered::OrderedSet,
    presence::{self, State},
    server::Server,
    sharing,
};

/// What has changed in a window, or who is there at all for a client that has seen nothing yet.
pub(super) async fn events(server: &Server, window: &Window, circle: &Circle) -> Result<Vec<Value>, Error> {
    let filter = &window.filter.presence;
    if !filter.allows_type("m.presence") || filter.limit == Some(0) {
        return Ok(Vec::new());
    }
    let store = &*server.ports.store;
    let changed: OrderedSet<_> = match window.since {
        None => presence::present(store).await?,
        Some(since) if server.log.any_since(since.position, |output| matches!(output, Output::Presence { .. })) => {
            presence::changed_since(store, since.position, window.upto).await?
        }
        Some(_) => Vec::new(),
    }
    .into_iter()
    .gather();
    let is_own = changed.contains(&window.user);
    let mut concerned = sharing::in_rooms(server, &circle.rooms, changed).await?;
    if is_own {
        concerned.insert(window.user.clone());
    }
    let mut events = Vec::new();
    for user in concerned.iter().chain(circle.came.difference(&concerned)) {
        if filter.allows("m.presence", user.as_str(), || Value::Null) {
            events.extend(event(server, window, user, concerned.contains(user)).await?);
        }
    }
    events.truncate(filter.most());
    Ok(events)
}

/// Who is new to the client is told only if there is something to tell.
async fn event(server: &Server, window: &Window, user: &OwnedUserId, has_changed: bool) -> Result<Option<Value>, Error> {
    let told = presence::of(server, user).await?.filter(|told| has_changed || told.state != State::Offline);
    Ok(told.map(|told| json!({ "type": "m.presence", "sender": user, "content": told.content(window.now) })))
}
