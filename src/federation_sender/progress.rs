//! How far a destination has come: which part of the log it has, which part waits for it at a relay, and which part is to be sent.
//!
//! Pure: the delivery state of every event follows from it, and nothing is written for an event.

use serde::{Deserialize, Serialize};

use crate::{arrange::Arrange, room_server::Position};

/// What a relay keeps counts as lost when the destination has not acknowledged it for so long, where the relay does not say how
/// long it keeps mail: nearly a month.
const KEPT_FOR_MILLIS: u64 = 28 * 24 * 3_600_000;

/// A relay that keeps nothing for long would be sent everything again and again, and one that keeps it for ever may be gone.
const SHORTEST_MILLIS: u64 = 3_600_000;
const LONGEST_MILLIS: u64 = 366 * 24 * 3_600_000;

/// When a relay took a transaction is noted to the hour, so that a day's transactions make a few segments and not thousands.
const KEPT_AT_GRAIN_MILLIS: u64 = 3_600_000;

/// So many items that the destination would not take are remembered.
const MAX_REFUSED: usize = 100;

/// A stretch of the log that one transaction tells: all that the destination may see behind `after`, up to `upto`.
///
/// `start` is the start of the server in which the transaction was made. Positions that were lost with the power are given out
/// anew, and a transaction about the new ones must not look like one about the old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stretch {
    #[serde(rename = "a")]
    pub(crate) after: Position,
    #[serde(rename = "u")]
    pub(crate) upto: Position,
    #[serde(rename = "b")]
    pub(crate) start: String,
}

/// A transaction that was made and is not answered yet: after a restart it is repeated as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    #[serde(flatten)]
    pub(crate) stretch: Stretch,
    /// When it was made, in milliseconds since the Unix epoch.
    #[serde(rename = "t")]
    pub(crate) made_at: u64,
}

/// What has become of a stretch behind the part that the destination has as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Fate {
    /// The destination has it.
    #[serde(rename = "r")]
    Received,
    /// A relay keeps it, since about that time.
    #[serde(rename = "k")]
    Kept {
        start: String,
        since: u64,
        #[serde(rename = "y", default, skip_serializing_if = "Keeping::says_nothing")]
        keeping: Keeping,
    },
    /// It is to be sent again.
    #[serde(rename = "q")]
    Queued,
}

/// How relays keep a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeping {
    /// The destination's relays that have not taken it, and are still asked to.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lacking: Vec<String>,
    /// For how long they keep it, where they say.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention: Option<u64>,
}

impl Keeping {
    fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn millis(&self) -> u64 {
        self.retention.map_or(KEPT_FOR_MILLIS, |retention| retention.clamp(SHORTEST_MILLIS, LONGEST_MILLIS))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    #[serde(rename = "u")]
    upto: Position,
    #[serde(rename = "f")]
    fate: Fate,
}

/// An item that the destination would not take, alone in a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    #[serde(rename = "p")]
    pub(crate) position: Position,
    /// What the destination said.
    #[serde(rename = "r")]
    pub(crate) reason: String,
}

/// How far a destination has come, as its row holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The destination has all that it may see up to here.
    #[serde(rename = "a")]
    acknowledged: Position,
    /// What became of what is behind that, in order and without gaps.
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    segments: Vec<Segment>,
    /// Whether the destination's own place in the log counts, instead of the one where all are that lack nothing.
    #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_behind: bool,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<InFlight>,
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refused>,
    /// When the destination last answered, in milliseconds since the Unix epoch.
    #[serde(rename = "l", default)]
    pub(crate) answered_at: u64,
    /// The sequence number of this server's node record that the destination was told last.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub(crate) record_told: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What has become of an event on its way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delivery {
    /// It is still to be sent.
    Queued,
    /// A relay has it, and the destination has not acknowledged it.
    AtRelay,
    /// The destination has it.
    Delivered,
}

impl Progress {
    /// A destination that needs nothing up to this position.
    pub(crate) fn at(position: Position) -> Self {
        Self { acknowledged: position, ..Self::default() }
    }

