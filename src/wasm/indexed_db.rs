//! The store over IndexedDB: one object store per table, one transaction for a commit or for the reads of a turn.

mod commit;
mod completion;
mod failure;
mod read;
mod schema;
mod turn;
mod usage;

use std::{cell::Cell, rc::Rc};

use futures_util::FutureExt;
use indexed_db_futures::{database::Database, internals::SystemRepr};
use wasm_bindgen::{JsCast, prelude::Closure};

use self::turn::Turn;
pub(super) use self::{completion::Completion, failure::failed, schema::BLOBS};
use crate::{
    ports::{Answer, Store, StoreError, TableUsage},
    storage::{Batch, Key, MIGRATIONS, Migration, Row, Scan},
};

/// An open database. Dropping it closes the connection.
pub struct IndexedDbStore {
    database: Database,
    turn: Turn,
    epoch: Cell<u64>,
    closed: Rc<Cell<bool>>,
    _on_version_change: Closure<dyn FnMut()>,
}

impl IndexedDbStore {
    /// Opens the database of that name, making or migrating it where need be.
    pub async fn open(name: &str) -> Result<Self, StoreError> {
        Self::open_with(name, MIGRATIONS).await
    }

    /// The same with a list of migrations of the caller's, for tests of what older and newer versions leave behind.
    pub async fn open_with(name: &str, migrations: &'static [Migration]) -> Result<Self, StoreError> {
        let database = schema::open(name, migrations).await?;
        let closed = Rc::new(Cell::new(false));
        let on_version_change = close_on_version_change(&database, &closed);
        let turn = Turn::new(&database);
        Ok(Self { database, turn, epoch: Cell::new(0), closed, _on_version_change: on_version_change })
    }

    /// Whether this instance can write no more: a newer version wants to change the database, or another instance has claimed it.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }
}

/// A connection that stays open blocks a newer version from opening the database at all.
fn close_on_version_change(database: &Database, closed: &Rc<Cell<bool>>) -> Closure<dyn FnMut()> {
    let (connection, closed) = (database.clone(), Rc::clone(closed));
    let listener = Closure::new(move || {
        closed.set(true);
        connection.clone().close();
    });
    database.as_sys().set_onversionchange(Some(listener.as_ref().unchecked_ref()));
    listener
}

impl Drop for IndexedDbStore {
    fn drop(&mut self) {
        self.database.as_sys().set_onversionchange(None);
        self.database.clone().close();
    }
}

impl Store for IndexedDbStore {
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError> {
        self.turn.rows(keys).boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        self.turn.range(scan).boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        async {
            let outcome = commit::batch(&self.database, batch, self.epoch.get()).await;
            if outcome == Err(StoreError::Superseded) {
                self.closed.set(true);
            }
            outcome
        }
        .boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        async {
            self.epoch.set(commit::raise_epoch(&self.database).await?);
            Ok(())
        }
        .boxed_local()
    }

    fn usage(&self, bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError> {
        usage::of_tables(&self.database, bytes).boxed_local()
    }
}
