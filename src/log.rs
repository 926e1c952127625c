//! The log: one durable order for everything that a client or another server can be told.
//!
//! Writers append rows and log entries in one batch; batches that wait while another commits are committed together.
//! Readers keep a cursor of their own and read up to the durable end; they are woken when it moves.

mod output;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use futures_channel::oneshot;
use futures_util::lock::Mutex;

pub use self::output::{Federated, Output};
use crate::{
    error::Error,
    parse,
    ports::{Store, StoreError},
    room_server::Position,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// So many of the last entries are kept in memory, so that a reader that is nearly up to date need not ask the store.
const RECENT: usize = 512;

/// The log.
pub struct Log {
    store: Rc<dyn Store>,
    opened_at: Position,
    next: Cell<u64>,
    durable: Cell<u64>,
    queue: RefCell<Vec<Waiting>>,
    flushing: Mutex<()>,
    /// Set while a commit is under way. If it is found set by the next one, a commit was given up half-way: nobody knows
    /// whether it is on the disk, and memory must not be built on any more.
    committing: Cell<bool>,
    recent: RefCell<VecDeque<(Position, Output)>>,
    listeners: RefCell<Vec<oneshot::Sender<()>>>,
}

struct Waiting {
    batch: Batch,
    outputs: Vec<(Position, Output)>,
    end: u64,
    publish: Publish,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Shows a commit to readers, once it is durable and before they are woken.
pub type Publish = Box<dyn FnOnce()>;

/// Gives out positions to the entries of one batch.
pub struct Positions {
    next: u64,
    outputs: Vec<(Position, Output)>,
}

impl Positions {
    /// The position of this entry.
    pub fn assign(&mut self, output: Output) -> Position {
        let position = Position(self.next);
        self.next += 1;
        self.outputs.push((position, output));
        position
    }
}

impl Log {
    /// Opens the log at its durable end.
    pub async fn open(store: Rc<dyn Store>) -> Result<Self, Error> {
        let last = store.scan(&Scan::prefix(Key::new(Table::Log)).reversed().limited(1)).await?;
        let end = last.first().and_then(|row| KeyReader::new(&row.key).number()).unwrap_or(0);
        Ok(Self {
            store,
            opened_at: Position(end),
            next: Cell::new(end + 1),
            durable: Cell::new(end),
            queue: RefCell::default(),
            flushing: Mutex::new(()),
            committing: Cell::new(false),
            recent: RefCell::default(),
            listeners: RefCell::default(),
        })
    }

    /// The durable end as this start found it. Positions behind it that an earlier start gave out were lost, with a commit
    /// that failed or with the power, and are given out anew.
    pub fn opened_at(&self) -> Position {
        self.opened_at
    }

    /// The last position up to which everything is durable.
    pub fn end(&self) -> Position {
        Position(self.durable.get())
    }

    /// Appends entries and writes rows in one commit, and returns once it is durable.
    ///
    /// `build` is called at once; it assigns positions to its entries and returns the rows, which may hold them.
    pub fn append(&self, build: impl FnOnce(&mut Positions) -> Batch) -> impl Future<Output = Result<(), Error>> {
        self.append_and_publish(|positions| (build(positions), Box::new(|| ())))
    }

    /// The same for a writer that keeps something in memory, which must change before readers see the log grow.
    pub fn append_and_publish(&self, build: impl FnOnce(&mut Positions) -> (Batch, Publish)) -> impl Future<Output = Result<(), Error>> {
        let mut positions = Positions { next: self.next.get(), outputs: Vec::new() };
        let (batch, publish) = build(&mut positions);
        self.committed(self.enqueue(positions, batch, publish))
    }

    async fn committed(&self, mut done: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), Error> {
        let _flushing = self.flushing.lock().await;
        // Whoever held the lock before may have committed this batch along with its own.
        match done.try_recv() {
            Ok(Some(result)) => return Ok(result?),
            Ok(None) => self.flush().await,
            Err(oneshot::Canceled) => {}
        }
        let result = done.try_recv().ok().flatten();
        Ok(result.unwrap_or_else(|| Err(StoreError::Failed("the commit was abandoned".into())))?)
    }

    fn enqueue(&self, positions: Positions, mut batch: Batch, publish: Publish) -> oneshot::Receiver<Result<(), StoreError>> {
        self.next.set(positions.next);
        for (position, output) in &positions.outputs {
            batch.put_json(Key::new(Table::Log).number(position.0), output);
        }
        let (done, receiver) = oneshot::channel();
        self.queue.borrow_mut().push(Waiting { batch, outputs: positions.outputs, end: positions.next - 1, publish, done });
        receiver
    }

    async fn flush(&self) {
        let waiting = self.queue.take();
        let mut batch = Batch::relaxed();
        let mut parts = Vec::new();
        for Waiting { batch: part, outputs, end, publish, done } in waiting {
            batch.append(part);
            parts.push((outputs, end, publish, done));
        }
        let result = self.commit(batch).await;
        for (outputs, end, publish, done) in parts {
            if result.is_ok() {
                publish();
                self.remember(outputs);
            }
            self.durable.set(self.durable.get().max(end));
            // The waiting request may have been given up.
            let _ = done.send(result.clone());
        }
        self.wake();
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if self.committing.replace(true) {
            return Err(StoreError::Failed("an earlier commit was given up half-way; start anew".into()));
        }
        let result = self.store.commit(batch).await;
        self.committing.set(false);
        result
    }

    fn remember(&self, outputs: Vec<(Position, Output)>) {
        let mut recent = self.recent.borrow_mut();
        recent.extend(outputs);
        let surplus = recent.len().saturating_sub(RECENT);
        recent.drain(..surplus);
    }

    /// Whether something behind `since` matters to a reader. Says yes where the entries are no longer in memory.
    pub fn any_since(&self, since: Position, mut matters: impl FnMut(&Output) -> bool) -> bool {
        if since >= self.end() {
            return false;
        }
        let recent = self.recent.borrow();
        match recent.front() {
            Some((first, _)) if *first <= Position(since.0 + 1) => {
                recent.iter().any(|(position, output)| *position > since && matters(output))
            }
            _ => true,
        }
    }

    /// Completes when the log has grown, or when [`Log::wake`] is called.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        let (sender, receiver) = oneshot::channel();
        self.listeners.borrow_mut().push(sender);
        async move {
            // A log that is gone changes no more.
            let _ = receiver.await;
        }
    }

    /// Wakes every waiting reader.
    pub fn wake(&self) {
        for listener in self.listeners.take() {
            // A reader that is gone need not be woken.
            let _ = listener.send(());
        }
    }

    /// The same from memory, if it is all there.
    fn recent_from(&self, from: Position, limit: usize) -> Option<Vec<(Position, Output)>> {
        let recent = self.recent.borrow();
        recent.front().filter(|(first, _)| *first <= from)?;
        let end = self.end();
        let wanted = recent.iter().filter(|(position, _)| *position >= from && *position <= end);
        Some(wanted.take(limit).cloned().collect())
    }

    /// Entries from a position on, oldest first.
    pub async fn read(&self, from: Position, limit: usize) -> Result<Vec<(Position, Output)>, Error> {
        if let Some(recent) = self.recent_from(from, limit) {
            return Ok(recent);
        }
        let key = |position: u64| Key::new(Table::Log).number(position);
        let rows = self.store.scan(&Scan::range(key(from.0), key(self.end().0 + 1)).limited(limit)).await?;
        let entry = |row: &crate::storage::Row| Some((Position(KeyReader::new(&row.key).number()?), parse::json(&row.value).ok()?));
        Ok(rows.iter().filter_map(entry).collect())
    }
}
