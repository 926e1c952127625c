//! Up to where users of other servers have read.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#receipts>

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedRoomId, ServerName};
use serde::Deserialize;
use serde_json::Value;

use super::{room_of, user_id};
use crate::{
    error::Error,
    ordered::OrderedMap,
    receipts::{self, MAIN, NewReceipt, READ},
    room_server::{
        Room,
        stored::{Status, StoredEvent},
    },
    server::Server,
};

/// Receipts by room, type and user.
type Receipts = OrderedMap<OwnedRoomId, OrderedMap<String, OrderedMap<String, Value>>>;

/// A receipt names so many events at most: the ends of the branches that the user has read.
const MAX_EVENTS: usize = 20;

#[derive(Deserialize)]
struct Receipt {
    event_ids: Vec<OwnedEventId>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    ts: Option<u64>,
    thread_id: Option<String>,
}

pub(super) async fn receive(server: &Server, origin: &ServerName, content: Value) -> Result<bool, Error> {
    let Ok(rooms) = serde_json::from_value::<Receipts>(content) else { return Ok(false) };
    let mut any = false;
    for (room, mut kinds) in rooms {
        for (user, receipt) in kinds.remove(READ).unwrap_or_default() {
            let (Some(user), Ok(receipt)) = (user_id(&user), serde_json::from_value::<Receipt>(receipt)) else { continue };
            let Some(room) = room_of(server, origin, &room, &user).await? else { continue };
            let thread = receipt.data.thread_id.filter(|thread| !thread.is_empty());
            if !is_known(server, &room, thread.as_deref()).await? {
                continue;
            }
            let Some(new) = last_of(server, &room, &receipt.event_ids, thread, receipt.data.ts).await? else { continue };
            receipts::add(server, &room, &user, vec![new]).await?;
            any = true;
        }
    }
    Ok(any)
}

/// Whether there is such a thread. There is a receipt for each, and servers could make up any number of them.
async fn is_known(server: &Server, room: &Room, thread: Option<&str>) -> Result<bool, Error> {
    let Some(root) = thread.filter(|thread| *thread != MAIN) else { return Ok(true) };
    let Ok(root) = EventId::parse(root) else { return Ok(false) };
    Ok(server.rooms.event_by_id(room, &root).await?.is_some_and(|root| root.is_shown()))
}

/// The receipt of the last of the events that clients are told of. Where all of them are still to come, as one may from a server
/// that cannot be reached now, the receipt is told before its event.
async fn last_of(
    server: &Server,
    room: &Room,
    ids: &[OwnedEventId],
    thread: Option<String>,
    ts: Option<u64>,
) -> Result<Option<NewReceipt>, Error> {
    let ids = ids.get(..MAX_EVENTS).unwrap_or(ids);
    let events = server.rooms.ask(room, |view| view.events_by_id(ids.iter())).await?;
    let is_to_come = |event: &Option<Arc<StoredEvent>>| event.as_ref().is_none_or(|event| event.decided.status == Status::Outlier);
    let to_come = ids.iter().zip(&events).find(|(_, event)| is_to_come(event)).map(|(id, _)| id.clone());
    let shown = events.into_iter().flatten().filter(|event| event.is_shown()).max_by_key(|event| event.decided.position);
    Ok(match shown {
        Some(event) => Some(NewReceipt { ts, ..NewReceipt::of(READ, thread, &event) }),
        None => to_come.map(|event_id| NewReceipt { kind: READ, thread, event_id, read_upto: None, ts }),
    })
}
