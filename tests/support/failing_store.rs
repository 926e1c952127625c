//! A store that fails or stops at a commit of the test's choosing, and that takes its time where the test wants requests to overlap.

use std::{cell::Cell, rc::Rc};

use futures_util::{FutureExt, future};
use inglenook::{
    ports::{Answer, Store, StoreError, TableUsage},
    storage::{Batch, Durability, Key, MemoryStore, Row, Scan, Write},
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
    /// There is no space left: each commit fails and writes nothing.
    Full,
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
    strict: Cell<u64>,
    relaxed: Cell<u64>,
    stopped: Cell<bool>,
    slow: Cell<bool>,
    lies: Cell<Option<u64>>,
    unreadable: Cell<bool>,
    work: Cell<Work>,
}

/// What a store was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// How often it was asked to read.
    pub(crate) reads: usize,
    /// Rows that were asked for or found.
    pub(crate) rows_read: usize,
    /// Bytes of the values that were found.
    pub(crate) bytes_read: usize,
    /// Bytes of keys and values that were written.
    pub(crate) bytes_written: usize,
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

    /// How many commits were strict, ever.
    pub(crate) fn strict_commits(&self) -> u64 {
        self.state.strict.get()
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

    /// From now on every so manieth commit is said to be written, and is not.
    pub(crate) fn lie_every(&self, commits: u64) {
        self.state.lies.set(Some(commits));
    }

    /// Makes look-ups of rows fail.
    pub(crate) fn set_unreadable(&self, unreadable: bool) {
        self.state.unreadable.set(unreadable);
    }

    /// What was done since this was last asked.
    pub(crate) fn take_work(&self) -> Work {
        self.state.work.take()
    }

    fn note_read(&self, rows: usize, bytes: usize) {
        let work = self.state.work.get();
        let (reads, rows_read, bytes_read) = (work.reads + 1, work.rows_read + rows, work.bytes_read + bytes);
        self.state.work.set(Work { reads, rows_read, bytes_read, ..work });
    }

    fn note_written(&self, batch: &Batch) {
        let bytes = |write: &Write| match write {
            Write::Put(key, value) => key.bytes.len() + value.len(),
            Write::Delete(key) => key.bytes.len(),
        };
        let work = self.state.work.get();
        let bytes_written = work.bytes_written + batch.writes.iter().map(bytes).sum::<usize>();
        self.state.work.set(Work { bytes_written, ..work });
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
        self.note_written(&batch);
        let number = self.state.commits.get() + 1;
        self.state.commits.set(number);
        let counted = if batch.durability == Durability::Strict { &self.state.strict } else { &self.state.relaxed };
        counted.set(counted.get() + 1);
        if self.state.lies.get().is_some_and(|commits| number.is_multiple_of(commits)) {
            return Ok(());
        }
        match self.state.fault.get() {
            Some(Fault::FailAt(at)) if at == number => Err(StoreError::Failed("as the test wants it".into())),
            Some(Fault::Full) => Err(StoreError::QuotaExceeded),
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
            if self.state.unreadable.get() {
                return Err(StoreError::Failed("as the test wants it".into()));
            }
            let rows = self.inner.get_many(keys).await?;
            self.note_read(keys.len(), rows.iter().flatten().map(Vec::len).sum());
            Ok(rows)
        }
        .boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        async move {
            self.take_time().await;
            let rows = self.inner.scan(scan).await?;
            self.note_read(rows.len(), rows.iter().map(|row| row.value.len()).sum());
            Ok(rows)
        }
        .boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        self.commit_or_fail(batch).boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        self.inner.claim()
    }

    fn usage(&self, bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError> {
        self.inner.usage(bytes)
    }
}

/// Lets every other task have a turn.
pub(super) async fn yield_once() {
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
