//! The checks on receipt of a PDU, in the specification's order.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>

use std::{collections::BTreeSet, sync::Arc};

use ruma::OwnedEventId;

use super::{
    auth::{Allowed, allowed_by_auth_events, allowed_by_state},
    draft::Draft,
    number::EventNumber,
    resolve::resolve,
    snapshot::Snapshot,
    stored::{Decided, Status, StoredEvent},
    view::{Need, Undecided},
};
use crate::{
    error::Error,
    event::{CheckedPdu, Pdu},
    gather::Gather,
};

/// An event from elsewhere, and what it is received as.
#[derive(Clone, Debug)]
pub struct Input {
    /// The event; its format, signatures and hashes are right.
    pub event: CheckedPdu,
    /// What it is received as.
    pub kind: InputKind,
    /// The state before it as another server tells it, for an event whose previous events are not known.
    pub state_before: Option<Vec<OwnedEventId>>,
}

/// What an event is received as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// It is new in the room: clients are told, and new events build on it.
    New,
    /// It is old and was back-filled: it has a place in the timeline, and changes nothing.
    Old,
    /// Only other events need it, to be authorised.
    Outlier,
}

/// What became of an event on receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was stored already.
    Known,
    /// It is stored, and this is what became of it.
    Stored(Status),
    /// It cannot be judged before these events are there.
    Missing {
        /// Events that authorise it.
        auth_events: Vec<OwnedEventId>,
        /// Events before it, or of the state that was told.
        prev_events: Vec<OwnedEventId>,
    },
}

impl Draft<'_> {
    /// Judges an event from elsewhere, and stores it.
    pub fn receive(&mut self, input: &Input) -> Result<Verdict, Undecided> {
        let pdu = input.event.pdu();
        if pdu.room_id != self.room.id {
            return Err(Error::bug(format!("{} is no event of {}", pdu.event_id, self.room.id)).into());
        }
        let known = self.view.event_by_id(&pdu.event_id)?;
        if let Some(known) = &known
            && (has_state(known) || input.kind == InputKind::Outlier)
        {
            return Ok(Verdict::Known);
        }
        let auth_events = self.absent(&pdu.auth_events)?;
        if !auth_events.is_empty() {
            return Ok(Verdict::Missing { auth_events, prev_events: Vec::new() });
        }
        let number = known.as_ref().map_or_else(|| self.next_number(), |event| event.number);
        let by_auth_events = allowed_by_auth_events(&self.view, &self.room.version.rules.authorization, pdu)?;
        if input.kind == InputKind::Outlier {
            let status = if by_auth_events.is_ok() { Status::Outlier } else { Status::Rejected };
            self.store(number, pdu.clone(), Decided::new(status, Snapshot::default()));
            self.redact_if_awaited(pdu)?;
            return Ok(Verdict::Stored(status));
        }
        let before = match self.state_before(input)? {
            Ok(before) => before,
            Err(prev_events) => return Ok(Verdict::Missing { auth_events: Vec::new(), prev_events }),
        };
        let status = self.judge(pdu, by_auth_events, before, input.kind)?;
        self.place(number, pdu.clone(), status, before, input.kind, None)?;
        if let Some(redaction) = known.and_then(|event| event.decided.redacted_by) {
            self.redact(redaction, &pdu.event_id)?;
        }
        Ok(Verdict::Stored(status))
    }

    fn judge(&self, pdu: &Pdu, by_auth_events: Allowed, before: Snapshot, kind: InputKind) -> Result<Status, Need> {
        let rules = &self.room.version.rules.authorization;
        if by_auth_events.is_err() || allowed_by_state(&self.view, rules, pdu, before)?.is_err() {
            return Ok(Status::Rejected);
        }
        let current = self.head.current;
        // A room that was told of and not yet entered has no current state to ask.
        let asks_current = kind == InputKind::New && !self.head.extremities.is_empty() && current != before;
        if asks_current && allowed_by_state(&self.view, rules, pdu, current)?.is_err() {
            return Ok(Status::SoftFailed);
        }
        Ok(Status::Accepted)
    }

    /// Those of the events that are not stored.
    fn absent(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Need> {
        let found = self.view.events_by_id(ids.iter())?;
        Ok(ids.iter().zip(found).filter(|(_, event)| event.is_none()).map(|(id, _)| id.clone()).collect())
    }

    /// The state before an event, or the events that are missing to know it.
    fn state_before(&self, input: &Input) -> Result<Result<Snapshot, Vec<OwnedEventId>>, Undecided> {
        if let Some(ids) = &input.state_before {
            return Ok(self.told_state(ids)?);
        }
        let prev_events = &input.event.pdu().prev_events;
        let found = self.view.events_by_id(prev_events.iter())?;
        let known = |event: &Option<Arc<StoredEvent>>| event.as_ref().is_some_and(|event| has_state(event));
        let missing: Vec<_> = prev_events.iter().zip(&found).filter(|(_, event)| !known(event)).map(|(id, _)| id.clone()).collect();
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let states: BTreeSet<_> = found.iter().flatten().map(|event| event.decided.after).gather();
        Ok(Ok(resolve(&self.view, &self.room.version, &states)?))
    }

    fn told_state(&self, ids: &[OwnedEventId]) -> Result<Result<Snapshot, Vec<OwnedEventId>>, Need> {
        let absent = self.absent(ids)?;
        if !absent.is_empty() {
            return Ok(Err(absent));
        }
        let events = self.view.events_by_id(ids.iter())?;
        let entries: Vec<_> = events.iter().flatten().filter(|event| !event.pdu.rejected).filter_map(|event| state_entry(event)).collect();
        Ok(Ok(Snapshot::default().with(&self.view, &entries)?))
    }
}

/// An outlier's state is not known, and a rejected one may be an outlier.
fn has_state(event: &StoredEvent) -> bool {
    event.decided.status != Status::Outlier && (event.decided.before != Snapshot::default() || event.pdu.prev_events.is_empty())
}

fn state_entry(event: &StoredEvent) -> Option<((ruma::events::StateEventType, String), Option<EventNumber>)> {
    let state_key = event.pdu.state_key.clone()?;
    Some(((event.pdu.kind.to_string().into(), state_key), Some(event.number)))
}
