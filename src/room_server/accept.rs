//! Giving an event its place: what becomes of the room's head, state and members because of it.

use std::sync::Arc;

use ruma::{
    OwnedEventId, UserId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    auth::{allowed_by_state, select_auth_events},
    draft::{Appended, Draft, MemberChange},
    head::Extremity,
    number::EventNumber,
    policy::Policy,
    receive::InputKind,
    resolve::resolve,
    snapshot::{Difference, Snapshot},
    stored::{Decided, Status},
    view::{Need, Undecided},
};
use crate::{
    error::Error,
    event::{CheckedPdu, NewEvent, Pdu, Placement},
    gather::Gather,
    ordered::OrderedSet,
};

/// So much older than what is here already is late. What crosses on the way, and clocks that differ a little, are not.
const LATE_MILLIS: u64 = 30_000;

impl Draft<'_> {
    /// Builds an event upon the room's head, and appends it if the room allows it.
    ///
    /// `transaction` is the device and the transaction ID that sent it.
    pub fn add(&mut self, event: NewEvent, transaction: Option<(String, String)>) -> Result<OwnedEventId, Undecided> {
        if event.kind == TimelineEventType::RoomCreate {
            // The rules allow such an event in any state; it is the first of its room or none.
            return Err(Error::forbidden("A room is created once.").into());
        }
        let (prev_events, before) = self.place_of_next()?;
        // Both are asked for together, so that one load serves them.
        let policy = Policy::of(&self.view, self.room.head().current);
        let auth_events = match (select_auth_events(&self.view, &self.room.version, before, &event), &policy) {
            (Err(Undecided::Need(mut need)), Err(more)) => {
                need.merge(more.clone());
                return Err(need.into());
            }
            (selected, _) => selected?,
        };
        self.policy = policy?;
        let number = self.next_number();
        let placement = Placement {
            room_id: Some(self.room.id.clone()),
            prev_events,
            auth_events,
            depth: self.head.next_depth(),
            now: self.context.now,
            localpart: format!("{}{}", number.0, self.context.identity.incarnation()),
        };
        let event = event.build(placement, &self.room.version, self.context.identity)?;
        self.add_built(number, event, before, transaction)
    }

    /// What the next event builds on, and the state before it: the current one, unless there are too many extremities to
    /// build on all.
    pub(super) fn place_of_next(&self) -> Result<(Vec<OwnedEventId>, Snapshot), Undecided> {
        let chosen = self.head.chosen();
        let all = chosen.len() == self.head.extremities.len();
        let before = if all { self.head.current } else { self.resolve_after(chosen.iter().map(|extremity| extremity.event))? };
        Ok((self.head.prev_events(), before))
    }

    /// Appends the create event that the room was made for.
    pub fn add_create(&mut self, event: CheckedPdu) -> Result<OwnedEventId, Undecided> {
        let number = self.next_number();
        self.add_built(number, event, Snapshot::default(), None)
    }

    fn add_built(
        &mut self,
        number: EventNumber,
        event: CheckedPdu,
        before: Snapshot,
        transaction: Option<(String, String)>,
    ) -> Result<OwnedEventId, Undecided> {
        let pdu = event.into_pdu();
        let current = Some(self.head.current).filter(|current| *current != before);
        for state in [before].into_iter().chain(current) {
            allowed_by_state(&self.view, &self.room.version.rules.authorization, &pdu, state)?
                .map_err(|reason| Error::forbidden(format!("The room does not allow this: {reason}.")))?;
        }
        let id = pdu.event_id.clone();
        self.is_made_here(&id);
        self.made.push(number);
        self.place(number, pdu, Status::Accepted, before, InputKind::New, transaction)?;
        Ok(id)
    }

    /// Stores an event that was judged, and lets it take effect as far as its status and kind allow.
    pub(super) fn place(
        &mut self,
        number: EventNumber,
        pdu: Pdu,
        status: Status,
        before: Snapshot,
        kind: InputKind,
        transaction: Option<(String, String)>,
    ) -> Result<(), Undecided> {
        let gap = kind != InputKind::Outlier && status != Status::Rejected && self.lacks_previous(&pdu)?;
        let found = kind == InputKind::Found;
        let mut decided = Decided { transaction, gap, found, ..Decided::new(status, before) };
        if let (Some(state_key), true) = (&pdu.state_key, status != Status::Rejected) {
            let kind = StateEventType::from(pdu.kind.to_string());
            decided.replaces = before.event(&self.view, &kind, state_key)?;
            decided.after = before.with(&self.view, &[((kind, state_key.clone()), Some(number))])?;
        }
        let pdu = Arc::new(pdu);
        let shown = status == Status::Accepted;
        let is_in_graph = !matches!(kind, InputKind::Outlier | InputKind::Found);
        let is_built_on = is_in_graph && self.is_built_on(&pdu)?;
        let covered = if is_in_graph && (shown || is_built_on) { self.cover(&pdu)? } else { OrderedSet::new() };
        decided.late = shown && kind == InputKind::New && self.is_late(&pdu, &covered)?;
        self.store(number, (*pdu).clone(), decided.clone());
        let place = HeadPlace { covered, is_extremity: !is_built_on };
        let output = if shown && kind == InputKind::New { Some(self.advance(number, &pdu, decided.after, place)?) } else { None };
        self.appended.push(Appended { event: number, in_timeline: shown && kind != InputKind::Outlier, output });
        if shown {
            self.redact_target(number, &pdu)?;
        }
        self.redact_if_awaited(&pdu)
    }

    /// Whether events before it are not stored, or are outliers, which have no place in the timeline, or were found apart from the rest.
    fn lacks_previous(&self, pdu: &Pdu) -> Result<bool, Need> {
        let is_extremity = |id: &OwnedEventId| self.head.extremities.iter().any(|extremity| extremity.id == *id);
        let previous = self.view.events_by_id(pdu.prev_events.iter().filter(|id| !is_extremity(id)))?;
        Ok(previous.iter().any(|event| event.as_ref().is_none_or(|event| event.decided.found || event.decided.status == Status::Outlier)))
    }

    /// Whether the room has something already that was sent well after the event, by somebody who did not know of it.
    fn is_late(&self, pdu: &Pdu, covered: &OrderedSet<OwnedEventId>) -> Result<bool, Need> {
        let besides = self.head.extremities.iter().filter(|extremity| !covered.contains(&extremity.id)).map(|extremity| extremity.event);
        let besides = self.view.events(besides)?;
        Ok(besides.iter().any(|event| event.pdu.origin_server_ts > pdu.origin_server_ts.saturating_add(LATE_MILLIS)))
    }

    /// Makes the event a forward extremity in place of those that it builds on, unless something builds on it already.
    fn advance(&mut self, number: EventNumber, pdu: &Pdu, after: Snapshot, place: HeadPlace) -> Result<(Difference, Snapshot), Undecided> {
        self.head.extremities.retain(|extremity| !place.covered.contains(&extremity.id));
        if place.is_extremity || self.head.extremities.is_empty() {
            self.head.extremities.push(Extremity { event: number, id: pdu.event_id.clone(), depth: pdu.depth });
        }
        let before = self.head.current;
        self.head.current = match self.head.extremities.as_slice() {
            [only] if only.event == number => after,
            several => self.resolve_after(several.iter().map(|extremity| extremity.event))?,
        };
        let difference = before.difference(self.head.current, &self.view)?;
        self.change_members(number, &difference)?;
        Ok((difference, self.head.current))
    }

    fn resolve_after(&self, events: impl Iterator<Item = EventNumber>) -> Result<Snapshot, Undecided> {
        let events = self.view.events(events)?;
        let states: OrderedSet<_> = events.iter().map(|event| event.decided.after).gather();
        resolve(&self.view, &self.room.version, &states)
    }

    fn change_members(&mut self, cause: EventNumber, difference: &Difference) -> Result<(), Need> {
        self.foresee_members(difference)?;
        for ((kind, state_key), (before, after)) in difference {
            let (StateEventType::RoomMember, Ok(user)) = (kind, UserId::parse(state_key)) else { continue };
            let before = before.map(|number| self.membership_of(number)).transpose()?.flatten();
            let after = match after {
                Some(number) => self.membership_of(*number)?.map(|membership| (membership, *number)),
                None => None,
            };
            count(&mut self.head.joined, "join", &before, &after);
            count(&mut self.head.invited, "invite", &before, &after);
            let change = self.members.entry(user.to_owned()).or_insert_with(|| MemberChange { before, after: None, cause });
            (change.after, change.cause) = (after, cause);
        }
        Ok(())
    }

    /// Asks for all membership events that will be looked at, so that one load serves them.
    fn foresee_members(&self, difference: &Difference) -> Result<(), Need> {
        let members = difference.iter().filter(|((kind, _), _)| *kind == StateEventType::RoomMember);
        let numbers = members.flat_map(|(_, (before, after))| [*before, *after]).flatten();
        self.view.events(numbers.filter(|number| !self.told_memberships.contains_key(number)))?;
        Ok(())
    }

    fn membership_of(&self, number: EventNumber) -> Result<Option<String>, Need> {
        if let Some(membership) = self.told_memberships.get(&number) {
            return Ok(Some(membership.clone()));
        }
        Ok(self.view.event(number)?.pdu.content_str("membership"))
    }
}

/// What an event means for the forward extremities.
struct HeadPlace {
    /// The events that it builds on.
    covered: OrderedSet<OwnedEventId>,
    /// Whether nothing builds on it yet.
    is_extremity: bool,
}

fn count(total: &mut u64, membership: &str, before: &Option<String>, after: &Option<(String, EventNumber)>) {
    let was = before.as_deref() == Some(membership);
    let is = after.as_ref().is_some_and(|(after, _)| after == membership);
    *total = (*total + u64::from(is)).saturating_sub(u64::from(was));
}
