//! Senders whose mail a node could not take: put aside with a back-off of their own, so that nobody's mail waits for theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedServerName, ServerName};
use tokio::time::Instant;

/// How long to wait before a sender's mail is offered again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many senders of one node are remembered, at some hundred bytes each. Of more, the first whose pause ends is forgotten, and is
/// offered sooner than it would have been.
const MAX_SENDERS: usize = 4_096;

/// The senders that are aside for one node.
#[derive(Debug, Default)]
pub(crate) struct Aside(Mutex<BTreeMap<OwnedServerName, Pause>>);

#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Instant,
    failures: u32,
}

impl Aside {
    /// Notes that the first request of a sender was not taken.
    pub(crate) fn fail(&self, origin: &ServerName, now: Instant) {
        let mut senders = self.senders();
        let failures = senders.get(origin).map_or(0, |pause| pause.failures).saturating_add(1);
        if senders.len() >= MAX_SENDERS && failures == 1 {
            let first = senders.iter().min_by_key(|(_, pause)| pause.until).map(|(origin, _)| origin.clone());
            first.map(|first| senders.remove(&first));
        }
        let length = doubled(FIRST_PAUSE, failures - 1).min(LONGEST_PAUSE);
        senders.insert(origin.to_owned(), Pause { until: now + length, failures });
    }

    /// Forgets a sender, since its mail is taken.
    pub(crate) fn forget(&self, origin: &ServerName) {
        self.senders().remove(origin);
    }

    /// How long a sender's request may take: what `first` says, and twice as long after each failure.
    pub(crate) fn patience(&self, origin: &ServerName, first: Duration) -> Duration {
        doubled(first, self.senders().get(origin).map_or(0, |pause| pause.failures))
    }

    /// All senders that are aside, whether or not they may be tried again.
    pub(crate) fn origins(&self) -> BTreeSet<OwnedServerName> {
        self.senders().keys().cloned().collect()
    }

    /// The sender that is tried again next, and when, out of those that are not `busy`.
    pub(crate) fn next(&self, busy: &BTreeSet<OwnedServerName>) -> Option<(Instant, OwnedServerName)> {
        let senders = self.senders();
        let idle = senders.iter().filter(|(origin, _)| !busy.contains(*origin));
        idle.min_by_key(|(_, pause)| pause.until).map(|(origin, pause)| (pause.until, origin.clone()))
    }

    /// Whether nobody is aside.
    pub(crate) fn is_empty(&self) -> bool {
        self.senders().is_empty()
    }

    fn senders(&self) -> MutexGuard<'_, BTreeMap<OwnedServerName, Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn doubled(duration: Duration, times: u32) -> Duration {
    duration.saturating_mul(1 << times.min(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> OwnedServerName {
        ServerName::parse(text).unwrap()
    }

    #[test]
    fn a_sender_waits_longer_after_each_failure_and_not_at_all_once_its_mail_is_taken() {
        let (aside, a, b) = (Aside::default(), name("a"), name("b"));
        let nobody = BTreeSet::new();
        let start = Instant::now();
        let patience = |origin| aside.patience(origin, Duration::from_secs(20)).as_secs();
        for (pause, longest) in [(1, 40), (2, 80), (4, 160)] {
            aside.fail(&a, start);
            assert_eq!(aside.next(&nobody), Some((start + Duration::from_secs(pause), a.clone())));
            assert_eq!((patience(&a), patience(&b)), (longest, 20));
        }
        aside.fail(&b, start);
        assert_eq!(aside.next(&nobody).unwrap().1, b);
        assert_eq!(aside.next(&[b.clone()].into()).unwrap().1, a);
        (0..40).for_each(|_| aside.fail(&a, start));
        assert_eq!(aside.next(&[b.clone()].into()).unwrap().0, start + LONGEST_PAUSE);
        aside.forget(&a);
        assert_eq!(aside.origins(), [b.clone()].into());
        aside.forget(&b);
        assert!(aside.is_empty());
    }

    #[test]
    fn so_many_senders_are_remembered() {
        let (aside, now) = (Aside::default(), Instant::now());
        (0..MAX_SENDERS + 10).for_each(|number| aside.fail(&name(&format!("s{number}")), now));
        assert_eq!(aside.origins().len(), MAX_SENDERS);
    }
}
