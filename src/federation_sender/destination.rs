//! A destination: what waits for it, whether something is under way, and when it is tried next. A pure state machine.

use std::{collections::VecDeque, rc::Rc};

use super::{
    backoff::Backoff,
    greeting::SILENCE_MILLIS,
    notes::{Greeting, Notes},
    progress::{Delivery, InFlight, Keeping, Progress, Refused, Stretch},
};
use crate::{log::Output, room_server::Position};

/// The most events of one transaction.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#transactions>
pub(crate) const MAX_ITEMS: usize = 50;

/// So much of what a destination is to get waits in memory: enough to go on at once while one transaction is under way. What is
/// behind that is read from the log again.
const MAX_WAITING: usize = 2 * MAX_ITEMS;

/// A destination that answers has had so long to acknowledge what a relay keeps for it, in milliseconds since it last did so:
/// then the relay has lost it.
const GRACE_MILLIS: u64 = 10 * 60_000;

/// A destination whose last transaction took longer than this is slow, in milliseconds. Who takes in 50 events needs less.
const SLOW_MILLIS: u64 = 5_000;

/// One entry of the log that the destination is told of.
pub(crate) type Item = (Position, Rc<Output>);

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The destination has taken it, but for these events.
    Delivered(Vec<Refused>),
    /// Relays keep it.
    Kept(Keeping),
    /// Nobody answered, or with something that passes. The destination asks to be left alone for so many milliseconds.
    Failed(u64),
    /// The destination will never take it as it is.
    Refused(String),
}

/// A server that is told of events.
#[derive(Default)]
pub(crate) struct Destination {
    pub(crate) progress: Progress,
    backoff: Backoff,
    /// What is behind the frontier, up to `collected`.
    waiting: VecDeque<Item>,
    collected: Position,
    /// Whether everything is collected that the sender has read, so that what it reads next can be added.
    is_current: bool,
    /// The positions of the items that are under way.
    under_way: Option<Vec<Position>>,
    /// Whether the destination has acknowledged the transaction in flight, which a relay handed to it before the relay's answer came.
    is_acknowledged_early: bool,
    /// How many items a transaction may have: few where something among them is not taken.
    most: Option<usize>,
    /// Since when the destination answers or speaks for itself without acknowledging what relays keep for it.
    answering_since: Option<u64>,
    /// The part under way that goes to relays which lack it while others keep it.
    spreading: Option<Stretch>,
    /// When such relays are tried next.
    spread_backoff: Backoff,
    /// What it is told beside the log.
    notes: Notes,
    /// The part of that which is under way.
    notes_under_way: Option<Notes>,
    /// When a transaction for it was last done with, and whether that took long.
    served_at: u64,
    is_slow: bool,
    /// When it last sent something by itself, in milliseconds since the Unix epoch.
    heard_at: u64,
    /// Acknowledgements that it has got, and that need not be stored any more.
    pub(crate) acknowledgements_told: Vec<String>,
    /// Whether messages to its devices may be stored that it has received.
    pub(crate) has_mail: bool,
    /// Whether the row must be written.
    pub(crate) has_changed: bool,
}

impl Destination {
    /// A destination that has got everything up to a position.
    pub(crate) fn current_at(position: Position) -> Self {
        Self { progress: Progress::at(position), collected: position, is_current: true, ..Self::default() }
    }

    /// A destination as it was when the server stopped, after which the log ended at `end`.
    pub(crate) fn restored(mut progress: Progress, end: Position) -> Self {
        progress.clip(end);
        Self { is_current: !progress.is_behind, collected: progress.frontier(), progress, has_mail: true, ..Self::default() }
    }

    /// The sender has read an entry that the destination is to be told of.
    pub(crate) fn push(&mut self, item: &Item) {
        self.has_mail |= matches!(*item.1, Output::ToDeviceRemote { .. });
        if !self.is_current || item.0 <= self.collected {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.is_current = false;
            return;
        }
        self.collected = item.0;
        self.waiting.push_back(item.clone());
    }

    /// From where on the log must be read for this destination, if it must.
    pub(crate) fn wants_reading(&self) -> Option<Position> {
        (!self.is_current && self.waiting.len() < MAX_ITEMS).then_some(self.collected)
    }

