//! One lock per user, so that two requests do not overwrite each other's change of the same user's rows.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use futures_util::lock::{Mutex, OwnedMutexGuard};
use ruma::{OwnedUserId, UserId};

/// Past so many locks, those that nobody holds or waits for are dropped.
const KEPT: usize = 100;

/// The locks that are in use.
#[derive(Default)]
pub(super) struct UserLocks(RefCell<BTreeMap<OwnedUserId, Arc<Mutex<()>>>>);

impl UserLocks {
    pub(super) async fn lock(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let lock = self.of(user);
        lock.lock_owned().await
    }

    fn of(&self, user: &UserId) -> Arc<Mutex<()>> {
        let mut locks = self.0.borrow_mut();
        if locks.len() >= KEPT {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(locks.entry(user.to_owned()).or_default())
    }
}
