//! Chance from a seed.

use crate::support::SeededEntropy;

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Chance(SeededEntropy);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.0.next() % end.max(1)
    }

    /// The index of one of so many things.
    pub(crate) fn index(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Whether something that happens in so many of a hundred cases happens.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
