//! Fetching what came before events that this server has: the history of rooms that it joined late, or was away from.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events>

use std::{rc::Rc, sync::Arc};

use ruma::{OwnedEventId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Candidates, read,
    target::{path, with_query},
};
use crate::{
    arrange::Arrange,
    error::Error,
    event::{CheckedPdu, RawPdu},
    federation_receiver::{check_told, in_order, told_state},
    gather::Gather,
    history::place,
    ordered::{OrderedMap, OrderedSet},
    room_server::{
        Draft, Input, InputKind, Room, Undecided, Verdict,
        commit::gap_key,
        cover::{has_place, has_state},
        stored::StoredEvent,
    },
    server::Server,
    storage::Scan,
    tokens::TopologicalToken,
};

/// So many events are asked for at once: some screens of a conversation.
const MAX_EVENTS: usize = 100;

/// For so many events of an answer the state before them is asked for, since what is before them is missing: the branches on
/// which an answer ends.
const MAX_EDGES: usize = 5;

#[derive(Deserialize)]
struct Transaction {
    pdus: Vec<Box<RawValue>>,
}

/// The last event of a part of the timeline before which others are missing. The event at its upper end counts: what is missing
/// before that belongs to what is below.
pub(crate) async fn last_gap(
    server: &Server,
    room: &Room,
    from: TopologicalToken,
    to: TopologicalToken,
) -> Result<Option<TopologicalToken>, Error> {
    let key = |token: TopologicalToken| gap_key(room.number, token.depth, token.event);
    let rows = server.ports.store.scan(&Scan::range(key(to), key(from).byte(0)).reversed().limited(1)).await?;
    Ok(rows.first().and_then(place))
}