    /// Takes what was read for this destination up to a position, which may be all that there is.
    pub(crate) fn collect(&mut self, items: Vec<Item>, upto: Position, is_all: bool) {
        self.waiting.extend(items);
        self.collected = upto;
        self.is_current = is_all;
        if self.waiting.is_empty() && self.under_way.is_none() && self.progress.in_flight.is_none() {
            self.settle();
        }
    }

    /// Whether there is anything to send.
    pub(crate) fn has_work(&self) -> bool {
        self.progress.in_flight.is_some() || self.progress.next_part().1.is_some() || !self.waiting.is_empty() || !self.is_current
    }

    /// Whether something may be sent now.
    pub(crate) fn is_ready(&self, now: u64) -> bool {
        !self.is_under_way() && self.backoff.deadline(now).is_none()
    }

    /// Whether a transaction is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some() || self.notes_under_way.is_some() || self.spreading.is_some()
    }

    /// Whether relays lack what others keep, and may be tried now.
    pub(crate) fn is_to_spread(&self, now: u64) -> bool {
        self.spread_backoff.deadline(now).is_none() && self.progress.first_lacking().is_some()
    }

    /// A part goes to the relays that lack it.
    pub(crate) fn begin_spreading(&mut self, stretch: Stretch) {
        self.spreading = Some(stretch);
    }

    /// Relays that lacked what others keep have answered, or have not; `still` are those that lack it now.
    pub(crate) fn finish_spreading(&mut self, now: u64, random: u64, outcome: &Outcome, still: &[String]) {
        let Some(stretch) = self.spreading.take() else { return };
        let before = self.progress.first_lacking().map(|(_, lacking)| lacking.len());
        match outcome {
            Outcome::Delivered(refused) => {
                refused.iter().for_each(|refused| self.progress.refuse(refused.clone()));
                self.progress.receive(stretch.after, stretch.upto);
                self.answered(now);
            }
            // What the destination will not take is found out when the others' mail is lost.
            Outcome::Refused(_) => self.progress.lack(&stretch, &[]),
            Outcome::Kept(_) => self.progress.lack(&stretch, still),
            Outcome::Failed(_) => {}
        }
        let is_progress = !matches!(outcome, Outcome::Failed(_)) && before.is_some_and(|before| still.len() < before);
        if is_progress {
            self.spread_backoff.reset();
        } else {
            let pause = if let Outcome::Failed(pause) = outcome { *pause } else { 0 };
            self.spread_backoff.fail(now, pause, random);
        }
        self.has_changed = true;
        self.settle();
    }

    /// Whether the destination has failed since it last answered.
    pub(crate) fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    /// Whether the next transaction is likely to take long: the last one did, or failed.
    pub(crate) fn is_sluggish(&self) -> bool {
        self.is_slow || self.is_failing()
    }

    /// When a transaction for it was last done with.
    pub(crate) fn served_at(&self) -> u64 {
        self.served_at
    }

    /// A transaction that began at `begun_at` is done with, whatever came of it.
    pub(crate) fn serve(&mut self, begun_at: u64, now: u64) {
        self.served_at = now;
        self.is_slow = now.saturating_sub(begun_at) > SLOW_MILLIS;
    }

    /// Something here is wrong, and may be right later.
    pub(crate) fn stumble(&mut self, now: u64) {
        self.backoff.fail(now, 0, 0);
    }

    /// The transaction that was begun is not sent after all.
    pub(crate) fn abandon(&mut self) {
        self.under_way = None;
        self.notes_under_way = None;
        self.spreading = None;
    }

    /// Whether there is anything to tell beside the log.
    pub(crate) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Adds to what the destination is told beside the log.
    pub(crate) fn note(&mut self, add: impl FnOnce(&mut Notes)) {
        add(&mut self.notes);
    }

    /// How many acknowledgements it was not told yet.
    pub(crate) fn owed_acknowledgements(&self) -> usize {
        self.notes.acknowledged.len()
    }

    /// Tells the destination this server's node record of that sequence number, unless it was told already.
    pub(crate) fn tell_record(&mut self, seq: u64) {
        if self.progress.record_told < seq {
            self.notes.node_record = Some(seq);
        }
    }

    /// Whether it would be told at once of what is worth nothing later.
    pub(crate) fn is_there(&self) -> bool {
        !self.backoff.is_failing() && !self.progress.has_kept() && self.progress.answered_at > 0
    }

    /// A transaction of notes is under way.
    pub(crate) fn begin_notes(&mut self) -> Notes {
        let next = self.notes.next();
        self.notes_under_way = Some(next.clone());
        next
    }

    /// The notes that were begun say nothing.
    pub(crate) fn forget_notes(&mut self) {
        if let Some(notes) = self.notes_under_way.take() {
            self.notes.finish(&notes, &Outcome::Delivered(Vec::new()));
        }
    }

    /// The notes that are under way have come to something.
    pub(crate) fn finish_notes(&mut self, now: u64, random: u64, outcome: &Outcome) {
        let Some(told) = self.notes_under_way.take() else { return };
        self.notes.finish(&told, outcome);
        match outcome {
            Outcome::Failed(at_least) => return self.fail(now, *at_least, random),
            Outcome::Kept(_) => self.answering_since = None,
            Outcome::Delivered(_) | Outcome::Refused(_) => self.answered(now),
        }
        self.backoff.reset();
        self.progress.record_told = told.node_record.unwrap_or(self.progress.record_told);
        self.acknowledgements_told.extend(told.acknowledged);
        self.has_changed = true;
    }

    fn fail(&mut self, now: u64, at_least: u64, random: u64) {
        self.answering_since = None;
        self.backoff.fail(now, at_least, random);
    }

    /// What is behind the frontier, for the next transaction.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.waiting.iter()
    }

    /// How many items the next transaction may have.
    pub(crate) fn most(&self) -> usize {
        self.most.unwrap_or(MAX_ITEMS)
    }

    /// A transaction with these items is under way.
    pub(crate) fn begin(&mut self, in_flight: InFlight, positions: Vec<Position>) {
        if self.progress.in_flight.as_ref() != Some(&in_flight) {
            self.is_acknowledged_early = false;
            self.progress.in_flight = Some(in_flight);
            self.progress.is_behind = true;
            self.has_changed = true;
        }
        self.under_way = Some(positions);
    }

    /// There is nothing for the destination in this part of the log.
    pub(crate) fn skip(&mut self, after: Position, upto: Position) {
        self.progress.in_flight = None;
        self.hand_over(&Stretch { after, upto, start: String::new() }, |progress, part| progress.receive(part.after, part.upto));
    }

    /// The transaction that is under way has come to something.
    pub(crate) fn finish(&mut self, now: u64, random: u64, outcome: Outcome) {
        let positions = self.under_way.take().unwrap_or_default();
        let Some(InFlight { stretch, .. }) = self.progress.in_flight.clone() else { return };
        let outcome = match outcome {
            Outcome::Failed(_) | Outcome::Kept(_) if self.is_acknowledged_early => Outcome::Delivered(Vec::new()),
            outcome => outcome,
        };
        match outcome {
            Outcome::Failed(at_least) => return self.fail(now, at_least, random),
            Outcome::Kept(keeping) => {
                self.answering_since = None;
                if !keeping.lacking.is_empty() {
                    self.spread_backoff.fail(now, 0, random);
                }
                self.hand_over(&stretch, |progress, stretch| progress.keep(stretch, now, keeping));
            }
            Outcome::Delivered(refused) => {
                refused.into_iter().for_each(|refused| self.progress.refuse(refused));
                self.most = self.most.map(|most| most * 2).filter(|most| *most < MAX_ITEMS);
                self.answered(now);
                self.hand_over(&stretch, |progress, stretch| progress.receive(stretch.after, stretch.upto));
            }
            Outcome::Refused(reason) => {
                self.answered(now);
                match positions.as_slice() {
                    [_, _, ..] => self.most = Some(positions.len() / 2),
                    alone => {
                        for position in alone {
                            self.progress.refuse(Refused { position: *position, reason: reason.clone() });
                        }
                        self.hand_over(&stretch, |progress, stretch| progress.receive(stretch.after, stretch.upto));
                    }
                }
            }
        }
        self.backoff.reset();
        self.is_acknowledged_early = false;
        self.progress.in_flight = None;
        self.has_changed = true;
        self.settle();
    }

    fn answered(&mut self, now: u64) {
        if self.backoff.is_failing() {
            self.greet(Greeting::WhatOthersSent);
        }
        self.progress.answered_at = now;
        self.answering_since.get_or_insert(now);
    }

    fn hand_over(&mut self, stretch: &Stretch, how: impl FnOnce(&mut Progress, &Stretch)) {
        how(&mut self.progress, stretch);
        let frontier = self.progress.frontier();
        self.collected = self.collected.max(frontier);
        while self.waiting.front().is_some_and(|(position, _)| *position <= frontier) {
            self.waiting.pop_front();
        }
        self.has_changed = true;
    }

    /// Where all is told, the destination needs no place of its own in the log.
    fn settle(&mut self) {
        let is_behind = self.has_work() || self.progress.has_kept();
        if self.progress.is_behind != is_behind {
            self.progress.is_behind = is_behind;
            self.has_changed = true;
        }
    }

    /// The destination has sent something: it is tried at once. What comes out of a mailbox does not say that it `is_there` now. Returns
    /// whether that changes anything.
    pub(crate) fn hear(&mut self, now: u64, is_there: bool) -> bool {
        let was_silent = self.heard_at.max(self.progress.answered_at) + SILENCE_MILLIS <= now;
        self.heard_at = now;
        if was_silent {
            self.greet(Greeting::WhatOthersSent);
        }
        // Whoever is there empties their mailboxes, too.
        let may_have_lost = is_there && self.progress.has_kept() && self.answering_since.is_none();
        self.answering_since = self.answering_since.or(may_have_lost.then_some(now));
        self.wake() || was_silent || may_have_lost
    }

    /// The destination was heard of for the first time.
    pub(crate) fn meet(&mut self, now: u64) {
        self.heard_at = now;
    }

    /// There is reason to think that the destination would answer: it is tried at once.
    pub(crate) fn wake(&mut self) -> bool {
        let was_failing = self.backoff.is_failing();
        if was_failing {
            self.greet(Greeting::WhatOthersSent);
        }
        self.backoff.reset();
        was_failing
    }

    /// Shows the destination where the rooms have come to.
    pub(crate) fn greet(&mut self, greeting: Greeting) {
        self.notes.greeting = self.notes.greeting.max(Some(greeting));
    }

    /// The destination acknowledges what relays kept for it.
    pub(crate) fn acknowledge(&mut self, now: u64, stretch: &Stretch) -> bool {
        self.is_acknowledged_early |= self.progress.in_flight.as_ref().is_some_and(|in_flight| in_flight.stretch == *stretch);
        let is_news = self.progress.acknowledge(stretch);
        if is_news {
            self.answering_since = self.answering_since.map(|_| now);
            self.has_changed = true;
            self.settle();
        }
        is_news
    }

    /// Queues again what relays seem to have lost. Returns whether that is anything.
    pub(crate) fn requeue_lost(&mut self, now: u64) -> bool {
        let expired = self.progress.requeue_expired(now);
        let lost = self.answering_since.filter(|since| since + GRACE_MILLIS <= now);
        let lost = lost.is_some_and(|since| self.progress.requeue_kept_before(since + 1));
        self.has_changed |= expired || lost;
        expired || lost
    }

    /// The row was committed, and with it what need not be stored any more.
    pub(crate) fn is_written(&mut self) {
        if self.has_changed {
            return;
        }
        self.acknowledgements_told.clear();
        if !self.progress.is_behind {
            self.has_mail = false;
        }
    }

    /// When something is due for this destination.
    pub(crate) fn deadline(&self, now: u64) -> Option<u64> {
        let retry = self.backoff.deadline(now).filter(|_| !self.is_under_way() && (self.has_work() || self.has_notes()));
        let lost = self.answering_since.filter(|_| self.progress.has_kept()).map(|since| since + GRACE_MILLIS);
        // What was lost at this moment has been queued already.
        let lost = lost.filter(|at| *at > now);
        let spread = self.spread_backoff.deadline(now).filter(|_| !self.is_under_way() && self.progress.first_lacking().is_some());
        [retry, lost, spread, self.progress.next_expiry()].into_iter().flatten().min()
    }

    /// What holds back the place where all are that lack nothing: the first item of a destination that has no row to say so.
    pub(crate) fn holds_back(&self) -> Option<Position> {
        self.waiting.front().filter(|_| !self.progress.is_behind).map(|(position, _)| *position)
    }

    /// What has become of what is at a position that the sender has read, and that the destination is to be told of.
    pub(crate) fn delivery(&self, position: Position) -> Delivery {
        let waits = || self.waiting.iter().any(|(waiting, _)| *waiting == position);
        if position > self.progress.frontier() && self.is_current && !waits() {
            return Delivery::Delivered;
        }
        self.progress.delivery(position)
    }
}
