//! When to try a server again that does not answer: a pure state machine, without end.

/// The first wait, and the least that one waits at all, in milliseconds.
const FIRST_MILLIS: u64 = 1_000;

/// The longest wait, in milliseconds: a server that was away for a month is tried as often as one that was away for an hour.
const LONGEST_MILLIS: u64 = 15 * 60_000;

/// How often a server has failed to answer, and when it is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<u64>,
}

impl Backoff {
    /// The server has failed at `now`. It is left alone for twice as long as the last time, and for `at_least` so many milliseconds.
    ///
    /// `random` spreads the attempts of those who lost the same server at the same time.
    pub(crate) fn fail(&mut self, now: u64, at_least: u64, random: u64) {
        let doubled = FIRST_MILLIS.checked_shl(self.failures.min(32)).unwrap_or(LONGEST_MILLIS).min(LONGEST_MILLIS);
        self.failures = self.failures.saturating_add(1);
        let spread = random % (doubled / 4 + 1);
        let wait = (doubled - spread).max(FIRST_MILLIS).max(at_least);
        self.until = Some(now.saturating_add(wait));
    }

    /// The server has answered, or there is reason to think that it would: it is tried at once.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether the server has failed since it last answered.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When the server may be tried again, if that is not yet.
    pub(crate) fn deadline(&self, now: u64) -> Option<u64> {
        // A clock that was set back must not make a wait longer than any wait is.
        self.until.filter(|until| *until > now && *until - now <= 2 * LONGEST_MILLIS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_from_a_second_to_a_quarter_of_an_hour_and_never_end() {
        let (mut backoff, mut now, mut waits) = (Backoff::default(), 0, Vec::new());
        for _ in 0..100 {
            backoff.fail(now, 0, 0);
            let until = backoff.deadline(now).expect("it waits");
            waits.push(until - now);
            now = until;
            assert_eq!(backoff.deadline(now), None, "the wait is over");
        }
        assert_eq!(waits[..5], [1_000, 2_000, 4_000, 8_000, 16_000]);
        assert!(waits[11..].iter().all(|wait| *wait == LONGEST_MILLIS));
    }

    #[test]
    fn a_month_away_costs_less_than_a_hundred_attempts_a_day() {
        let (mut backoff, mut now, mut attempts) = (Backoff::default(), 0, 0);
        while now < 30 * 24 * 3_600_000 {
            backoff.fail(now, 0, 0);
            now = backoff.deadline(now).expect("it waits");
            attempts += 1;
        }
        assert!(attempts < 30 * 100, "{attempts}");
    }

    #[test]
    fn a_sign_of_life_ends_the_wait() {
        let mut backoff = Backoff::default();
        backoff.fail(0, 0, 0);
        backoff.fail(1_000, 0, 0);
        backoff.reset();
        assert_eq!((backoff.deadline(1_000), backoff.is_failing()), (None, false));
        backoff.fail(1_000, 0, 0);
        assert_eq!(backoff.deadline(1_000), Some(2_000), "it begins anew");
    }

    #[test]
    fn a_server_that_asks_for_more_time_gets_it() {
        let mut backoff = Backoff::default();
        backoff.fail(0, 60_000, 7);
        assert_eq!(backoff.deadline(0), Some(60_000));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_it() {
        let mut backoff = Backoff::default();
        backoff.fail(1_000_000_000, 0, 0);
        assert_eq!(backoff.deadline(1_000), None);
    }

    proptest! {
        #[test]
        fn chance_shortens_a_wait_by_a_quarter_at_most(failures in 0_u32..40, random: u64) {
            let wait = |random| {
                let mut backoff = Backoff { failures, until: None };
                backoff.fail(0, 0, random);
                backoff.deadline(0).expect("it waits")
            };
            prop_assert!(wait(random) >= FIRST_MILLIS && wait(random) <= wait(0) && wait(random) >= wait(0) / 4 * 3);
        }
    }
}
