//! Taking in the events that a server sends: what becomes of each, and what has to wait.

use std::rc::Rc;

use futures_util::{FutureExt, StreamExt, stream};
use ruma::{OwnedEventId, OwnedRoomId, RoomId, ServerName};

use super::{
    awaits_entry,
    check::{Unchecked, check},
    deliver::{Arrival, Kept, Outcome, deliver},
    is_heard,
    merge::merge,
    outside::receive_outside,
    schedule::GapId,
    waiting::NewWaiting,
};
use crate::{
    error::Error,
    event::{RawPdu, RoomVersion},
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    room_server::{Room, cover::has_place},
    server::Server,
};

/// So many rooms of a transaction are looked at side by side: what one of them waits for does not hold up the others.
const ROOMS_AT_A_TIME: usize = 10;

/// When a server for whose events there is no space may come again, in milliseconds: by then what waits was tried to be placed.
const PAUSE_MILLIS: u64 = 60_000;

pub(super) const NOT_HERE: &str = "This server is not in that room.";

const NOT_ALLOWED: &str = "The room does not allow this.";

/// What became of events: those that this server has or keeps, and why it does not have the others.
pub(crate) type Received = OrderedMap<OwnedEventId, Result<(), String>>;

/// Takes in events of any rooms. What has no ID in the version of its room, and what is of no room, is left out. Where this fails, some
/// of them may have been taken; they do no harm when they come again.
pub(crate) async fn receive_pdus(server: &Server, origin: &ServerName, events: Vec<RawPdu>) -> Result<Received, Error> {
    let mut by_room: OrderedMap<OwnedRoomId, Vec<RawPdu>> = OrderedMap::new();
    for raw in events {
        if let Some(room) = raw.room_id().and_then(|room| RoomId::parse(room).ok()) {
            by_room.entry(room).or_default().push(raw);
        }
    }
    let receiving = by_room.into_iter().map(|(room, events)| async move { receive_in(server, origin, &room, events).await }.boxed_local());
    // All come to their end, whatever becomes of one: a commit that is dropped halfway would leave memory behind the disk.
    let results: Vec<_> = stream::iter(receiving).buffer_unordered(ROOMS_AT_A_TIME).collect().await;
    let mut received = Received::new();
    for result in results {
        received.extend(result?);
    }
    Ok(received)
}

async fn receive_in(server: &Server, origin: &ServerName, id: &RoomId, events: Vec<RawPdu>) -> Result<Received, Error> {
    if awaits_entry(server, id).await? {
        return keep_until_entered(server, origin, id, &events).await;
    }
    let Some(room) = server.rooms.room(id).await? else { return Ok(refused(events.iter().filter_map(probable_id), NOT_HERE)) };
    let events: OrderedMap<_, _> = events.into_iter().filter_map(|raw| Some((raw.event_id(&room.version).ok()?, raw))).gather();
    if !is_heard(server, &room, origin).await? {
        return Ok(refused(events.into_keys(), "The room shuts your server out."));
    }
    if server.rooms.residents(&room).await?.contains_key(server.identity.server_name()) {
        receive_open(server, origin, &room, events).await
    } else {
        receive_outside(server, origin, &room, events).await
    }
}

/// The others know of a join before this server does: what they send of the room waits until it is here, or is not to come.
async fn keep_until_entered(server: &Server, origin: &ServerName, id: &RoomId, events: &[RawPdu]) -> Result<Received, Error> {
    let gap = (id.to_owned(), origin.to_owned());
    let waiting: Vec<_> = events.iter().filter_map(|raw| Some(NewWaiting::unchecked(probable_id(raw)?, raw))).collect();
    let received = waiting.iter().map(|event| (event.id.clone(), Ok(()))).gather();
    keep(server, &gap, waiting, false).await?;
    Ok(received)
}

/// What is not known as an event of a room has the ID that it says, or the one of a recent room version: enough to tell its
/// sender of which one is spoken.
fn probable_id(raw: &RawPdu) -> Option<OwnedEventId> {
    let told = raw.field("event_id").and_then(|id| id.as_str()).and_then(|id| ruma::EventId::parse(id).ok());
    told.or_else(|| raw.event_id(&RoomVersion::parse(crate::event::DEFAULT_ROOM_VERSION.as_str())?).ok())
}

pub(super) fn refused(ids: impl IntoIterator<Item = OwnedEventId>, why: &str) -> Received {
    ids.into_iter().map(|id| (id, Err(why.to_owned()))).gather()
}

