//! When to try again to close which gap: a state machine without clock or storage.

use crate::{arrange::Arrange, ordered::OrderedMap};
use ruma::{OwnedRoomId, OwnedServerName};

/// A gap: what a server has sent of a room, and what cannot be placed yet.
pub(super) type GapId = (OwnedRoomId, OwnedServerName);

/// So many gaps are being closed at a time: others' requests and memory are not to be used up by one person's rooms.
const MAX_RUNNING: usize = 8;

/// So many of them may be of one server, which may take its time to answer.
const MAX_RUNNING_OF_ORIGIN: usize = 2;

/// And so many of servers that are not known to be in the room, all of them together: anybody can be one.
const MAX_RUNNING_OF_STRANGERS: usize = 2;

/// After the first failure it is tried again after so long; each failure doubles it.
const FIRST_PAUSE_MILLIS: u64 = 5_000;

/// The longest pause: somebody who has what is missing may be there by then, unheard.
const LONGEST_PAUSE_MILLIS: u64 = 60 * 60 * 1000;

/// Whatever is heard meanwhile, after some failures the next attempt is not before so long: who sends what leads nowhere does
/// not make this server ask more often.
const SHORTEST_PAUSE_MILLIS: u64 = 10_000;

/// The gaps there are, and when each is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    gaps: OrderedMap<GapId, Gap>,
}

#[derive(Debug, Default)]
struct Gap {
    due: u64,
    /// The earliest time at which news may make it due.
    not_before: u64,
    failures: u32,
    running: bool,
    /// Something was heard while it ran.
    again: bool,
    /// Its server is not known to be in the room.
    is_of_stranger: bool,
}

/// The gaps that are being closed.
#[derive(Default)]
struct Running {
    by_origin: OrderedMap<OwnedServerName, usize>,
    of_strangers: usize,
}

impl Schedule {
    /// Something came that may close the gap: an event to be placed, an event that others waited for, or its server.
    pub(super) fn heard(&mut self, now: u64, id: &GapId) {
        let gap = self.gaps.entry(id.clone()).or_insert_with(|| Gap { due: now, ..Gap::default() });
        gap.again = gap.running;
        gap.due = gap.due.min(now.max(gap.not_before));
    }

    /// Notes of the server of a gap whether it is known to be in the room.
    pub(super) fn note_stranger(&mut self, id: &GapId, is_stranger: bool) {
        if let Some(gap) = self.gaps.get_mut(id) {
            gap.is_of_stranger = is_stranger;
        }
    }

    /// An attempt has ended; it has placed something, and something may be left.
    pub(super) fn ended(&mut self, now: u64, id: &GapId, progressed: bool, is_closed: bool) {
        let Some(gap) = self.gaps.get_mut(id) else { return };
        if is_closed && !gap.again {
            self.gaps.remove(id);
            return;
        }
        gap.failures = if progressed { 0 } else { gap.failures.saturating_add(1) };
        let doubled = FIRST_PAUSE_MILLIS.saturating_mul(1 << gap.failures.saturating_sub(1).min(20));
        gap.not_before = if gap.failures > 0 { now + SHORTEST_PAUSE_MILLIS.min(doubled) } else { now };
        gap.due = if gap.failures > 0 { now + doubled.min(LONGEST_PAUSE_MILLIS) } else { now };
        if gap.again {
            gap.due = gap.due.min(gap.not_before);
        }
        (gap.running, gap.again) = (false, false);
    }

    /// Whether the last attempt to close a gap has placed nothing, and none runs now.
    pub(super) fn has_failed(&self, id: &GapId) -> bool {
        self.gaps.get(id).is_some_and(|gap| gap.failures > 0 && !gap.running)
    }

    /// The gaps to be closed now, which count as running from here on.
    pub(super) fn begin(&mut self, now: u64) -> Vec<GapId> {
        let mut running = self.running();
        let mut due: Vec<_> = self.gaps.iter_mut().filter(|(_, gap)| !gap.running && gap.due <= now).collect();
        due.arrange_by_key(|(_, gap)| gap.due);
        let mut begun = Vec::new();
        for (id, gap) in due {
            if running.has_place_for(id, gap) {
                gap.running = true;
                running.add(id, gap);
                begun.push(id.clone());
            }
        }
        begun
    }

    /// When the next gap is due that may be closed then; `None` while there is none.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let running = self.running();
        let waiting = self.gaps.iter().filter(|(id, gap)| !gap.running && running.has_place_for(id, gap));
        waiting.map(|(_, gap)| gap.due).min()
    }

    fn running(&self) -> Running {
        let mut running = Running::default();
        self.gaps.iter().filter(|(_, gap)| gap.running).for_each(|(id, gap)| running.add(id, gap));
        running
    }
}

impl Running {
    fn add(&mut self, (_, origin): &GapId, gap: &Gap) {
        *self.by_origin.entry(origin.clone()).or_default() += 1;
        self.of_strangers += usize::from(gap.is_of_stranger);
    }

