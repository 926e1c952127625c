//! A store that fails or stops at a commit of the test's choosing, and that takes its time where the test wants requests to overlap.

use std::{cell::Cell, rc::Rc};

use futures_util::{FutureExt, future};
use inglenook::{
    ports::{Answer, Store, StoreError, TableUsage},
    storage::{Batch, Durability, Key, MemoryStore, Row, Scan},
};

/// What goes wrong, at which commit from now on; the next one is number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// That commit fails and writes nothing; later ones work again.
    FailAt(u64),
    /// The power goes before that commit writes: nothing is written and nothing is ever answered again.
    StopBefore(u64),
    /// The power goes when that commit has written and has not answered yet.
    StopAfter(u64),
}

/// A store with faults. Clones share them.
#[derive(Clone)]
pub(crate) struct FailingStore {
    inner: MemoryStore,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    fault: Cell<Option<Fault>>,
    commits: Cell<u64>,
    relaxed: Cell<u64>,
    stopped: Cell<bool>,
    slow: Cell<bool>,
}

impl FailingStore {
    pub(crate) fn new(inner: MemoryStore) -> Self {
        Self { inner, state: Rc::default() }
    }

    /// Sets what goes wrong, and counts commits from one again.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.state.fault.set(fault);
        self.state.commits.set(0);
    }

    /// How many commits there were since the fault was set.
    pub(crate) fn commits(&self) -> u64 {
        self.state.commits.get()
    }

    /// How many commits were not strict, ever.
    pub(crate) fn relaxed_commits(&self) -> u64 {
        self.state.relaxed.get()
    }

    /// Whether the power is gone.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.stopped.get()
    }

    /// Makes every operation let others run first, so that requests sent together overlap.
    pub(crate) fn set_slow(&self, slow: bool) {
        self.state.slow.set(slow);
    }

    /// Lets others run first, or never returns once the power is gone.
    async fn take_time(&self) {
        if self.state.slow.get() {
            yield_once().await;
        }
        if self.is_stopped() {
            future::pending().await
        }
    }

    async fn stop(&self) -> Result<(), StoreError> {
        self.state.stopped.set(true);
        future::pending().await
    }

    async fn commit_or_fail(&self, batch: Batch) -> Result<(), StoreError> {
        self.take_time().await;
        let number = self.state.commits.get() + 1;
        self.state.commits.set(number);
        if batch.durability != Durability::Strict {
            self.state.relaxed.set(self.state.relaxed.get() + 1);
        }
        match self.state.fault.get() {
            Some(Fault::FailAt(at)) if at == number => Err(StoreError::Failed("as the test wants it".into())),
            Some(Fault::StopBefore(at)) if at == number => self.stop().await,
            Some(Fault::StopAfter(at)) if at == number => {
                self.inner.commit(batch).await?;
                self.stop().await
            }
            _ => self.inner.commit(batch).await,
        }
    }
}

impl Store for FailingStore {
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError> {
        async move {
            self.take_time().await;
            self.inner.get_many(keys).await
        }
        .boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        async move {
            self.take_time().await;
            self.inner.scan(scan).await
        }
        .boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        self.commit_or_fail(batch).boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        self.inner.claim()
    }

    fn usage(&self) -> Answer<'_, Vec<TableUsage>, StoreError> {
        self.inner.usage()
    }
}

/// Lets every other task have a turn.
async fn yield_once() {
    let mut yielded = false;
    future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
