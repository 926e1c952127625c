//! Taking in a room as another server tells it: first what authorises and what makes up its state, as outliers, and then, in
//! one commit, the event by which a user of this server enters it.

use ruma::{EventId, OwnedEventId, events::StateEventType};

use super::{
    auth::{Allowed, allowed_by_auth_events, allowed_by_state},
    draft::Draft,
    number::EventNumber,
    receive::{Input, InputKind},
    snapshot::{Change, Snapshot},
    stored::Status,
    view::{Need, Undecided},
};
use crate::{event::CheckedPdu, gather::Gather, ordered::OrderedMap};

/// A stored event of a told state: as much of it as is needed to enter the room, so that the events themselves need not be
/// in memory together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldEvent {
    pub(crate) number: EventNumber,
    pub(crate) kind: StateEventType,
    pub(crate) state_key: String,
    /// For a membership event, the membership.
    pub(crate) membership: Option<String>,
}

impl Draft<'_> {
    /// Stores events that were told as outliers, each of which must come behind those that authorise it.
    ///
    /// Returns in their order what may stand in a state: `None` for what is no state event, what its authorising events do
    /// not allow, and what names some that are not there.
    pub(crate) fn take_in(&mut self, events: &[CheckedPdu]) -> Result<Vec<Option<ToldEvent>>, Undecided> {
        self.foresee(events)?;
        let mut told = Vec::new();
        for event in events {
            self.receive(&Input { event: event.clone(), kind: InputKind::Outlier, state_before: None })?;
            told.push(self.told(&event.pdu().event_id)?.flatten());
        }
        Ok(told)
    }

    /// Those of the events that are stored, as far as they may stand in a state.
    pub(crate) fn told_events(&self, ids: &[OwnedEventId]) -> Result<Vec<Option<Option<ToldEvent>>>, Need> {
        self.view.events_by_id(ids.iter())?;
        ids.iter().map(|id| self.told(id)).collect()
    }

    /// `None` for an event that is not stored, and `Some(None)` for one that may stand in no state.
    fn told(&self, id: &EventId) -> Result<Option<Option<ToldEvent>>, Need> {
        let Some(stored) = self.view.event_by_id(id)? else { return Ok(None) };
        let Some(state_key) = stored.pdu.state_key.clone().filter(|_| stored.decided.status != Status::Rejected) else {
            return Ok(Some(None));
        };
        let kind = StateEventType::from(stored.pdu.kind.to_string());
        let membership = if kind == StateEventType::RoomMember { stored.pdu.content_str("membership") } else { None };
        Ok(Some(Some(ToldEvent { number: stored.number, kind, state_key, membership })))
    }

    /// Enters the room by this event, before which the room has the state that was told. It replaces what was known of the
    /// room's head: this server was not there when that became what it is.
    ///
    /// Changes nothing where the event is not allowed, and says why.
    pub(crate) fn enter(&mut self, event: &CheckedPdu, state: &[ToldEvent]) -> Result<Allowed, Undecided> {
        let pdu = event.pdu();
        let rules = &self.room.version.rules.authorization;
        let changes: Vec<Change> = state.iter().map(|told| ((told.kind.clone(), told.state_key.clone()), Some(told.number))).collect();
        let before = Snapshot::default().with(&self.view, &changes)?;
        if self.view.events_by_id(pdu.auth_events.iter())?.iter().any(Option::is_none) {
            return Ok(Err("events that authorise it were not told".into()));
        }
        for allowed in [allowed_by_auth_events(&self.view, rules, pdu)?, allowed_by_state(&self.view, rules, pdu, before)?] {
            if allowed.is_err() {
                return Ok(allowed);
            }
        }
        let number = self.view.number(&pdu.event_id)?.unwrap_or_else(|| self.next_number());
        self.told_memberships = memberships(state);
        self.head.extremities.clear();
        self.place(number, pdu.clone(), Status::Accepted, before, InputKind::New, None)?;
        Ok(Ok(()))
    }
}

fn memberships(state: &[ToldEvent]) -> OrderedMap<EventNumber, String> {
    state.iter().filter_map(|told| Some((told.number, told.membership.clone()?))).gather()
}
