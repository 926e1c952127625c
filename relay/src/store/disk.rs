//! The store on a disk: redb beneath, and one thread that writes, which commits together what has come meanwhile.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, RwLock},
    thread::{self, JoinHandle},
};

use redb::{Builder, Database};
use ruma::{OwnedServerName, ServerName};
use tokio::sync::{mpsc, oneshot};

use super::{
    Appended, Document, Entry, NewEntry, Promise, Quotas, Store, StoreError, Usage, reads,
    tables::{self, Change, Changed, failed},
};
use crate::address::Address;

/// How many changes one transaction takes, so that the first does not wait for long.
const CHANGES_AT_ONCE: usize = 256;

/// How many changes wait for the thread; more wait to be taken.
const CHANGES_WAITING: usize = 1_024;

/// What of the database is kept in memory.
const CACHE: usize = 64 * 1024 * 1024;

/// Opens the database anew, as it has to be after a failed write.
type Open = Box<dyn Fn() -> Result<Database, StoreError> + Send>;

/// A change, and who waits for it.
type Job = (Change, oneshot::Sender<Result<Changed, StoreError>>);

/// Empty only after a failure, until it could be opened again.
type Shared = Arc<RwLock<Option<Database>>>;

/// The store.
pub struct Disk {
    database: Shared,
    /// Empty only while it is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Disk {
    /// Waits for the last commit, and for the database to be closed in order.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Disk {
    /// Opens or makes the database in that file.
    pub fn open(file: &Path, quotas: Quotas) -> Result<Self, StoreError> {
        let file = file.to_owned();
        Self::start(Box::new(move || Builder::new().set_cache_size(CACHE).create(&file).map_err(failed)), quotas)
    }

    /// Opens or makes the database that `backend` reaches.
    pub fn on<B: redb::StorageBackend>(backend: impl Fn() -> io::Result<B> + Send + 'static, quotas: Quotas) -> Result<Self, StoreError> {
        let create = move || Builder::new().create_with_backend(backend().map_err(failed)?).map_err(failed);
        Self::start(Box::new(create), quotas)
    }

    fn start(open: Open, quotas: Quotas) -> Result<Self, StoreError> {
        let database = open_with_tables(&open)?;
        let database = Arc::new(RwLock::new(Some(database)));
        let (jobs, receiver) = mpsc::channel(CHANGES_WAITING);
        let mut writer = Writer { database: database.clone(), open, quotas };
        let run = move || writer.run(receiver);
        let writer = thread::Builder::new().name("store".into()).spawn(run).map_err(failed)?;
        Ok(Self { database, jobs: Some(jobs), writer: Some(writer) })
    }

    async fn change(&self, change: Change) -> Result<Changed, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send((change, sender)).await.map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())?
    }

    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&redb::ReadTransaction) -> Result<T, StoreError> + Send + 'static,
    {
        let database = self.database.clone();
        let read = move || {
            let database = database.read().map_err(failed)?;
            read(&reads::read(database.as_ref().ok_or_else(stopped)?)?)
        };
        tokio::task::spawn_blocking(read).await.map_err(failed)?
    }
}

fn stopped() -> StoreError {
    StoreError::Failed("it is not open".into())
}

fn open_with_tables(open: &Open) -> Result<Database, StoreError> {
    let database = open()?;
    let transaction = database.begin_write().map_err(failed)?;
    tables::create(&transaction)?;
    transaction.commit().map_err(failed)?;
    Ok(database)
}

struct Writer {
    database: Shared,
    open: Open,
    quotas: Quotas,
}

impl Writer {
    fn run(&mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, CHANGES_AT_ONCE) > 0 {
            let changes: Vec<&Change> = batch.iter().map(|(change, _)| change).collect();
            let outcome = self.commit(&changes);
            if let Err(error) = &outcome {
                tracing::error!(%error, "a transaction failed");
                self.reopen();
            }
            answer(batch.drain(..), outcome);
        }
    }

    /// Makes all changes durable together. The outer error means that none is.
    fn commit(&self, changes: &[&Change]) -> Result<Vec<Result<Changed, StoreError>>, StoreError> {
        let database = self.database.read().map_err(failed)?;
        let mut transaction = database.as_ref().ok_or_else(stopped)?.begin_write().map_err(failed)?;
        // What is stored comes from strangers: one phase trusts checksums that are not made to withstand them.
        transaction.set_two_phase_commit(true);
        let mut outcomes = Vec::new();
        for change in changes {
            let outcome = tables::apply(&transaction, change, &self.quotas);
            if let Err(StoreError::Failed(error)) = outcome {
                return Err(StoreError::Failed(error));
            }
            outcomes.push(outcome);
        }
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }

    /// After a failed write the database's state in memory is worth nothing; the file's last commit is.
    fn reopen(&self) {
        let Ok(mut database) = self.database.write() else { return };
        *database = None;
        match open_with_tables(&self.open) {
            Ok(opened) => *database = Some(opened),
            Err(error) => tracing::error!(%error, "the database cannot be opened again"),
        }
    }
}

