//! Authorisation: which events authorise an event, and whether a state allows it.

use std::{cell::RefCell, sync::Arc};

use ruma::{
    OwnedEventId,
    events::StateEventType,
    room_version_rules::AuthorizationRules,
    state_res::{auth_types_for_event, check_state_dependent_auth_rules, check_state_independent_auth_rules},
};

use super::{
    snapshot::{Snapshot, StateKey},
    stored::StoredEvent,
    view::{Need, Undecided, View},
};
use crate::{
    error::Error,
    event::{NewEvent, Pdu, RoomVersion},
};

/// The verdict of a rule: `Err` holds the sentence that says why not.
pub(crate) type Allowed = Result<(), String>;

/// The current events that authorise a new event.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>
pub(crate) fn select_auth_events(
    view: &View<'_>,
    version: &RoomVersion,
    state: Snapshot,
    event: &NewEvent,
) -> Result<Vec<OwnedEventId>, Undecided> {
    let content = serde_json::value::to_raw_value(&event.content).map_err(|error| Error::bad_json(error.to_string()))?;
    let types = auth_types_for_event(&event.kind, &event.sender, event.state_key.as_deref(), &content, &version.rules.authorization)
        .map_err(|error| Error::bad_json(format!("This cannot be made an event: {error}.")))?;
    let events = state_events(view, state, types)?;
    Ok(events.iter().map(|event| event.pdu.event_id.clone()).collect())
}

/// The state events in those places that are taken.
pub(crate) fn state_events(view: &View<'_>, state: Snapshot, keys: Vec<StateKey>) -> Result<Vec<Arc<StoredEvent>>, Need> {
    let mut numbers = Vec::new();
    let mut need = Need::default();
    for (kind, state_key) in keys {
        match state.event(view, &kind, &state_key) {
            Ok(number) => numbers.extend(number),
            Err(more) => need.merge(more),
        }
    }
    if need.is_empty() { view.events(numbers.into_iter()) } else { Err(need) }
}

/// Whether the event's own authorising events, by themselves and as a state, allow it.
pub(crate) fn allowed_by_auth_events(view: &View<'_>, rules: &AuthorizationRules, pdu: &Pdu) -> Result<Allowed, Need> {
    let events: Vec<_> = view.events_by_id(pdu.auth_events.iter())?.into_iter().flatten().collect();
    let verdict = recording(|missed| {
        check_state_independent_auth_rules(rules, pdu, |id| missed.take(view.event_by_id(id)).flatten().map(|event| Arc::clone(&event.pdu)))
    })?;
    if verdict.is_err() {
        return Ok(verdict);
    }
    recording(|missed| {
        check_state_dependent_auth_rules(rules, pdu, |kind, key| {
            let found = events.iter().find(|event| event.pdu.is_state(&kind.to_string(), key)).map(|event| Arc::clone(&event.pdu));
            found.or_else(|| implied_create_event(view, rules, pdu, kind, missed))
        })
    })
}

/// The create event, which rooms whose ID is its hash do not list among the authorising events.
///
/// <https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules>
fn implied_create_event(
    view: &View<'_>,
    rules: &AuthorizationRules,
    pdu: &Pdu,
    kind: &StateEventType,
    missed: &Missed,
) -> Option<Arc<Pdu>> {
    if !rules.room_create_event_id_as_room_id || *kind != StateEventType::RoomCreate {
        return None;
    }
    let id = ruma::EventId::parse(format!("${}", pdu.room_id.strip_sigil())).ok()?;
    missed.take(view.event_by_id(&id)).flatten().map(|event| Arc::clone(&event.pdu))
}

/// Whether a state of the room allows the event.
pub(crate) fn allowed_by_state(view: &View<'_>, rules: &AuthorizationRules, pdu: &Pdu, state: Snapshot) -> Result<Allowed, Need> {
    let types = auth_types_for_event(&pdu.kind, &pdu.sender, pdu.state_key.as_deref(), &pdu.content, rules);
    // Asks for all that the rules will look at, so that one load serves them.
    if let Ok(types) = types {
        state_events(view, state, types)?;
    }
    recording(|missed| {
        check_state_dependent_auth_rules(rules, pdu, |kind, key| {
            let number = missed.take(state.event(view, kind, key)).flatten()?;
            missed.take(view.event(number)).map(|event| Arc::clone(&event.pdu))
        })
    })
}

/// What a rule's look-ups lacked. A verdict that was reached with a miss is thrown away.
#[derive(Default)]
pub(crate) struct Missed(RefCell<Need>);

impl Missed {
    pub(crate) fn take<T>(&self, found: Result<T, Need>) -> Option<T> {
        found.map_err(|need| self.0.borrow_mut().merge(need)).ok()
    }
}

pub(crate) fn recording<T>(rule: impl FnOnce(&Missed) -> T) -> Result<T, Need> {
    let missed = Missed::default();
    let verdict = rule(&missed);
    let need = missed.0.into_inner();
    if need.is_empty() { Ok(verdict) } else { Err(need) }
}
