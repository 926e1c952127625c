//! Reads of one turn: what is asked for before control goes back to the event loop is read in one transaction, since to open
//! one costs more than most reads. A sync asks for all its rooms at once.

use std::{cell::RefCell, rc::Rc};

use futures_channel::oneshot;
use futures_util::future::join_all;
use indexed_db_futures::{Build, database::Database, transaction::Transaction};
use wasm_bindgen_futures::spawn_local;

use super::{failure::failed, read};
use crate::{
    gather::Gather,
    ordered::OrderedSet,
    ports::StoreError,
    storage::{Key, Row, Scan, Table},
};

/// The reads that wait for the turn's end.
#[derive(Clone)]
pub(super) struct Turn {
    database: Database,
    waiting: Rc<RefCell<Vec<Read>>>,
}

/// A read, and who waits for it.
enum Read {
    Rows(Vec<Key>, Reader<Vec<Option<Vec<u8>>>>),
    Range(Scan, Reader<Vec<Row>>),
}

type Reader<T> = oneshot::Sender<Result<T, StoreError>>;

impl Turn {
    pub(super) fn new(database: &Database) -> Self {
        Self { database: database.clone(), waiting: Rc::default() }
    }

    /// Reads each key's value.
    pub(super) async fn rows(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (reader, read) = oneshot::channel();
        self.wait(Read::Rows(keys.to_vec(), reader));
        read.await.unwrap_or_else(|_| Err(never_read()))
    }

    /// Reads a range.
    pub(super) async fn range(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        if scan.limit == 0 || scan.end.as_ref().is_some_and(|end| *end <= scan.start) {
            return Ok(Vec::new());
        }
        let (reader, read) = oneshot::channel();
        self.wait(Read::Range(scan.clone(), reader));
        read.await.unwrap_or_else(|_| Err(never_read()))
    }

    /// The first who waits begins a task, which runs when all that can run now has asked for what it wants. It is a task of its
    /// own, so that it ends though one of those who wait gives up.
    fn wait(&self, read: Read) {
        let is_first = self.waiting.borrow().is_empty();
        self.waiting.borrow_mut().push(read);
        if is_first {
            let turn = self.clone();
            spawn_local(async move { turn.end().await });
        }
    }

    async fn end(&self) {
        let reads = self.waiting.take();
        let tables: OrderedSet<_> = reads.iter().flat_map(Read::tables).gather();
        let names: Vec<_> = tables.into_iter().map(Table::name).collect();
        match self.database.transaction(names.as_slice()).build().map_err(failed) {
            // All are answered together, so that those who go on ask together again.
            Ok(transaction) => join_all(reads.into_iter().map(|read| read.perform(&transaction))).await.into_iter().for_each(|tell| tell()),
            Err(error) => reads.into_iter().for_each(|read| read.fail(&error)),
        }
    }
}

impl Read {
    fn tables(&self) -> Vec<Table> {
        match self {
            Self::Rows(keys, _) => keys.iter().map(|key| key.table).collect(),
            Self::Range(scan, _) => vec![scan.table],
        }
    }

    /// Reads, and returns what tells the reader. Whoever asked may have given up.
    async fn perform(self, transaction: &Transaction<'_>) -> Box<dyn FnOnce()> {
        match self {
            Self::Rows(keys, reader) => {
                let rows = read::rows(transaction, &keys).await.map_err(failed);
                Box::new(move || drop(reader.send(rows)))
            }
            Self::Range(scan, reader) => {
                let rows = read::range(transaction, &scan).await.map_err(failed);
                Box::new(move || drop(reader.send(rows)))
            }
        }
    }

    fn fail(self, error: &StoreError) {
        match self {
            Self::Rows(_, reader) => drop(reader.send(Err(error.clone()))),
            Self::Range(_, reader) => drop(reader.send(Err(error.clone()))),
        }
    }
}

fn never_read() -> StoreError {
    StoreError::Failed("the read was given up".into())
}
