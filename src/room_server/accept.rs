//! Giving an event its place: what becomes of the room's head, state and members because of it.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedEventId, UserId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    auth::{allowed_by_state, select_auth_events},
    draft::{Appended, Draft, MemberChange},
    head::Extremity,
    number::EventNumber,
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
};

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
        let auth_events = select_auth_events(&self.view, &self.room.version, before, &event)?;
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
    fn place_of_next(&self) -> Result<(Vec<OwnedEventId>, Snapshot), Undecided> {
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
        let mut decided = Decided { transaction, ..Decided::new(status, before) };
        if let (Some(state_key), true) = (&pdu.state_key, status != Status::Rejected) {
            let kind = StateEventType::from(pdu.kind.to_string());
            decided.replaces = before.event(&self.view, &kind, state_key)?;
            decided.after = before.with(&self.view, &[((kind, state_key.clone()), Some(number))])?;
        }
        let pdu = Arc::new(pdu);
        self.store(number, (*pdu).clone(), decided.clone());
        let shown = status == Status::Accepted;
        let output = if shown && kind == InputKind::New { Some(self.advance(number, &pdu, decided.after)?) } else { None };
        self.appended.push(Appended { event: number, in_timeline: shown && kind != InputKind::Outlier, output });
        if shown {
            self.redact_target(number, &pdu)?;
        }
        self.redact_if_awaited(&pdu)
    }

    /// Makes the event a forward extremity in place of those that it builds on.
    fn advance(&mut self, number: EventNumber, pdu: &Pdu, after: Snapshot) -> Result<(Difference, Snapshot), Undecided> {
        let covered = self.covered(pdu)?;
        self.head.extremities.retain(|extremity| !covered.contains(&extremity.id));
        self.head.extremities.push(Extremity { event: number, id: pdu.event_id.clone(), depth: pdu.depth });
        let before = self.head.current;
        self.head.current = match self.head.extremities.as_slice() {
            [_] => after,
            several => self.resolve_after(several.iter().map(|extremity| extremity.event))?,
        };
        let difference = before.difference(self.head.current, &self.view)?;
        self.change_members(number, &difference)?;
        Ok((difference, self.head.current))
    }

    /// What the event builds on: its previous events and, where those are kept without being built on by this server, what
    /// is before them.
    fn covered(&self, pdu: &Pdu) -> Result<BTreeSet<OwnedEventId>, Need> {
        let mut covered = BTreeSet::new();
        let mut queue = pdu.prev_events.clone();
        while let Some(id) = queue.pop() {
            let is_extremity = self.head.extremities.iter().any(|extremity| extremity.id == id);
            if !covered.insert(id.clone()) || is_extremity {
                continue;
            }
            let event = self.view.event_by_id(&id)?;
            if let Some(event) = event.filter(|event| matches!(event.decided.status, Status::SoftFailed | Status::Rejected)) {
                queue.extend(event.pdu.prev_events.iter().cloned());
            }
        }
        Ok(covered)
    }

    fn resolve_after(&self, events: impl Iterator<Item = EventNumber>) -> Result<Snapshot, Undecided> {
        let events = self.view.events(events)?;
        let states: BTreeSet<_> = events.iter().map(|event| event.decided.after).gather();
        resolve(&self.view, &self.room.version, &states)
    }

    fn change_members(&mut self, cause: EventNumber, difference: &Difference) -> Result<(), Need> {
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

    fn membership_of(&self, number: EventNumber) -> Result<Option<String>, Need> {
        Ok(self.view.event(number)?.pdu.content_str("membership"))
    }
}

fn count(total: &mut u64, membership: &str, before: &Option<String>, after: &Option<(String, EventNumber)>) {
    let was = before.as_deref() == Some(membership);
    let is = after.as_ref().is_some_and(|(after, _)| after == membership);
    *total = (*total + u64::from(is)).saturating_sub(u64::from(was));
}
