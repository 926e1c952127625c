//! A draft: the events that a request wants to append to a room, decided one upon the other, not yet committed.

use std::{cell::Cell, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, UserId, events::StateEventType};

use super::{
    head::Head,
    number::{EventNumber, Position},
    outside::Outside,
    policy::Policy,
    room::Room,
    snapshot::{Difference, Snapshot},
    stored::{Decided, Status, StoredEvent},
    view::{Need, View},
};
use crate::{
    event::Pdu,
    identity::Identity,
    ordered::{OrderedMap, OrderedSet},
    storage::Batch,
};

/// What deciding needs beside the room: who this server is, and the time.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) now: u64,
    pub(crate) next_event: &'a Cell<u64>,
}

/// Events on their way into a room.
pub struct Draft<'a> {
    pub(crate) room: &'a Room,
    pub(crate) context: Context<'a>,
    pub(crate) view: View<'a>,
    pub(crate) head: Head,
    pub(crate) appended: Vec<Appended>,
    pub(crate) members: OrderedMap<OwnedUserId, MemberChange>,
    pub(crate) rows: Batch,
    /// Events that were made here.
    pub(crate) made: Vec<EventNumber>,
    /// The policy server that the room had named before.
    pub(super) policy: Option<Policy>,
    /// Events of other servers that this one passes on to the rest.
    pub(crate) passed_on: OrderedSet<OwnedEventId>,
    /// Memberships of this server's users where this server is not in the room.
    pub(super) outside: Outside,
    /// Redactions without a target, as the draft leaves them behind.
    pub(crate) pending_redactions: OrderedMap<OwnedEventId, Vec<EventNumber>>,
    /// Events that are missing though accepted ones build on them, and those that are so no more, as the draft leaves them behind.
    pub(crate) awaited: OrderedMap<OwnedEventId, bool>,
    /// Memberships that are known without looking at the events that say so.
    pub(crate) told_memberships: OrderedMap<EventNumber, String>,
}

/// An event that the draft has decided on.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub(crate) event: EventNumber,
    /// Whether the event has a place in the order that clients page through.
    pub(crate) in_timeline: bool,
    /// For an event that clients are told of: what it changed in the current state, and that state.
    pub(crate) output: Option<(Difference, Snapshot)>,
}

/// How a user's membership in the current state changes.
#[derive(Clone, Debug)]
pub(crate) struct MemberChange {
    pub(crate) before: Option<String>,
    pub(crate) after: Option<(String, EventNumber)>,
    /// The event by which it came about: the membership event itself, or one that made the room's state another.
    pub(crate) cause: EventNumber,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(room: &'a Room, context: Context<'a>, view: View<'a>) -> Self {
        let head = (*room.head()).clone();
        let (appended, members, rows, made, policy, passed_on) = Default::default();
        let (pending_redactions, awaited, told_memberships, outside) = Default::default();
        Self {
            room,
            context,
            view,
            head,
            appended,
            members,
            rows,
            made,
            policy,
            passed_on,
            outside,
            pending_redactions,
            awaited,
            told_memberships,
        }
    }

    /// Forgets all that was decided, keeping what was loaded.
    pub(crate) fn restart(&mut self) {
        self.view.forget_fresh();
        self.head = (*self.room.head()).clone();
        self.appended.clear();
        self.members.clear();
        self.rows = Batch::new();
        self.made.clear();
        self.policy = None;
        self.passed_on.clear();
        self.outside.clear();
        self.pending_redactions.clear();
        self.awaited.clear();
        self.told_memberships.clear();
    }

    /// The room.
    pub fn room(&self) -> &Room {
        self.room
    }

    /// What the draft can see.
    pub fn view(&self) -> &View<'a> {
        &self.view
    }

    /// The time of the decision, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.context.now
    }

    /// The current state, the draft's own events included.
    pub fn current(&self) -> Snapshot {
        self.head.current
    }

    /// A current state event.
    pub fn state(&self, kind: &StateEventType, state_key: &str) -> Result<Option<Arc<StoredEvent>>, Need> {
        self.head.current.event(&self.view, kind, state_key)?.map(|number| self.view.event(number)).transpose()
    }

    /// A user's current membership.
    pub fn membership(&self, user: &UserId) -> Result<Option<String>, Need> {
        Ok(self.state(&StateEventType::RoomMember, user.as_str())?.and_then(|event| event.pdu.content_str("membership")))
    }

    /// Further rows that the draft's commit writes.
    pub fn rows(&mut self) -> &mut Batch {
        &mut self.rows
    }

    /// Makes it this server's part to send an event of another server to the rest of the room: one that was handed in here,
    /// and that its own server sends to nobody else.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>
    pub fn pass_on(&mut self, event: OwnedEventId) {
        self.passed_on.insert(event);
    }

    /// The event that was appended last.
    pub fn last_event(&self) -> Option<OwnedEventId> {
        let last = self.appended.last()?;
        Some(self.view.event(last.event).ok()?.pdu.event_id.clone())
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        !self.view.has_fresh_events() && self.rows.is_empty()
    }

    pub(crate) fn next_number(&self) -> EventNumber {
        let number = self.context.next_event.get();
        self.context.next_event.set(number + 1);
        EventNumber(number)
    }

    pub(crate) fn store(&self, number: EventNumber, mut pdu: Pdu, decided: Decided) {
        pdu.rejected = decided.status == Status::Rejected;
        self.view.add_event(StoredEvent { number, room: self.room.number, pdu: Arc::new(pdu), decided });
    }
}

impl Decided {
    pub(crate) fn new(status: Status, before: Snapshot) -> Self {
        Self {
            status,
            position: Position(0),
            before,
            after: before,
            gap: false,
            late: false,
            found: false,
            replaces: None,
            redacted_by: None,
            transaction: None,
        }
    }
}