    /// Forgets what was beyond the log's end: those positions were lost with the power, and are given out anew.
    pub(crate) fn clip(&mut self, end: Position) {
        self.acknowledged = self.acknowledged.min(end);
        for segment in &mut self.segments {
            segment.upto = segment.upto.min(end);
        }
        let mut after = self.acknowledged;
        self.segments.retain(|segment| std::mem::replace(&mut after, segment.upto) < segment.upto);
        self.in_flight = self.in_flight.take().filter(|in_flight| in_flight.stretch.upto <= end);
        self.refused.retain(|refused| refused.position <= end);
    }

    /// The position up to which the destination has everything.
    pub(crate) fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    /// The position up to which everything was handed over once.
    pub(crate) fn frontier(&self) -> Position {
        self.segments.last().map_or(self.acknowledged, |segment| segment.upto)
    }

    /// The part of the log to send next: behind the first position, up to the second or without end.
    pub(crate) fn next_part(&self) -> (Position, Option<Position>) {
        let mut after = self.acknowledged;
        for segment in &self.segments {
            if segment.fate == Fate::Queued {
                return (after, Some(segment.upto));
            }
            after = segment.upto;
        }
        (after, None)
    }

    /// The destination has this part of the log.
    pub(crate) fn receive(&mut self, after: Position, upto: Position) {
        self.set(after, upto, Fate::Received);
    }

    /// A relay keeps this part of the log from now on.
    pub(crate) fn keep(&mut self, stretch: &Stretch, now: u64, keeping: Keeping) {
        let since = now - now % KEPT_AT_GRAIN_MILLIS;
        self.set(stretch.after, stretch.upto, Fate::Kept { start: stretch.start.clone(), since, keeping });
    }

    /// The first part that some of the destination's relays have not taken, and these relays.
    pub(crate) fn first_lacking(&self) -> Option<(Stretch, &[String])> {
        let mut after = self.acknowledged;
        for segment in &self.segments {
            if let Fate::Kept { start, keeping, .. } = &segment.fate
                && !keeping.lacking.is_empty()
            {
                return Some((Stretch { after, upto: segment.upto, start: start.clone() }, &keeping.lacking));
            }
            after = segment.upto;
        }
        None
    }

    /// Only these relays lack a part from now on that others keep. What was acknowledged meanwhile stays so.
    pub(crate) fn lack(&mut self, stretch: &Stretch, lacking: &[String]) {
        let mut after = self.acknowledged;
        let mut parts = Vec::new();
        for segment in &self.segments {
            let part = (after.max(stretch.after), segment.upto.min(stretch.upto));
            if let Fate::Kept { start, since, keeping } = &segment.fate
                && part.0 < part.1
                && *start == stretch.start
            {
                let keeping = Keeping { lacking: lacking.to_vec(), ..keeping.clone() };
                parts.push((part, Fate::Kept { start: start.clone(), since: *since, keeping }));
            }
            after = segment.upto;
        }
        for ((after, upto), fate) in parts {
            self.set(after, upto, fate);
        }
    }

    /// The destination acknowledges a transaction that it got from a relay. Returns whether that says anything new.
    pub(crate) fn acknowledge(&mut self, acknowledged: &Stretch) -> bool {
        let mut after = self.acknowledged;
        let mut received = Vec::new();
        for segment in &self.segments {
            let part = (after.max(acknowledged.after), segment.upto.min(acknowledged.upto));
            if part.0 < part.1 && matches!(&segment.fate, Fate::Kept { start, .. } if *start == acknowledged.start) {
                received.push(part);
            }
            after = segment.upto;
        }
        for (after, upto) in &received {
            self.receive(*after, *upto);
        }
        !received.is_empty()
    }

    /// Queues again what a relay took before `since` and the destination has not acknowledged. Returns whether there is any.
    pub(crate) fn requeue_kept_before(&mut self, before: u64) -> bool {
        self.requeue(|since, _| since < before)
    }

