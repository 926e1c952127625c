//! Asking the others in a room for one event: that of an ID, or that of a time.

use std::rc::Rc;

use ruma::{EventId, OwnedEventId, ServerName};
use serde::Deserialize;

use super::{
    backfill::{neighbours, place_all},
    malformed, read,
    target::{path, with_query},
};
use crate::{
    error::Error,
    event::CheckedPdu,
    federation_receiver::{check, fetch_single},
    history::Direction,
    ordered::OrderedSet,
    room_server::{InputKind, Room},
    server::Server,
};

/// Asks for an event that is missing here and gives it a place in the timeline. Says whether anybody had it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid>
pub(crate) async fn find_event(server: &Server, room: &Rc<Room>, id: &EventId) -> Result<bool, Error> {
    let _lock = server.federation.backfilling.lock(&room.id).await;
    let Some(candidates) = neighbours(server, room, None).await? else { return Ok(false) };
    match candidates.first_to_help(async |peer| fetch(server, room, id, peer).await).await {
        Ok(()) => Ok(true),
        Err(error @ (Error::Storage(_) | Error::Bug(_))) => Err(error),
        Err(_) => Ok(false),
    }
}

async fn fetch(server: &Server, room: &Rc<Room>, id: &EventId, peer: &ServerName) -> Result<(), Error> {
    let told = fetch_single(server, room, peer, &OrderedSet::from([id.to_owned()])).await;
    let checked = check(server, (&room.id, &room.version), told).await.into_iter().flatten();
    let of_room: Vec<CheckedPdu> = checked.filter(|event| event.pdu().room_id == room.id).collect();
    match place_all(server, room, of_room, InputKind::Found, peer).await? {
        0 => Err(Error::not_found("The other server does not have the event.")),
        _ => Ok(()),
    }
}

/// An event as another server finds it by its time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Timed {
    pub(crate) event_id: OwnedEventId,
    pub(crate) origin_server_ts: u64,
}

/// Asks for the event closest to a time, and tells what the first says who knows of one.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid>
pub(crate) async fn event_of_time(server: &Server, room: &Room, time: u64, direction: Direction) -> Result<Option<Timed>, Error> {
    let Some(candidates) = neighbours(server, room, None).await? else { return Ok(None) };
    let dir = if direction == Direction::Forward { "f" } else { "b" };
    let target = with_query(&path("v1/timestamp_to_event", &[room.id.as_str()]), [("ts", &*time.to_string()), ("dir", dir)]);
    let ask = async |peer: &ServerName| {
        let timed: Timed = read(&server.federation_client.get(peer, &target).await?)?;
        let is_in_direction = match direction {
            Direction::Forward => timed.origin_server_ts >= time,
            Direction::Backward => timed.origin_server_ts <= time,
        };
        if is_in_direction { Ok(timed) } else { Err(malformed("the event is in the other direction")) }
    };
    match candidates.first_to_help(ask).await {
        Ok(timed) => Ok(Some(timed)),
        Err(error @ (Error::Storage(_) | Error::Bug(_))) => Err(error),
        Err(_) => Ok(None),
    }
}
