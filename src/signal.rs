//! A counter that can be waited for: how tasks that are no readers of the log hear of a change.

use std::cell::{Cell, RefCell};

use futures_channel::oneshot;

/// Counts changes and wakes whoever waits for one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Cell<u64>,
    listeners: RefCell<Vec<oneshot::Sender<()>>>,
}

impl Signal {
    /// How many changes there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Counts a change.
    pub(crate) fn raise(&self) {
        self.count.set(self.count.get() + 1);
        for listener in self.listeners.take() {
            // Whoever has gone need not be woken.
            let _ = listener.send(());
        }
    }

    /// Completes with the next change after this call.
    pub(crate) fn raised(&self) -> impl Future<Output = ()> + use<> {
        let (sender, receiver) = oneshot::channel();
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| !listener.is_canceled());
        listeners.push(sender);
        async move {
            // A signal that is gone is raised no more.
            let _ = receiver.await;
        }
    }
}
