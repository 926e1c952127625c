//! Sorting with one sort for all: by indices, compared behind a pointer.
//!
//! The standard library's sort is some 3.7 kB of wasm for each type of item.

use std::cmp::Ordering;

/// [`Arrange::arrange_by_key`] for every vector.
pub(crate) trait Arrange<T> {
    /// `sort_by_cached_key`: in ascending order of the keys, and as they were where keys are equal.
    fn arrange_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K);
}

impl<T> Arrange<T> for Vec<T> {
    fn arrange_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        let keys: Vec<K> = self.iter().map(key).collect();
        let mut items: Vec<Option<T>> = self.drain(..).map(Some).collect();
        for index in order(keys.len(), &|one, other| keys.get(one).cmp(&keys.get(other))) {
            self.extend(items.get_mut(index).and_then(Option::take));
        }
    }
}

/// The indices of so many items in their order.
fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_arranges_as_a_stable_sort_does(items in proptest::collection::vec((0_u8..5, any::<u16>()), 0..60)) {
            let mut sorted = items.clone();
            sorted.sort_by_key(|(key, _)| *key);
            let mut arranged = items;
            arranged.arrange_by_key(|(key, _)| *key);
            prop_assert_eq!(arranged, sorted);
        }
    }
}