/// Asks other servers for what is missing before an event, and says whether anything came.
pub(crate) async fn backfill(server: &Server, room: &Rc<Room>, gap: TopologicalToken) -> Result<bool, Error> {
    let _lock = server.federation.backfilling.lock(&room.id).await;
    let event = server.rooms.events(room, &[gap.event]).await?.pop().ok_or_else(|| Error::bug("a gap has no event"))?;
    let Some(candidates) = neighbours(server, room, Some(event.pdu.sender.server_name())).await? else { return Ok(false) };
    let filled = candidates.first_to_help(async |peer| fill(server, room, &event, peer).await).await;
    match filled {
        Ok(()) => Ok(true),
        Err(error @ (Error::Storage(_) | Error::Bug(_))) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The servers that are in a room with this one, those with the most users first, but for one that comes before them; `None`
/// where this server is not in the room.
pub(super) async fn neighbours(server: &Server, room: &Room, first: Option<&ServerName>) -> Result<Option<Candidates>, Error> {
    let residents = server.rooms.residents(room).await?;
    if !residents.contains_key(server.identity.server_name()) {
        return Ok(None);
    }
    let mut others: Vec<_> = residents.iter().collect();
    others.arrange_by_key(|(_, members)| std::cmp::Reverse(**members));
    let others = others.into_iter().map(|(name, _)| name.clone());
    Ok(Some(Candidates::new(server, first.map(ToOwned::to_owned).into_iter().chain(others))))
}

async fn fill(server: &Server, room: &Rc<Room>, event: &Arc<StoredEvent>, peer: &ServerName) -> Result<(), Error> {
    let missing = missing(server, room, event).await?;
    if !missing.is_empty() {
        let events = ask(server, room, &missing, peer).await?;
        // What is before an event that was found apart is as little known to be before what is here.
        let kind = if event.decided.found { InputKind::Found } else { InputKind::Old };
        if place_all(server, room, events, kind, peer).await? == 0 {
            return Err(Error::not_found("The other server does not know what is missing either."));
        }
    }
    close(server, room, event).await
}

/// The events before this one that have no place here.
async fn missing(server: &Server, room: &Rc<Room>, event: &StoredEvent) -> Result<OrderedSet<OwnedEventId>, Error> {
    let previous = &event.pdu.prev_events;
    let found = server.rooms.ask(room, |view| view.events_by_id(previous.iter())).await?;
    let is_here = if event.decided.found { has_state } else { has_place };
    let absent = previous.iter().zip(found).filter(|(_, event)| !event.as_ref().is_some_and(|event| is_here(event)));
    Ok(absent.map(|(id, _)| id.clone()).gather())
}

/// Asks for the events and what is before them. Returns those that were asked for and what leads to them, each behind those
/// that it builds on.
async fn ask(server: &Server, room: &Room, missing: &OrderedSet<OwnedEventId>, peer: &ServerName) -> Result<Vec<CheckedPdu>, Error> {
    let limit = MAX_EVENTS.to_string();
    let query = missing.iter().map(|id| ("v", id.as_str())).chain([("limit", limit.as_str())]);
    let target = with_query(&path("v1/backfill", &[room.id.as_str()]), query);
    let answer: Transaction = read(&server.federation_client.get(peer, &target).await?)?;
    let raw = answer.pdus.iter().take(MAX_EVENTS).filter_map(|json| RawPdu::parse(json.get().as_bytes()).ok());
    let checked = check_told(server, (&room.id, &room.version), raw.collect(), Some(peer)).await.into_iter().flatten();
    let of_room = checked.filter(|event| event.pdu().room_id == room.id);
    let mut offered: OrderedMap<_, _> = of_room.map(|event| (event.pdu().event_id.clone(), event)).gather();
    let mut wanted: Vec<_> = missing.iter().cloned().collect();
    let mut taken = OrderedMap::new();
    while let Some(id) = wanted.pop() {
        if let Some(event) = offered.remove(&id) {
            wanted.extend(event.pdu().prev_events.iter().cloned());
            taken.insert(id, event);
        }
    }
    Ok(in_order(taken.values()).into_iter().filter_map(|id| taken.remove(&id)).collect())
}

/// Gives the events their places in the timeline, and returns how many got one.
pub(super) async fn place_all(
    server: &Server,
    room: &Rc<Room>,
    events: Vec<CheckedPdu>,
    kind: InputKind,
    peer: &ServerName,
) -> Result<usize, Error> {
    let (mut rest, mut placed) = (events.as_slice(), 0);
    for _ in 0..=MAX_EDGES {
        let done = server.rooms.transact_in(room, |draft| place_known(draft, rest, kind)).await?;
        placed += done;
        rest = rest.get(done..).unwrap_or_default();
        let Some((edge, others)) = rest.split_first() else { break };
        // What is before this one is missing here: another server must say how the room was then.
        let state = told_state(server, room, peer, &edge.pdu().event_id).await?;
        let verdict = server.rooms.transact_in(room, |draft| draft.receive_told(edge, kind, &state)).await?;
        placed += usize::from(!matches!(verdict, Verdict::Missing { .. }));
        rest = others;
    }
    Ok(placed)
}

/// Places events up to the first before which something is missing, and returns how many there were.
fn place_known(draft: &mut Draft<'_>, events: &[CheckedPdu], kind: InputKind) -> Result<usize, Undecided> {
    draft.foresee(events)?;
    for (index, event) in events.iter().enumerate() {
        let input = Input { event: event.clone(), kind, state_before: None };
        if let Verdict::Missing { .. } = draft.receive(&input)? {
            return Ok(index);
        }
    }
    Ok(events.len())
}

/// Forgets the gap if nothing is missing any more.
async fn close(server: &Server, room: &Rc<Room>, event: &StoredEvent) -> Result<(), Error> {
    if missing(server, room, event).await?.is_empty() {
        let key = gap_key(room.number, event.pdu.depth, event.number);
        let delete = |draft: &mut Draft<'_>| {
            draft.rows().delete(key.clone());
            Ok(())
        };
        server.rooms.transact_in(room, delete).await?;
    }
    Ok(())
}
