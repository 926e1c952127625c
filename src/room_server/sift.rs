//! What comes from a server that is not in the room: what is accepted of it is kept, with what that needs, and of the rest next to nothing.
//!
//! Anybody can sign any number of events that the rules reject, and a name that is a key costs nothing. What is dropped here and
//! turns out to be needed, since somebody in the room builds on it, is asked for again and kept then.

use ruma::{EventId, OwnedEventId};

use super::{
    draft::Draft,
    receive::{Input, InputKind, Verdict},
    stored::Status,
    view::{Need, Undecided},
};
use crate::{
    event::CheckedPdu,
    gather::Gather,
    ordered::{OrderedMap, OrderedSet},
};

/// So much of what soft-fails is kept of a room for good, of all servers that were not in it when it came, in bytes: what crosses an
/// end of their membership is far less, and whoever goes on after a ban could do so for ever.
const MAX_SOFT_FAILED_BYTES: u64 = 1 << 20;

/// The events that are offered, by ID.
type Offered<'a> = OrderedMap<&'a EventId, (&'a Input, &'a Verdict)>;

impl Draft<'_> {
    /// Judges events of a server that is not in the room, each behind those that it names, in a draft that has nothing yet. Of the
    /// outliers, which are in order as well, those are stored that are needed.
    ///
    /// Returns the verdict on each event, and `None` for what is not kept.
    pub(crate) fn sift(&mut self, outliers: &[CheckedPdu], events: &[Input]) -> Result<Vec<Option<Verdict>>, Undecided> {
        self.foresee(outliers)?;
        let outliers = outliers.iter().map(|event| Input { event: event.clone(), kind: InputKind::Outlier, state_before: None });
        let mut inputs: Vec<Input> = outliers.chain(events.iter().cloned()).collect();
        loop {
            let verdicts: Vec<_> = inputs.iter().map(|input| self.receive(input)).collect::<Result<_, _>>()?;
            let offered: Offered<'_> = inputs.iter().zip(&verdicts).map(|offered| (id_of(offered.0), offered)).gather();
            let Needed { ids, soft_failed } = self.needed(&inputs, &offered)?;
            if offered.keys().all(|id| ids.contains(*id)) {
                self.head.soft_failed_of_others += soft_failed;
                return Ok(events.iter().map(|input| offered.get(id_of(input)).map(|(_, verdict)| (*verdict).clone())).collect());
            }
            let dropped: OrderedSet<OwnedEventId> = offered.keys().filter(|id| !ids.contains(**id)).map(|id| (*id).to_owned()).gather();
            inputs.retain(|input| !dropped.contains(id_of(input)));
            for state in inputs.iter_mut().filter_map(|input| input.state_before.as_mut()) {
                state.retain(|id| !dropped.contains(id));
            }
            // What goes may have changed what was decided of the rest.
            self.restart();
        }
    }

    /// Whether the event is rejected whatever comes before it, so that nothing need be asked for, and nothing that is kept builds on it.
    pub(crate) fn is_refused_at_once(&self, event: &CheckedPdu) -> Result<bool, Need> {
        let is_known = self.absent(&event.pdu().auth_events)?.is_empty();
        Ok(is_known && self.is_rejected_by_itself(event)? && !self.was_built_on(event.pdu())?)
    }

    /// Those of the events that are to be kept, and those of which nothing is stored anyway.
    fn needed(&self, inputs: &[Input], offered: &Offered<'_>) -> Result<Needed, Need> {
        let (mut needed, in_order) = (Needed::default(), || inputs.iter().filter_map(|input| offered.get(id_of(input))));
        for (input, verdict) in in_order() {
            let pdu = input.event.pdu();
            let is_accepted = **verdict == Verdict::Stored(Status::Accepted);
            // Who is in the room may build on what others have refused.
            let vouches = is_accepted && self.membership(&pdu.sender)?.as_deref() == Some("join");
            if vouches || (input.kind != InputKind::Outlier && self.was_built_on(pdu)?) {
                needed.add(offered, &pdu.event_id, before);
            } else if !matches!(verdict, Verdict::Stored(_)) {
                needed.ids.insert(pdu.event_id.clone());
            }
        }
        for (input, verdict) in in_order() {
            let pdu = input.event.pdu();
            let is_there = |id: &OwnedEventId| needed.ids.contains(id) || !offered.contains_key(&**id);
            match verdict {
                // Who knocks or leaves has no say in what is kept besides, nor in the state of the room.
                Verdict::Stored(Status::Accepted) if input.state_before.is_none() && pdu.prev_events.iter().all(is_there) => {
                    needed.add(offered, &pdu.event_id, authorising);
                }
                Verdict::Stored(Status::SoftFailed) if before(input, offered).iter().all(is_there) => {
                    let bytes = needed.soft_failed + pdu.json.get().len() as u64;
                    if !needed.ids.contains(&pdu.event_id) && self.head.soft_failed_of_others + bytes <= MAX_SOFT_FAILED_BYTES {
                        needed.soft_failed = bytes;
                        needed.ids.insert(pdu.event_id.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(needed)
    }
}

/// What is to be kept.
#[derive(Default)]
struct Needed {
    ids: OrderedSet<OwnedEventId>,
    /// How much of it has soft-failed and is needed by nobody, in bytes.
    soft_failed: u64,
}

impl Needed {
    /// Adds an event and whatever is offered of those that it leads to.
    fn add(&mut self, offered: &Offered<'_>, id: &EventId, leads_to: fn(&Input, &Offered<'_>) -> Vec<OwnedEventId>) {
        let mut queue = vec![id.to_owned()];
        while let Some(id) = queue.pop() {
            if let Some((input, _)) = offered.get(&*id)
                && self.ids.insert(id)
            {
                queue.extend(leads_to(input, offered));
            }
        }
    }
}

fn id_of(input: &Input) -> &EventId {
    &input.event.pdu().event_id
}

fn authorising(input: &Input, _: &Offered<'_>) -> Vec<OwnedEventId> {
    input.event.pdu().auth_events.clone()
}

/// The events that it builds on, that authorise it and that make up the state which was told.
fn before(input: &Input, offered: &Offered<'_>) -> Vec<OwnedEventId> {
    let pdu = input.event.pdu();
    let is_rejected = |id: &&OwnedEventId| offered.get(&***id).is_some_and(|(_, verdict)| **verdict == Verdict::Stored(Status::Rejected));
    let told = input.state_before.iter().flatten().filter(|id| !is_rejected(id));
    pdu.prev_events.iter().chain(&pdu.auth_events).chain(told).cloned().collect()
}
