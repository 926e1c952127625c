//! Going on from a state that is told, where what waits was sent by a server that is not in the room: nothing is asked for unless something
//! may come of it, and nothing is kept unless something is accepted.

use ruma::{EventId, OwnedEventId};

use super::{
    deliver::{Arrival, CHUNK, Judged, Outcome, by_policy, conclude},
    fill::{Filling, first_depth},
    order::in_order,
    told_state::{ask_state, check_state},
};
use crate::{
    error::Error,
    event::CheckedPdu,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
    room_server::{Input, Verdict},
};

impl Filling<'_> {
    /// Places an event before which events are missing, together with some that build on it: they may be accepted where it is not, and
    /// then it is needed. Returns whether any was placed; the others are left to wait.
    pub(super) async fn place_with_what_follows(&mut self, edge: &EventId, missing: &OrderedSet<OwnedEventId>) -> Result<bool, Error> {
        let arrivals = self.gap.take_with_what_follows(edge, missing, CHUNK);
        let outcomes = if self.is_hopeful(&arrivals).await? { self.place_upon_told_state(edge, &arrivals).await? } else { Vec::new() };
        for (index, arrival) in arrivals.into_iter().enumerate() {
            match outcomes.get(index) {
                Some(Outcome::Placed | Outcome::Refused) => drop(self.placed.insert(arrival.event.pdu().event_id.clone())),
                _ => self.gap.insert(arrival),
            }
        }
        Ok(outcomes.contains(&Outcome::Placed))
    }

    /// Whether any of the events is of the time since the room's history begins here, and the room would allow it now: otherwise it
    /// soft-fails at best.
    async fn is_hopeful(&self, arrivals: &[Arrival]) -> Result<bool, Error> {
        let min_depth = first_depth(self.server, self.room).await?;
        if arrivals.first().is_none_or(|edge| edge.event.pdu().depth < min_depth) {
            return Ok(false);
        }
        let is_hopeful = self.server.rooms.transact_in(self.room, |draft| {
            for arrival in arrivals {
                if draft.is_allowed_now(arrival.event.pdu())? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        is_hopeful.await
    }

    /// Judges the events upon the state before the first as one server after the other tells it, until something is placed. Returns what
    /// became of each then, or nothing.
    async fn place_upon_told_state(&self, edge: &EventId, arrivals: &[Arrival]) -> Result<Vec<Outcome>, Error> {
        let authorising = self.find_auth_events(arrivals).await?;
        let judged = by_policy(self.server, self.room, arrivals).await?;
        for peer in self.helpers.present_ending_with(&self.id.1) {
            let asked = self.helpers.ask(&peer, ask_state(self.server, self.room, &peer, edge)).await;
            let told = match asked {
                Ok(asked) => check_state(self.server, self.room, asked).await,
                Err(error) => Err(error),
            };
            let Some((state, told)) = self.helpers.heard(&peer, told)? else { continue };
            let outliers = together(authorising.iter().cloned().chain(told));
            let inputs = inputs(&judged, edge, &state);
            let outcomes = self.server.rooms.transact_in(self.room, |draft| {
                let verdicts = draft.sift(&outliers, &inputs)?;
                if !verdicts.iter().flatten().any(|verdict| matches!(verdict, Verdict::Stored(_))) {
                    draft.restart();
                    return Ok(Vec::new());
                }
                Ok(arrivals.iter().zip(verdicts).map(|(arrival, verdict)| conclude(draft, arrival, verdict)).collect())
            });
            let outcomes = outcomes.await?;
            if !outcomes.is_empty() {
                return Ok(outcomes);
            }
        }
        Ok(Vec::new())
    }
}

fn inputs(judged: &[Judged<'_>], edge: &EventId, state: &[OwnedEventId]) -> Vec<Input> {
    let state_before = |event: &CheckedPdu| (event.pdu().event_id == edge).then(|| state.to_vec());
    judged.iter().map(|(event, kind, _)| Input { event: event.clone(), kind: *kind, state_before: state_before(event) }).collect()
}

/// Events, each once and behind those that authorise it.
fn together(events: impl Iterator<Item = CheckedPdu>) -> Vec<CheckedPdu> {
    let mut events: OrderedMap<OwnedEventId, CheckedPdu> = events.map(|event| (event.pdu().event_id.clone(), event)).gather();
    in_order(events.values()).into_iter().filter_map(|id| events.remove(&id)).collect()
}
