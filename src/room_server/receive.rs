//! The checks on receipt of a PDU, in the specification's order.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu>

use std::sync::Arc;

use ruma::{
    OwnedEventId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    auth::{Allowed, allowed_by_auth_events, allowed_by_state},
    cover::{has_place, has_state},
    draft::Draft,
    import::ToldEvent,
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
    ordered::OrderedSet,
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
    /// It is new, and the room's policy server does not recommend it: it is judged and kept, and clients are not told.
    Unrecommended,
    /// It was asked for by itself: it has a place in the timeline, changes nothing, and is received anew when it comes as an event
    /// of the other kinds.
    Found,
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
        self.receive_upon(&input.event, input.kind, |draft| draft.state_before(input))
    }

    /// The same for an event before which the room has a state that was told, and whose events are stored.
    pub(crate) fn receive_told(&mut self, event: &CheckedPdu, kind: InputKind, state: &[ToldEvent]) -> Result<Verdict, Undecided> {
        let changes: Vec<_> = state.iter().map(|told| ((told.kind.clone(), told.state_key.clone()), Some(told.number))).collect();
        self.receive_upon(event, kind, |draft| Ok(Ok(Snapshot::default().with(&draft.view, &changes)?)))
    }

    fn receive_upon(
        &mut self,
        event: &CheckedPdu,
        kind: InputKind,
        state_before: impl FnOnce(&Self) -> Result<Result<Snapshot, Vec<OwnedEventId>>, Undecided>,
    ) -> Result<Verdict, Undecided> {
        let pdu = event.pdu();
        if pdu.room_id != self.room.id {
            return Err(Error::bug(format!("{} is no event of {}", pdu.event_id, self.room.id)).into());
        }
        let known = self.view.event_by_id(&pdu.event_id)?;
        if let Some(known) = &known
            && (has_place(known) || kind == InputKind::Outlier || kind == InputKind::Found && has_state(known))
        {
            return Ok(Verdict::Known);
        }
        let auth_events = self.absent(&pdu.auth_events)?;
        if !auth_events.is_empty() {
            return Ok(Verdict::Missing { auth_events, prev_events: Vec::new() });
        }
        let number = known.as_ref().map_or_else(|| self.next_number(), |event| event.number);
        let by_auth_events = self.allowed_by_auth_events(pdu)?;
        if kind == InputKind::Outlier {
            let status = if by_auth_events.is_ok() { Status::Outlier } else { Status::Rejected };
            self.store(number, pdu.clone(), Decided::new(status, Snapshot::default()));
            self.redact_if_awaited(pdu)?;
            return Ok(Verdict::Stored(status));
        }
        let before = match state_before(self)? {
            Ok(before) => before,
            Err(prev_events) => return Ok(Verdict::Missing { auth_events: Vec::new(), prev_events }),
        };
        let status = self.judge(pdu, by_auth_events, before, kind)?;
        self.place(number, pdu.clone(), status, before, kind, None)?;
        if let Some(redaction) = known.and_then(|event| event.decided.redacted_by) {
            self.redact(redaction, &pdu.event_id)?;
        }
        Ok(Verdict::Stored(status))
    }

    /// Whether the events that it names as authorising it do not allow the event, whatever the state before it is.
    pub(crate) fn is_rejected_by_itself(&self, event: &CheckedPdu) -> Result<bool, Need> {
        Ok(self.allowed_by_auth_events(event.pdu())?.is_err())
    }

    fn allowed_by_auth_events(&self, pdu: &Pdu) -> Result<Allowed, Need> {
        let auth_events = self.view.events_by_id(pdu.auth_events.iter())?;
        for event in auth_events.iter().flatten().map(|event| &*event.pdu).chain([pdu]) {
            if self.is_another_create(event)? {
                return Ok(Err("a room is created once".into()));
            }
        }
        allowed_by_auth_events(&self.view, &self.room.version.rules.authorization, pdu)
    }

    /// Whether it is a create event, and not the room's. The rules allow such an event in any state, as it is the first of
    /// its room; until this server has entered the room, it does not know which one that is.
    fn is_another_create(&self, pdu: &Pdu) -> Result<bool, Need> {
        if pdu.kind != TimelineEventType::RoomCreate {
            return Ok(false);
        }
        let create = self.head.current.event(&self.view, &StateEventType::RoomCreate, "")?;
        let create = create.map(|number| self.view.event(number)).transpose()?;
        Ok(create.is_some_and(|create| create.pdu.event_id != pdu.event_id))
    }

    fn judge(&self, pdu: &Pdu, by_auth_events: Allowed, before: Snapshot, kind: InputKind) -> Result<Status, Need> {
        let rules = &self.room.version.rules.authorization;
        if by_auth_events.is_err() || allowed_by_state(&self.view, rules, pdu, before)?.is_err() {
            return Ok(Status::Rejected);
        }
        // A room that was told of and not yet entered has no current state to ask.
        let is_new = matches!(kind, InputKind::New | InputKind::Unrecommended);
        let asks_current = is_new && !self.head.extremities.is_empty() && self.head.current != before;
        if asks_current && !self.is_allowed_now(pdu)? {
            return Ok(Status::SoftFailed);
        }
        Ok(if kind == InputKind::Unrecommended { Status::SoftFailed } else { Status::Accepted })
    }

    /// Whether the current state allows the event.
    pub(crate) fn is_allowed_now(&self, pdu: &Pdu) -> Result<bool, Need> {
        Ok(allowed_by_state(&self.view, &self.room.version.rules.authorization, pdu, self.head.current)?.is_ok())
    }

    /// Those of the events that are not stored.
    pub(super) fn absent(&self, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, Need> {
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
        let knows = if input.kind == InputKind::Found { has_state } else { has_place };
        let known = |event: &Option<Arc<StoredEvent>>| event.as_ref().is_some_and(|event| knows(event));
        let missing: Vec<_> = prev_events.iter().zip(&found).filter(|(_, event)| !known(event)).map(|(id, _)| id.clone()).collect();
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let states: OrderedSet<_> = found.iter().flatten().map(|event| event.decided.after).gather();
        Ok(Ok(resolve(&self.view, &self.room.version, &states)?))
    }

    fn told_state(&self, ids: &[OwnedEventId]) -> Result<Result<Snapshot, Vec<OwnedEventId>>, Need> {
        let absent = self.absent(ids)?;
        if !absent.is_empty() {
            return Ok(Err(absent));
        }
        let mut entries = Vec::new();
        for event in self.view.events_by_id(ids.iter())?.iter().flatten() {
            if !event.pdu.rejected && !self.is_another_create(&event.pdu)? {
                entries.extend(state_entry(event));
            }
        }
        Ok(Ok(Snapshot::default().with(&self.view, &entries)?))
    }
}

fn state_entry(event: &StoredEvent) -> Option<((StateEventType, String), Option<EventNumber>)> {
    let state_key = event.pdu.state_key.clone()?;
    Some(((event.pdu.kind.to_string().into(), state_key), Some(event.number)))
}
