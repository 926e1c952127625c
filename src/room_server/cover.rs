//! What events build on, also where that is not here yet: an event that comes after its descendants is no forward extremity.

use ruma::{EventId, OwnedEventId};

use super::{
    draft::Draft,
    stored::{Status, StoredEvent},
    view::{Need, collect},
};
use crate::{
    event::{CheckedPdu, Pdu},
    ordered::OrderedSet,
    storage::{Key, Table},
};

/// So many events that nothing is built on from here are walked through to find what is before them: more than honest servers
/// leave behind, and few enough that a chain of refused events cannot make each event after it expensive.
const MAX_UNSHOWN: usize = 200;

impl Draft<'_> {
    /// Whether an accepted event builds on this one, which has only now come.
    pub(super) fn is_built_on(&self, pdu: &Pdu) -> Result<bool, Need> {
        match self.awaited.get(&pdu.event_id) {
            Some(awaited) => Ok(*awaited),
            None => self.was_built_on(pdu),
        }
    }

    /// Whether an accepted event built on this one before this draft.
    pub(super) fn was_built_on(&self, pdu: &Pdu) -> Result<bool, Need> {
        Ok(self.view.row(&self.awaited_key(&pdu.event_id))?.is_some())
    }

    /// The events that this one builds on: its previous events and, where those are kept without being built on by this
    /// server, what is before them. What of it is missing is remembered as built on.
    pub(super) fn cover(&mut self, pdu: &Pdu) -> Result<OrderedSet<OwnedEventId>, Need> {
        let mut covered = OrderedSet::new();
        let mut missing = Vec::new();
        let mut queue = pdu.prev_events.clone();
        let mut unshown = 0;
        while let Some(id) = queue.pop() {
            let is_extremity = self.head.extremities.iter().any(|extremity| extremity.id == id);
            if !covered.insert(id.clone()) || is_extremity {
                continue;
            }
            match self.view.event_by_id(&id)? {
                Some(event) if has_place(&event) => {
                    let is_unshown = matches!(event.decided.status, Status::SoftFailed | Status::Rejected);
                    if is_unshown && unshown < MAX_UNSHOWN {
                        unshown += 1;
                        queue.extend(event.pdu.prev_events.iter().cloned());
                    }
                }
                _ => missing.push(id),
            }
        }
        for id in missing {
            self.rows.put(self.awaited_key(&id), []);
            self.awaited.insert(id, true);
        }
        if self.is_built_on(pdu)? {
            self.rows.delete(self.awaited_key(&pdu.event_id));
            self.awaited.insert(pdu.event_id.clone(), false);
        }
        Ok(covered)
    }

    /// Nobody can have named an event that was only just made here.
    pub(super) fn is_made_here(&mut self, id: &EventId) {
        self.awaited.insert(id.to_owned(), false);
        self.pending_redactions.insert(id.to_owned(), Vec::new());
    }

    /// Asks for all that receiving the events will look at, so that one load serves them all.
    pub(crate) fn foresee(&self, events: &[CheckedPdu]) -> Result<(), Need> {
        let named = |event: &CheckedPdu| {
            let pdu = event.pdu();
            let ids: Vec<_> = pdu.auth_events.iter().chain(&pdu.prev_events).chain([&pdu.event_id]).cloned().collect();
            ids
        };
        let ids: Vec<_> = events.iter().flat_map(named).collect();
        let mut need = self.view.events_by_id(ids.iter()).err().unwrap_or_default();
        let redactions = collect(events.iter(), |event| self.pending_redactions(&event.pdu().event_id).map(drop));
        need.merge(redactions.err().unwrap_or_default());
        let awaited = collect(events.iter(), |event| self.is_built_on(event.pdu()));
        need.merge(awaited.err().unwrap_or_default());
        if need.is_empty() { Ok(()) } else { Err(need) }
    }

    fn awaited_key(&self, id: &EventId) -> Key {
        Key::new(Table::Awaited).number(self.room.number.0).text(id.as_str())
    }
}

/// Whether the event has its place in the graph, and the state before it is known. An outlier's is not, and a rejected one may be
/// an outlier.
pub(crate) fn has_place(event: &StoredEvent) -> bool {
    !event.decided.found && has_state(event)
}

/// Whether the state before the event is known, be it as another server has told it.
pub(crate) fn has_state(event: &StoredEvent) -> bool {
    event.decided.status != Status::Outlier && (event.decided.before != Default::default() || event.pdu.prev_events.is_empty())
}