    fn has_place_for(&self, (_, origin): &GapId, gap: &Gap) -> bool {
        let of_origin = self.by_origin.get(origin).copied().unwrap_or_default();
        let is_in_bounds = !gap.is_of_stranger || self.of_strangers < MAX_RUNNING_OF_STRANGERS;
        is_in_bounds && of_origin < MAX_RUNNING_OF_ORIGIN && self.by_origin.values().sum::<usize>() < MAX_RUNNING
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, server_name};

    use super::*;

    fn gap(room: &str) -> GapId {
        (ruma::RoomId::parse(format!("!{room}:a.example")).unwrap(), server_name!("b.example").to_owned())
    }

    #[test]
    fn failures_lengthen_the_pause_up_to_an_hour_and_for_ever() {
        let mut schedule = Schedule::default();
        let id = (room_id!("!r:a.example").to_owned(), server_name!("b.example").to_owned());
        schedule.heard(0, &id);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert_eq!(schedule.begin(now), std::slice::from_ref(&id));
            schedule.ended(now, &id, false, false);
            let due = schedule.next_deadline().unwrap();
            pauses.push((due - now) / 1000);
            assert_eq!(schedule.begin(due - 1), []);
            now = due;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]);
    }

    #[test]
    fn news_makes_it_due_but_not_at_any_rate() {
        let (mut schedule, id) = (Schedule::default(), gap("r"));
        schedule.heard(0, &id);
        for round in 0..5 {
            let now = round * 60_000;
            assert_eq!(schedule.begin(now).len(), 1);
            schedule.ended(now, &id, false, false);
            schedule.heard(now + 1, &id);
            let pause = if round == 0 { 5_000 } else { 10_000 };
            assert_eq!(schedule.next_deadline(), Some(now + pause));
        }
    }

    #[test]
    fn what_is_heard_during_an_attempt_leads_to_another() {
        let (mut schedule, id) = (Schedule::default(), gap("r"));
        schedule.heard(0, &id);
        schedule.begin(0);
        schedule.heard(1, &id);
        assert_eq!(schedule.begin(1), [], "one attempt at a time");
        schedule.ended(2, &id, true, true);
        assert_eq!(schedule.begin(2), std::slice::from_ref(&id));
        schedule.ended(3, &id, true, true);
        assert_eq!(schedule.next_deadline(), None);
    }

    fn gap_of(room: u64, origin: u64) -> GapId {
        (gap(&room.to_string()).0, ruma::ServerName::parse(format!("s{origin}.example")).unwrap())
    }

    #[test]
    fn one_server_takes_up_few_of_the_places() {
        let mut schedule = Schedule::default();
        (0..20).for_each(|room| schedule.heard(room, &gap_of(room, 0)));
        let first = schedule.begin(100);
        assert_eq!((first.len(), schedule.next_deadline()), (MAX_RUNNING_OF_ORIGIN, None), "nothing is due that may begin");
        schedule.heard(200, &gap_of(0, 1));
        assert_eq!(schedule.next_deadline(), Some(200));
        assert_eq!(schedule.begin(200), [gap_of(0, 1)], "whoever comes later does not wait");
        schedule.ended(300, &first[0], false, false);
        assert_eq!(schedule.begin(300), [gap_of(2, 0)], "and the others of the first get their turn");
    }

    #[test]
    fn strangers_take_up_few_of_the_places_all_together() {
        let mut schedule = Schedule::default();
        for origin in 0..20 {
            schedule.heard(origin, &gap_of(0, origin));
            schedule.note_stranger(&gap_of(0, origin), true);
        }
        let first = schedule.begin(100);
        assert_eq!((first.len(), schedule.next_deadline()), (MAX_RUNNING_OF_STRANGERS, None));
        schedule.heard(200, &gap_of(0, 20));
        assert_eq!(schedule.begin(200), [gap_of(0, 20)], "who is in the room does not wait for them");
        schedule.note_stranger(&first[0], false);
        assert_eq!(schedule.begin(300), [gap_of(0, 2)], "and who turns out to be in it leaves the place to others");
    }

    #[test]
    fn what_was_tried_in_vain_is_known() {
        let (mut schedule, id) = (Schedule::default(), gap("r"));
        schedule.heard(0, &id);
        assert!(!schedule.has_failed(&id), "it was not tried yet");
        schedule.begin(0);
        schedule.ended(1, &id, false, false);
        assert!(schedule.has_failed(&id) && !schedule.has_failed(&gap("other")));
        schedule.begin(10_000);
        assert!(!schedule.has_failed(&id), "it is being tried");
        schedule.ended(10_001, &id, true, false);
        assert!(!schedule.has_failed(&id));
    }

    #[test]
    fn few_run_at_a_time_and_all_get_their_turn() {
        let mut schedule = Schedule::default();
        (0..20).for_each(|room| schedule.heard(room, &gap_of(room, room)));
        let first = schedule.begin(100);
        assert_eq!((first.len(), schedule.next_deadline()), (MAX_RUNNING, None));
        schedule.ended(100, &first[0], false, false);
        let second = schedule.begin(100);
        assert!(second.len() == 1 && !first.contains(&second[0]));
    }
}
