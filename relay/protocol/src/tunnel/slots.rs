//! What a tunnel's handles and its driver share: how many requests may be under way and may wait, and whether the tunnel is to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Context,
};

use futures_util::task::AtomicWaker;

use super::{MAX_OPEN, MAX_WAITING};

/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    taken: AtomicUsize,
    waiting: AtomicUsize,
    closing: AtomicBool,
    driver: AtomicWaker,
}

/// A slot that is taken; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot(Slots);

impl Slots {
    /// Remembers the driver's task, which is woken when a slot becomes free and when the tunnel is to end.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.0.driver.register(cx.waker());
    }

    /// Whether a slot is free. It stays so until the driver takes it, since nobody else does.
    pub(super) fn is_free(&self) -> bool {
        self.0.taken.load(Ordering::Acquire) < MAX_OPEN
    }

    pub(super) fn take(&self) -> Slot {
        self.0.taken.fetch_add(1, Ordering::AcqRel);
        Slot(self.clone())
    }

    /// Queues one more request, if that many may wait.
    pub(super) fn enqueue(&self) -> bool {
        let queued = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        self.0.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, queued).is_ok()
    }

    pub(super) fn dequeue(&self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.driver.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Inner { taken, driver, .. } = &*self.0.0;
        if taken.fetch_sub(1, Ordering::AcqRel) == MAX_OPEN {
            driver.wake();
        }
    }
}
