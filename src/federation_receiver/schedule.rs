//! When to try again to close which gap: a state machine without clock or storage.

use std::collections::BTreeMap;

use crate::arrange::Arrange;
use ruma::{OwnedRoomId, OwnedServerName};

/// A gap: what a server has sent of a room, and what cannot be placed yet.
pub(super) type GapId = (OwnedRoomId, OwnedServerName);

/// So many gaps are being closed at a time: others' requests and memory are not to be used up by one person's rooms.
const MAX_RUNNING: usize = 8;

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
    gaps: BTreeMap<GapId, Gap>,
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
}

impl Schedule {
    /// Something came that may close the gap: an event to be placed, an event that others waited for, or its server.
    pub(super) fn heard(&mut self, now: u64, id: &GapId) {
        let gap = self.gaps.entry(id.clone()).or_insert_with(|| Gap { due: now, ..Gap::default() });
        gap.again = gap.running;
        gap.due = gap.due.min(now.max(gap.not_before));
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

    /// The gaps to be closed now, which count as running from here on.
    pub(super) fn begin(&mut self, now: u64) -> Vec<GapId> {
        let running = self.gaps.values().filter(|gap| gap.running).count();
        let mut due: Vec<_> = self.gaps.iter_mut().filter(|(_, gap)| !gap.running && gap.due <= now).collect();
        due.arrange_by_key(|(_, gap)| gap.due);
        due.truncate(MAX_RUNNING.saturating_sub(running));
        due.iter_mut().for_each(|(_, gap)| gap.running = true);
        due.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// When the next gap is due; `None` while none is, or while as many are being closed as may be.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let running = self.gaps.values().filter(|gap| gap.running).count();
        let due = self.gaps.values().filter(|gap| !gap.running).map(|gap| gap.due).min();
        due.filter(|_| running < MAX_RUNNING)
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

    #[test]
    fn few_run_at_a_time_and_all_get_their_turn() {
        let mut schedule = Schedule::default();
        (0..20).for_each(|room| schedule.heard(room, &gap(&room.to_string())));
        let first = schedule.begin(100);
        assert_eq!((first.len(), schedule.next_deadline()), (MAX_RUNNING, None));
        schedule.ended(100, &first[0], false, false);
        let second = schedule.begin(100);
        assert!(second.len() == 1 && !first.contains(&second[0]));
    }
}
