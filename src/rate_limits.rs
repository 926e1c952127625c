//! Rate limits: how many requests of each class a user, or whoever tries a name, may make.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>

use crate::{config::RateLimits, error::Error, ordered::OrderedMap};

/// What requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Attempts to log in or register.
    SignIn,
    /// Requests that only read.
    Read,
    /// Requests that change something.
    Write,
}

/// Past so many buckets, those that have filled up again are forgotten.
const BUCKETS: usize = 1_000;

/// The buckets of everybody who made a request lately.
#[derive(Default)]
pub(crate) struct Buckets(OrderedMap<(Class, String), Bucket>);

/// What is left of somebody's allowance as of some time; [`REQUEST`] is one request.
#[derive(Clone, Copy)]
struct Bucket {
    left: u64,
    at: u64,
}

/// How large a class's buckets are, and how much flows in each millisecond.
struct Allowance {
    size: u64,
    per_milli: u64,
}

/// One request, counted so that what flows in each millisecond is as many as there may be requests each minute.
const REQUEST: u64 = 60_000;

impl Buckets {
    /// Takes one request out of somebody's bucket, or says when to come again.
    pub(crate) fn take(&mut self, limits: &RateLimits, class: Class, who: &str, now: u64) -> Result<(), Error> {
        let allowance = Allowance::of(limits, class);
        let key = (class, who.to_owned());
        let left = self.0.get(&key).map_or(allowance.size, |bucket| bucket.left_at(now, &allowance));
        match left.checked_sub(REQUEST) {
            Some(left) => {
                self.forget_full(limits, now);
                self.0.insert(key, Bucket { left, at: now });
                Ok(())
            }
            None => Err(too_many(allowance.millis_to_fill(REQUEST - left))),
        }
    }

    fn forget_full(&mut self, limits: &RateLimits, now: u64) {
        if self.0.len() >= BUCKETS {
            self.0.retain(|(class, _), bucket| {
                let allowance = Allowance::of(limits, *class);
                bucket.left_at(now, &allowance) < allowance.size
            });
        }
    }
}

impl Bucket {
    fn left_at(&self, now: u64, allowance: &Allowance) -> u64 {
        let filled = now.saturating_sub(self.at).saturating_mul(allowance.per_milli);
        self.left.saturating_add(filled).min(allowance.size)
    }
}

impl Allowance {
    fn of(limits: &RateLimits, class: Class) -> Self {
        let (size, per_minute) = match class {
            Class::SignIn => (limits.sign_ins, u64::from(limits.sign_ins_per_minute)),
            Class::Read | Class::Write => (limits.burst, u64::from(limits.per_second) * 60),
        };
        // A bucket that can hold no request, or never fills, would shut everybody out for ever.
        Self { size: u64::from(size.max(1)) * REQUEST, per_milli: per_minute.max(1) }
    }

    fn millis_to_fill(&self, missing: u64) -> u64 {
        missing.div_ceil(self.per_milli)
    }
}

fn too_many(retry_after_ms: u64) -> Error {
    Error::refused(429, "M_LIMIT_EXCEEDED", "Too many requests; try again in a moment.").with("retry_after_ms", retry_after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RateLimits = RateLimits { burst: 3, per_second: 2, sign_ins: 1, sign_ins_per_minute: 1 };

    fn taken(buckets: &mut Buckets, class: Class, who: &str, now: u64) -> bool {
        buckets.take(&LIMITS, class, who, now).is_ok()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_long_run() {
        let mut buckets = Buckets::default();
        let burst: Vec<_> = (0..4).map(|_| taken(&mut buckets, Class::Write, "a", 0)).collect();
        assert_eq!(burst, [true, true, true, false]);
        assert!(!taken(&mut buckets, Class::Write, "a", 499));
        assert!(taken(&mut buckets, Class::Write, "a", 500));
        assert!(!taken(&mut buckets, Class::Write, "a", 501));
    }

    #[test]
    fn others_and_other_classes_are_counted_apart() {
        let mut buckets = Buckets::default();
        assert!(taken(&mut buckets, Class::SignIn, "a", 0));
        assert!(!taken(&mut buckets, Class::SignIn, "a", 0));
        assert!(taken(&mut buckets, Class::SignIn, "b", 0));
        assert!(taken(&mut buckets, Class::Read, "a", 0));
    }

    #[test]
    fn who_comes_again_when_told_is_let_in() {
        let mut buckets = Buckets::default();
        assert!(taken(&mut buckets, Class::SignIn, "a", 0));
        let error = buckets.take(&LIMITS, Class::SignIn, "a", 20_000).unwrap_err();
        let Error::Refused(refusal) = error else { panic!("{error}") };
        assert_eq!((refusal.status, refusal.details["retry_after_ms"].as_u64()), (429, Some(40_000)));
        assert!(taken(&mut buckets, Class::SignIn, "a", 60_000));
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let mut buckets = Buckets::default();
        for who in 0..BUCKETS {
            assert!(taken(&mut buckets, Class::Read, &who.to_string(), 0));
        }
        assert!(taken(&mut buckets, Class::Read, "late", 10_000));
        assert_eq!(buckets.0.len(), 1);
    }
}
