//! How far a destination has come: which part of the log it has, which part waits for it at a relay, and which part is to be sent.
//!
//! Pure: the delivery state of every event follows from it, and nothing is written for an event.

#[cfg(test)]
mod tests;

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