    fn requeue(&mut self, is_lost: impl Fn(u64, &Keeping) -> bool) -> bool {
        let mut any = false;
        for segment in &mut self.segments {
            if matches!(&segment.fate, Fate::Kept { since, keeping, .. } if is_lost(*since, keeping)) {
                segment.fate = Fate::Queued;
                any = true;
            }
        }
        any
    }

    /// Queues again what relays have kept for so long that they will have thrown it away.
    pub(crate) fn requeue_expired(&mut self, now: u64) -> bool {
        self.requeue(|since, keeping| since + keeping.millis() < now)
    }

    /// When something that a relay keeps is to be queued again.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let expiry = |segment: &Segment| match &segment.fate {
            Fate::Kept { since, keeping, .. } => Some(since + keeping.millis() + 1),
            Fate::Received | Fate::Queued => None,
        };
        self.segments.iter().filter_map(expiry).min()
    }

    /// Whether a relay keeps anything for the destination.
    pub(crate) fn has_kept(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.fate, Fate::Kept { .. }))
    }

    /// The destination would not take what is at this position.
    pub(crate) fn refuse(&mut self, refused: Refused) {
        self.refused.push(refused);
        let surplus = self.refused.len().saturating_sub(MAX_REFUSED);
        self.refused.drain(..surplus);
    }

    /// Why the destination would not take what is at this position, if it would not.
    pub(crate) fn refusal(&self, position: Position) -> Option<&str> {
        self.refused.iter().find(|refused| refused.position == position).map(|refused| refused.reason.as_str())
    }

    /// What has become of what is at this position.
    pub(crate) fn delivery(&self, position: Position) -> Delivery {
        if position <= self.acknowledged {
            return Delivery::Delivered;
        }
        match self.segments.iter().find(|segment| position <= segment.upto).map(|segment| &segment.fate) {
            Some(Fate::Received) => Delivery::Delivered,
            Some(Fate::Kept { .. }) => Delivery::AtRelay,
            Some(Fate::Queued) | None => Delivery::Queued,
        }
    }

    fn set(&mut self, after: Position, upto: Position, fate: Fate) {
        let mut pieces = Vec::new();
        let mut start = self.acknowledged;
        for Segment { upto: end, fate: old } in std::mem::take(&mut self.segments) {
            pieces.push((start, end.min(after), old.clone()));
            pieces.push((start.max(upto), end, old));
            start = end;
        }
        pieces.push((after.max(self.acknowledged), upto, fate));
        pieces.retain(|(start, end, _)| start < end);
        pieces.arrange_by_key(|(start, ..)| *start);
        for (_, upto, fate) in pieces {
            self.push(upto, fate);
        }
    }

    fn push(&mut self, upto: Position, fate: Fate) {
        match self.segments.last_mut() {
            None if fate == Fate::Received => self.acknowledged = upto,
            Some(last) if last.fate == fate => last.upto = upto,
            _ => self.segments.push(Segment { upto, fate }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stretch(after: u64, upto: u64) -> Stretch {
        Stretch { after: Position(after), upto: Position(upto), start: "s".into() }
    }

    fn deliveries(progress: &Progress, upto: u64) -> String {
        let letter = |position| match progress.delivery(Position(position)) {
            Delivery::Queued => 'q',
            Delivery::AtRelay => 'k',
            Delivery::Delivered => 'd',
        };
        (1..=upto).map(letter).collect()
    }

    #[test]
    fn what_a_relay_keeps_is_delivered_once_it_is_acknowledged() {
        let mut progress = Progress::at(Position(1));
        progress.receive(Position(1), Position(2));
        progress.keep(&stretch(2, 4), 10, Keeping::default());
        progress.keep(&stretch(4, 6), 10, Keeping::default());
        assert_eq!(deliveries(&progress, 7), "ddkkkkq");
        assert_eq!(progress.next_part(), (Position(6), None), "what follows goes on");
        assert!(progress.acknowledge(&stretch(4, 6)));
        assert_eq!(deliveries(&progress, 7), "ddkkddq");
        assert!(!progress.acknowledge(&stretch(4, 6)), "nothing new");
        assert!(progress.acknowledge(&stretch(2, 4)));
        assert_eq!(progress, Progress::at(Position(6)));
    }

    #[test]
    fn an_acknowledgement_of_another_start_means_other_events() {
        let mut progress = Progress::at(Position(0));
        progress.keep(&stretch(0, 4), 10, Keeping::default());
        assert!(!progress.acknowledge(&Stretch { start: "other".into(), ..stretch(0, 4) }));
        assert_eq!(deliveries(&progress, 4), "kkkk");
    }

    #[test]
    fn what_was_never_handed_over_cannot_be_acknowledged() {
        let mut progress = Progress::at(Position(0));
        assert!(!progress.acknowledge(&stretch(0, 4)));
        assert_eq!(deliveries(&progress, 4), "qqqq");
    }

    #[test]
    fn without_an_acknowledgement_it_is_queued_again_when_relays_will_have_lost_it() {
        let mut progress = Progress::at(Position(0));
        progress.keep(&stretch(0, 4), 5, Keeping::default());
        progress.keep(&stretch(4, 6), KEPT_FOR_MILLIS, Keeping::default());
        progress.receive(Position(6), Position(8));
        let due = progress.next_expiry().expect("something is kept");
        assert!(!progress.requeue_expired(due - 1));
        assert!(progress.requeue_expired(due));
        assert_eq!(deliveries(&progress, 8), "qqqqkkdd");
        assert_eq!(progress.next_part(), (Position(0), Some(Position(4))));
        progress.receive(Position(0), Position(3));
        assert_eq!(progress.next_part(), (Position(3), Some(Position(4))));
        progress.keep(&stretch(3, 4), due, Keeping::default());
        assert_eq!((progress.next_part(), progress.frontier()), ((Position(8), None), Position(8)));
    }

    #[test]
    fn a_relay_that_says_how_long_it_keeps_mail_is_believed_within_reason() {
        let keeping = |retention| Keeping { retention: Some(retention), ..Keeping::default() };
        for (said, held) in [(7 * 24 * 3_600_000, 7 * 24 * 3_600_000), (0, SHORTEST_MILLIS), (u64::MAX, LONGEST_MILLIS)] {
            let mut progress = Progress::at(Position(0));
            progress.keep(&stretch(0, 4), 0, keeping(said));
            assert_eq!(progress.next_expiry(), Some(held + 1));
            assert!(!progress.requeue_expired(held) && progress.requeue_expired(held + 1));
        }
    }

    #[test]
    fn relays_that_lack_something_are_known_until_it_is_acknowledged() {
        let mut progress = Progress::at(Position(0));
        let lacking = |relays: &[&str]| Keeping { lacking: relays.iter().map(|&relay| relay.to_owned()).collect(), ..Keeping::default() };
        progress.keep(&stretch(0, 2), 5, Keeping::default());
        progress.keep(&stretch(2, 8), 5, lacking(&["x", "y"]));
        assert_eq!(progress.first_lacking(), Some((stretch(2, 8), ["x".to_owned(), "y".to_owned()].as_slice())));
        progress.lack(&stretch(2, 5), &["y".to_owned()]);
        assert_eq!(progress.first_lacking(), Some((stretch(2, 5), ["y".to_owned()].as_slice())));
        assert!(progress.acknowledge(&stretch(2, 5)));
        progress.lack(&stretch(2, 5), &["y".to_owned()]);
        assert_eq!(deliveries(&progress, 8), "kkdddkkk", "what was acknowledged stays so");
        progress.lack(&stretch(5, 8), &[]);
        assert_eq!(progress.first_lacking(), None);
        assert_eq!(deliveries(&progress, 8), "kkdddkkk");
    }

    #[test]
    fn what_was_lost_with_the_power_was_never_told() {
        let mut progress = Progress::at(Position(0));
        progress.keep(&stretch(0, 4), 5, Keeping::default());
        progress.receive(Position(4), Position(8));
        progress.keep(&stretch(8, 10), 5, Keeping::default());
        progress.in_flight = Some(InFlight { stretch: stretch(10, 12), made_at: 0 });
        progress.clip(Position(6));
        assert_eq!((progress.frontier(), progress.in_flight.clone()), (Position(6), None));
        assert_eq!(deliveries(&progress, 9), "kkkkddqqq");
        progress.clip(Position(2));
        assert_eq!(deliveries(&progress, 4), "kkqq");
        let mut all = Progress::at(Position(9));
        all.clip(Position(3));
        assert_eq!(deliveries(&all, 4), "dddq");
    }

    #[test]
    fn an_offline_month_makes_few_segments() {
        let mut progress = Progress::at(Position(0));
        for number in 0..30 * 24 * 60 {
            progress.keep(&stretch(number, number + 1), number * 60_000, Keeping::default());
        }
        assert_eq!(progress.segments.len(), 30 * 24);
    }

    #[test]
    fn refusals_are_remembered_with_a_bound() {
        let mut progress = Progress::at(Position(0));
        for position in 1..=300 {
            progress.refuse(Refused { position: Position(position), reason: position.to_string() });
        }
        assert_eq!((progress.refusal(Position(300)), progress.refusal(Position(1))), (Some("300"), None));
        assert_eq!(progress.refused.len(), MAX_REFUSED);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Receive(u64),
        Keep(u64),
        Acknowledge(u64, u64),
        Requeue(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1_u64..5).prop_map(Step::Receive),
            (1_u64..5).prop_map(Step::Keep),
            (0_u64..40, 1_u64..9).prop_map(|(after, length)| Step::Acknowledge(after, after + length)),
            (0_u64..100).prop_map(Step::Requeue),
        ]
    }

    proptest! {
        /// Against a model that notes each position by itself.
        #[test]
        fn segments_say_what_single_positions_would(steps in proptest::collection::vec(step(), 0..40)) {
            let mut progress = Progress::at(Position(0));
            let mut model: Vec<(char, u64)> = Vec::new();
            for (time, step) in (0_u64..).zip(steps) {
                let now = time * KEPT_AT_GRAIN_MILLIS;
                match step {
                    Step::Receive(length) | Step::Keep(length) => {
                        let (after, upto) = progress.next_part();
                        let upto = upto.map_or(after.0 + length, |upto| upto.0.min(after.0 + length));
                        let letter = if matches!(step, Step::Keep(_)) { 'k' } else { 'd' };
                        if letter == 'k' { progress.keep(&stretch(after.0, upto), now, Keeping::default()) } else { progress.receive(after, Position(upto)) }
                        model.resize(model.len().max(usize::try_from(upto).unwrap()), ('q', 0));
                        for position in after.0..upto {
                            prop_assert_eq!(model[usize::try_from(position).unwrap()].0, 'q', "only what is queued is sent");
                            model[usize::try_from(position).unwrap()] = (letter, now);
                        }
                    }
                    Step::Acknowledge(after, upto) => {
                        let part = usize::try_from(after).unwrap()..usize::try_from(upto).unwrap();
                        let acknowledged = model.iter_mut().enumerate().filter(|(at, entry)| part.contains(at) && entry.0 == 'k');
                        let any = acknowledged.map(|(_, entry)| entry.0 = 'd').count() > 0;
                        prop_assert_eq!(progress.acknowledge(&stretch(after, upto)), any);
                    }
                    Step::Requeue(time) => {
                        let before = time * KEPT_AT_GRAIN_MILLIS;
                        let lost = model.iter_mut().filter(|entry| entry.0 == 'k' && entry.1 < before);
                        let any = lost.map(|entry| entry.0 = 'q').count() > 0;
                        prop_assert_eq!(progress.requeue_kept_before(before), any);
                    }
                }
                let expected: String = model.iter().map(|entry| entry.0).collect();
                prop_assert_eq!(deliveries(&progress, model.len() as u64), expected.clone());
                let first = expected.find('q').unwrap_or(expected.len()) as u64;
                prop_assert_eq!(progress.next_part().0, Position(first));
                let row = serde_json::to_vec(&progress).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Progress>(&row).unwrap(), progress.clone());
            }
        }
    }
}
