//! The state before an event as another server tells it, with all of its events stored.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use ruma::{EventId, OwnedEventId, ServerName};

use super::{
    ask::{self, unique},
    check::check,
    order::in_order,
};
use crate::{
    error::Error,
    event::{CheckedPdu, RawPdu},
    federation_client::PeerError,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    room_server::{Room, import::ToldEvent},
    server::Server,
};

/// So many events are looked up, checked and committed at once.
const CHUNK: usize = 100;

/// Up to so many events are asked for one by one; for more, the whole state.
const MAX_SINGLE: usize = 50;

/// So many requests for single events are under way at a time.
const AT_A_TIME: usize = 8;

/// Asks a server for the state before an event and stores what is not here of it.
///
/// Fails where the server does not tell all of it: a state with holes is not the state. Events that it tells and that turn out
/// to be none are no part of it for anybody.
pub(crate) async fn told_state(server: &Server, room: &Rc<Room>, peer: &ServerName, event: &EventId) -> Result<Vec<ToldEvent>, Error> {
    let asked = ask_state(server, room, peer, event).await?;
    take_state(server, room, asked).await
}

/// A state as a server tells it: its IDs, and those of its events that are not here.
pub(super) struct AskedState {
    state: Vec<OwnedEventId>,
    events: Vec<RawPdu>,
}

/// Asks a server for the state before an event, and writes nothing.
pub(super) async fn ask_state(server: &Server, room: &Room, peer: &ServerName, event: &EventId) -> Result<AskedState, Error> {
    let ids = ask::state_ids(server, peer, &room.id, event).await?;
    let state = unique(ids.pdu_ids);
    let absent = absent(server, room, &unique(state.iter().cloned().chain(ids.auth_chain_ids))).await?;
    let events = fetch(server, room, peer, event, &absent).await?;
    Ok(AskedState { state, events })
}

/// So many events of a state are taken on the word of a server that is not in the room: they are decided in one go, with the event that
/// they are for.
const MAX_TOLD_BY_STRANGER: usize = 1_000;

/// A state as a server tells it that is not in the room: its IDs, and what is not here of it, each event behind those that authorise it.
/// Writes nothing.
pub(super) async fn check_state(server: &Server, room: &Room, asked: AskedState) -> Result<(Vec<OwnedEventId>, Vec<CheckedPdu>), Error> {
    let AskedState { mut state, events } = asked;
    if events.len() > MAX_TOLD_BY_STRANGER {
        return Err(PeerError::Malformed("the state has more that is unknown than a server that is not in the room may tell".into()).into());
    }
    let told: OrderedSet<_> = events.iter().filter_map(|raw| raw.event_id(&room.version).ok()).gather();
    let events = check_in_order(server, room, events).await;
    let fit: OrderedSet<_> = events.iter().map(|event| &event.pdu().event_id).gather();
    state.retain(|id| fit.contains(id) || !told.contains(id));
    Ok((state, events))
}

/// Stores what is not here of a state, and returns it.
pub(super) async fn take_state(server: &Server, room: &Rc<Room>, asked: AskedState) -> Result<Vec<ToldEvent>, Error> {
    let AskedState { state, events } = asked;
    let told: OrderedSet<_> = events.iter().filter_map(|raw| raw.event_id(&room.version).ok()).gather();
    store(server, room, events).await?;
    let mut found = Vec::new();
    for chunk in state.chunks(CHUNK) {
        let events = server.rooms.transact_in(room, |draft| Ok(draft.told_events(chunk)?)).await?;
        for (id, event) in chunk.iter().zip(events) {
            match event {
                Some(event) => found.extend(event),
                None if told.contains(id) => {}
                None => return Err(PeerError::Malformed(format!("{id} of the state was not told")).into()),
            }
        }
    }
    Ok(found)
}

/// Those of the events that are not stored.
pub(super) async fn absent(server: &Server, room: &Room, ids: &[OwnedEventId]) -> Result<OrderedSet<OwnedEventId>, Error> {
    let mut absent = OrderedSet::new();
    for chunk in ids.chunks(CHUNK) {
        let numbers = server.rooms.ask(room, |view| {
            let need = chunk.iter().filter_map(|id| view.number(id).err()).reduce(|mut all, more| {
                all.merge(more);
                all
            });
            need.map_or_else(|| chunk.iter().map(|id| view.number(id)).collect::<Result<Vec<_>, _>>(), Err)
        });
        absent.extend(chunk.iter().zip(numbers.await?).filter(|(_, number)| number.is_none()).map(|(id, _)| id.clone()));
    }
    Ok(absent)
}

async fn fetch(
    server: &Server,
    room: &Room,
    peer: &ServerName,
    event: &EventId,
    wanted: &OrderedSet<OwnedEventId>,
) -> Result<Vec<RawPdu>, Error> {
    if wanted.len() <= MAX_SINGLE {
        return Ok(fetch_single(server, room, peer, wanted).await);
    }
    ask::state(server, peer, &room.id, event, |raw| raw.event_id(&room.version).is_ok_and(|id| wanted.contains(&id))).await
}

/// Those of the events that the server gives.
pub(crate) async fn fetch_single(server: &Server, room: &Room, peer: &ServerName, wanted: &OrderedSet<OwnedEventId>) -> Vec<RawPdu> {
    let asked = stream::iter(wanted).map(|id| async move {
        let raw = ask::event(server, peer, id).await.ok()??;
        raw.event_id(&room.version).is_ok_and(|told| told == *id).then_some(raw)
    });
    asked.buffer_unordered(AT_A_TIME).filter_map(async |raw| raw).collect().await
}

/// Checks events and stores them as outliers. What is none is left out.
pub(super) async fn store(server: &Server, room: &Rc<Room>, events: Vec<RawPdu>) -> Result<(), Error> {
    for chunk in check_in_order(server, room, events).await.chunks(CHUNK) {
        server.rooms.transact_in(room, |draft| draft.take_in(chunk)).await?;
    }
    Ok(())
}

/// Those that are events of the room, each behind those that authorise it.
pub(super) async fn check_in_order(server: &Server, room: &Room, events: Vec<RawPdu>) -> Vec<CheckedPdu> {
    let checked = check(server, (&room.id, &room.version), events).await.into_iter().flatten();
    let checked = checked.filter(|event| event.pdu().room_id == room.id).map(|event| (event.pdu().event_id.clone(), event));
    let mut checked: OrderedMap<OwnedEventId, CheckedPdu> = checked.gather();
    in_order(checked.values()).into_iter().filter_map(|id| checked.remove(&id)).collect()
}