async fn receive_open(
    server: &Server,
    origin: &ServerName,
    room: &Rc<Room>,
    mut events: OrderedMap<OwnedEventId, RawPdu>,
) -> Result<Received, Error> {
    let mut received = Received::new();
    for id in known(server, room, events.keys().cloned().collect()).await? {
        events.remove(&id);
        received.insert(id, Ok(()));
    }
    let (ids, raw): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let (mut arrivals, mut waiting) = (Vec::new(), Vec::new());
    for ((checked, id), raw) in check(server, (&room.id, &room.version), raw.clone()).await.into_iter().zip(ids).zip(raw) {
        match checked {
            Ok(event) if event.pdu().room_id == room.id => arrivals.push(Arrival { event, row: None }),
            Ok(_) => drop(received.insert(id, Err("This is no event of that room.".into()))),
            Err(Unchecked::Unfit(unfit)) => drop(received.insert(id, Err(unfit.to_string()))),
            Err(Unchecked::NoKey) => waiting.push(NewWaiting::unchecked(id, &raw)),
        }
    }
    let is_resident = server.rooms.is_resident(room, origin).await?;
    if !is_resident {
        received.extend(refused(refuse_at_once(server, room, &mut arrivals).await?, NOT_ALLOWED));
    }
    let mut placed = OrderedSet::new();
    let kept = if is_resident { Kept::All } else { Kept::Accepted(&[]) };
    let mut outcomes = deliver(server, room, arrivals.clone(), kept).await?;
    for Arrival { event, .. } in arrivals {
        let id = event.pdu().event_id.clone();
        match outcomes.remove(&id) {
            Some(Outcome::Placed) => {
                placed.insert(id.clone());
                received.insert(id, Ok(()));
            }
            Some(Outcome::Refused) => drop(received.insert(id, Err(NOT_ALLOWED.into()))),
            Some(Outcome::Missing) => waiting.push(NewWaiting::checked(&event)),
            Some(Outcome::Failed(why)) => drop(received.insert(id, Err(why))),
            None => drop(received.insert(id, Err("The event names others in a circle.".into()))),
        }
    }
    merge(server, room).await?;
    server.receiver.placed(server.now(), &room.id, &placed);
    received.extend(keep_waiting(server, origin, room, waiting).await?);
    Ok(received)
}

/// Takes out what its own authorising events do not allow and nothing else builds on: whoever is not in the room is to cause few requests.
async fn refuse_at_once(server: &Server, room: &Rc<Room>, arrivals: &mut Vec<Arrival>) -> Result<OrderedSet<OwnedEventId>, Error> {
    let named: OrderedSet<_> = arrivals.iter().flat_map(|arrival| &arrival.event.pdu().prev_events).cloned().gather();
    let events = arrivals.iter().map(|arrival| arrival.event.clone()).filter(|event| !named.contains(&event.pdu().event_id));
    let events: Vec<_> = events.collect();
    let refused = server.rooms.transact_in(room, |draft| {
        draft.foresee(&events)?;
        let mut refused = OrderedSet::new();
        for event in &events {
            if draft.is_refused_at_once(event)? {
                refused.insert(event.pdu().event_id.clone());
            }
        }
        Ok(refused)
    });
    let refused = refused.await?;
    arrivals.retain(|arrival| !refused.contains(&arrival.event.pdu().event_id));
    Ok(refused)
}

/// Those of the events that have their place already.
async fn known(server: &Server, room: &Room, ids: Vec<OwnedEventId>) -> Result<Vec<OwnedEventId>, Error> {
    let found = server.rooms.ask(room, |view| view.events_by_id(ids.iter())).await?;
    let known = ids.into_iter().zip(found).filter(|(_, event)| event.as_ref().is_some_and(|event| has_place(event)));
    Ok(known.map(|(id, _)| id).collect())
}

async fn keep_waiting(server: &Server, origin: &ServerName, room: &Room, waiting: Vec<NewWaiting>) -> Result<Received, Error> {
    if waiting.is_empty() {
        return Ok(Received::new());
    }
    let gap = (room.id.clone(), origin.to_owned());
    let is_resident = server.rooms.residents(room).await?.contains_key(origin);
    let received = waiting.iter().map(|event| (event.id.clone(), Ok(()))).gather();
    keep(server, &gap, waiting, is_resident).await?;
    Ok(received)
}

/// Keeps what waits. Where there is no space for it, its sender is to come again: an event of which it is told an error, it sends no more.
async fn keep(server: &Server, gap: &GapId, waiting: Vec<NewWaiting>, is_resident: bool) -> Result<(), Error> {
    let has_failed = |gap: &GapId| server.receiver.schedule.borrow().has_failed(gap);
    let kept = server.receiver.waiting.add(gap, waiting, is_resident, &has_failed).await;
    server.receiver.heard(server.now(), std::slice::from_ref(gap));
    server.receiver.schedule.borrow_mut().note_stranger(gap, !is_resident);
    if kept? {
        return Ok(());
    }
    let why = "Too many events of your server wait for others.";
    Err(Error::refused(429, "M_LIMIT_EXCEEDED", why).with("retry_after_ms", PAUSE_MILLIS))
}
