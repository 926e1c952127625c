//! Handing checked events to the room server, many in one commit.

use std::rc::Rc;

use ruma::OwnedEventId;

use super::order::in_order;
use crate::{
    error::Error,
    event::CheckedPdu,
    gather::Gather,
    ordered::OrderedMap,
    policy_servers::recommended,
    room_server::{Draft, Input, InputKind, Room, Verdict},
    server::Server,
    storage::Key,
};

/// So many events are decided in one commit: as many as a transaction has, and few enough that others get their turn in the
/// room.
pub(super) const CHUNK: usize = 50;

/// An event on its way to the room server.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) event: CheckedPdu,
    /// The row in which it has waited; it goes in the commit in which the event gets its place.
    pub(super) row: Option<Key>,
}

/// What is kept of what a server has sent.
#[derive(Clone, Copy)]
pub(super) enum Kept<'a> {
    /// Of a server in the room: all of it, since others may build on what is rejected as well.
    All,
    /// Of any other: what is accepted, and those of these outliers that it needs.
    Accepted(&'a [CheckedPdu]),
}

/// An event with what it is received as.
pub(super) type Judged<'a> = (CheckedPdu, InputKind, &'a Arrival);

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has its place, or had it before.
    Placed,
    /// The room does not allow it, and it is not kept.
    Refused,
    /// What it builds on or what authorises it is not there.
    Missing,
    /// This server cannot make anything of it.
    Failed(String),
}

/// Hands over events as new ones, each behind those that it names. What is named in a circle has no outcome.
pub(super) async fn deliver(
    server: &Server,
    room: &Rc<Room>,
    arrivals: Vec<Arrival>,
    kept: Kept<'_>,
) -> Result<OrderedMap<OwnedEventId, Outcome>, Error> {
    let mut outcomes = OrderedMap::new();
    let order = in_order(arrivals.iter().map(|arrival| &arrival.event));
    let mut arrivals: OrderedMap<_, _> = arrivals.into_iter().map(|arrival| (arrival.event.pdu().event_id.clone(), arrival)).gather();
    let ordered: Vec<_> = order.iter().filter_map(|id| arrivals.remove(id)).collect();
    for chunk in ordered.chunks(CHUNK) {
        let judged = by_policy(server, room, chunk).await?;
        match receive_all(server, room, &judged, kept).await {
            Ok(received) => outcomes.extend(received),
            Err(error) if is_about_event(&error) => outcomes.extend(one_by_one(server, room, &judged, kept).await?),
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}

/// The events as the room's policy server lets them be received.
pub(super) async fn by_policy<'a>(server: &Server, room: &Room, chunk: &'a [Arrival]) -> Result<Vec<Judged<'a>>, Error> {
    let events = chunk.iter().map(|arrival| arrival.event.clone()).collect();
    let judged = recommended(server, room, events).await?.into_iter().zip(chunk);
    Ok(judged.map(|((event, is_recommended), arrival)| (event, as_recommended(is_recommended), arrival)).collect())
}

/// What an event is received as.
pub(super) fn as_recommended(is_recommended: bool) -> InputKind {
    if is_recommended { InputKind::New } else { InputKind::Unrecommended }
}

/// An event of which this server cannot make anything does not take the others along.
async fn one_by_one(server: &Server, room: &Rc<Room>, chunk: &[Judged<'_>], kept: Kept<'_>) -> Result<Vec<(OwnedEventId, Outcome)>, Error> {
    let mut outcomes = Vec::new();
    for judged in chunk {
        match receive_all(server, room, std::slice::from_ref(judged), kept).await {
            Ok(received) => outcomes.extend(received),
            Err(error) if is_about_event(&error) => {
                outcomes.push((judged.0.pdu().event_id.clone(), Outcome::Failed(error.to_string())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcomes)
}

fn is_about_event(error: &Error) -> bool {
    matches!(error, Error::Bug(_) | Error::Refused(_))
}

async fn receive_all(
    server: &Server,
    room: &Rc<Room>,
    arrivals: &[Judged<'_>],
    kept: Kept<'_>,
) -> Result<Vec<(OwnedEventId, Outcome)>, Error> {
    let events: Vec<_> = arrivals.iter().map(|(event, ..)| event.clone()).collect();
    let input = |(event, kind, _): &Judged<'_>| Input { event: event.clone(), kind: *kind, state_before: None };
    let inputs: Vec<_> = arrivals.iter().map(input).collect();
    let residents = server.rooms.residents(room).await?;
    let authors = events.iter().map(|event| event.pdu().sender.server_name());
    let keys = server.keys.kept_for_good(authors.filter(|name| residents.contains_key(*name)).gather()).await?;
    let decided = server.rooms.transact_in(room, |draft| {
        draft.foresee(&events)?;
        let verdicts = match kept {
            Kept::All => inputs.iter().map(|input| draft.receive(input).map(Some)).collect::<Result<_, _>>()?,
            Kept::Accepted(outliers) => draft.sift(outliers, &inputs)?,
        };
        draft.rows().append(keys.clone());
        Ok(arrivals.iter().zip(verdicts).map(|((event, _, arrival), verdict)| (id_of(event), conclude(draft, arrival, verdict))).collect())
    });
    decided.await
}

fn id_of(event: &CheckedPdu) -> OwnedEventId {
    event.pdu().event_id.clone()
}

/// What a verdict means for an event; one on which there is none is not kept. What has its verdict waits no longer.
pub(super) fn conclude(draft: &mut Draft<'_>, arrival: &Arrival, verdict: Option<Verdict>) -> Outcome {
    let outcome = match verdict {
        Some(Verdict::Known | Verdict::Stored(_)) => Outcome::Placed,
        Some(Verdict::Missing { .. }) => Outcome::Missing,
        None => Outcome::Refused,
    };
    if let (Outcome::Placed | Outcome::Refused, Some(row)) = (&outcome, &arrival.row) {
        draft.rows().delete(row.clone());
    }
    outcome
}
