//! One lock for each of many things, so that two requests do not overwrite each other's change of the same rows.

use std::{cell::RefCell, sync::Arc};

use futures_util::lock::{Mutex, OwnedMutexGuard};

use crate::ordered::OrderedMap;

/// Past so many locks, those that nobody holds or waits for are dropped.
const KEPT: usize = 100;

/// The locks that are in use, by what they lock.
pub(crate) struct Locks<K>(RefCell<OrderedMap<K, Arc<Mutex<()>>>>);

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Ord + Clone> Locks<K> {
    /// Waits for the lock of this thing.
    pub(crate) async fn lock(&self, thing: &K) -> OwnedMutexGuard<()> {
        let lock = self.of(thing);
        lock.lock_owned().await
    }

    /// Whether somebody holds or waits for the lock of such a thing.
    pub(crate) fn any_in_use(&self, is_such: impl Fn(&K) -> bool) -> bool {
        self.0.borrow().iter().any(|(thing, lock)| is_in_use(lock) && is_such(thing))
    }

    fn of(&self, thing: &K) -> Arc<Mutex<()>> {
        let mut locks = self.0.borrow_mut();
        if locks.len() >= KEPT {
            locks.retain(|_, lock| is_in_use(lock));
        }
        Arc::clone(locks.entry(thing.clone()).or_default())
    }
}

fn is_in_use(lock: &Arc<Mutex<()>>) -> bool {
    Arc::strong_count(lock) > 1
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_thing_is_locked_once_at_a_time_and_others_beside_it() {
        block_on(async {
            let locks = Locks::default();
            let held = locks.lock(&1).await;
            assert!(locks.lock(&1).now_or_never().is_none());
            assert!(locks.lock(&2).now_or_never().is_some());
            drop(held);
            assert!(locks.lock(&1).now_or_never().is_some());
        });
    }

    #[test]
    fn locks_that_are_not_in_use_go() {
        block_on(async {
            let locks = Locks::default();
            let _held = locks.lock(&0).await;
            for number in 1..10 * KEPT {
                drop(locks.lock(&number).await);
            }
            assert!(locks.0.borrow().len() <= KEPT);
            assert!(locks.lock(&0).now_or_never().is_none(), "what is held stays");
            assert!(locks.any_in_use(|number| *number == 0) && !locks.any_in_use(|number| *number > 0));
        });
    }
}