fn answer(jobs: impl Iterator<Item = Job>, outcome: Result<Vec<Result<Changed, StoreError>>, StoreError>) {
    match outcome {
        // Who has gone does not want to know.
        Ok(outcomes) => jobs.zip(outcomes).for_each(|((_, waiter), outcome)| drop(waiter.send(outcome))),
        Err(error) => jobs.for_each(|(_, waiter)| drop(waiter.send(Err(error.clone())))),
    }
}

impl Store for Disk {
    fn append(&self, entry: NewEntry) -> Promise<'_, Appended> {
        Box::pin(async move {
            match self.change(Change::Append(entry)).await? {
                Changed::Appended(appended) => Ok(appended),
                Changed::Removed(_) => Err(stopped()),
            }
        })
    }

    fn next(&self, mailbox: &ServerName, after: u64) -> Promise<'_, Option<Entry>> {
        let mailbox = mailbox.to_string();
        Box::pin(self.read(move |transaction| reads::next(transaction, &mailbox, after)))
    }

    fn turn(&self, mailbox: &ServerName, after: &str, but_not: BTreeSet<OwnedServerName>) -> Promise<'_, Option<Entry>> {
        let (mailbox, after) = (mailbox.to_string(), after.to_owned());
        Box::pin(self.read(move |transaction| reads::turn(transaction, &mailbox, &after, &but_not)))
    }

    fn first(&self, mailbox: &ServerName, origin: &ServerName) -> Promise<'_, Option<Entry>> {
        let (mailbox, origin) = (mailbox.to_string(), origin.to_owned());
        Box::pin(self.read(move |transaction| reads::first(transaction, &mailbox, origin)))
    }

    fn remove(&self, mailbox: &ServerName, id: u64) -> Promise<'_, ()> {
        let change = Change::Remove(mailbox.to_string(), id);
        Box::pin(async move { self.change(change).await.map(|_| ()) })
    }

    fn waiting(&self, mailbox: &ServerName, origin: &ServerName) -> Promise<'_, u64> {
        let (mailbox, origin) = (mailbox.to_string(), origin.to_string());
        Box::pin(self.read(move |transaction| reads::waiting(transaction, &mailbox, &origin)))
    }

    fn expire(&self, now: u64) -> Promise<'_, u64> {
        Box::pin(async move {
            match self.change(Change::Expire(now)).await? {
                Changed::Removed(count) => Ok(count),
                Changed::Appended(_) => Err(stopped()),
            }
        })
    }

    fn usage(&self) -> Promise<'_, Usage> {
        Box::pin(self.read(reads::usage))
    }

    fn keep(&self, document: Document, server: &ServerName, bytes: Vec<u8>, from: Option<Address>) -> Promise<'_, ()> {
        let change = Change::Keep(document, server.to_string(), bytes, from);
        Box::pin(async move { self.change(change).await.map(|_| ()) })
    }

    fn see(&self, server: &ServerName, now: u64, from: Option<Address>) -> Promise<'_, ()> {
        let change = Change::See(server.to_string(), now, from);
        Box::pin(async move { self.change(change).await.map(|_| ()) })
    }

    fn seen(&self, server: &ServerName) -> Promise<'_, Option<u64>> {
        let server = server.to_string();
        Box::pin(self.read(move |transaction| reads::seen(transaction, &server)))
    }

    fn document(&self, document: Document, server: &ServerName) -> Promise<'_, Option<Vec<u8>>> {
        let server = server.to_string();
        Box::pin(self.read(move |transaction| reads::document(transaction, document, &server)))
    }
}
