//! A store in memory, for tests and for hosts that keep nothing.

use std::{cell::RefCell, collections::BTreeMap, ops::Bound, rc::Rc};

use futures_util::FutureExt;

use super::{Batch, Key, Row, Scan, Table, Write};
use crate::ports::{Answer, Store, StoreError, TableUsage};

/// A handle to a database in memory. Clones share it, as several instances share one database on a disk.
#[derive(Clone, Default)]
pub struct MemoryStore {
    database: Rc<RefCell<Database>>,
    epoch: Rc<RefCell<u64>>,
}

#[derive(Default)]
struct Database {
    rows: BTreeMap<Key, Vec<u8>>,
    epoch: u64,
}

impl MemoryStore {
    /// A new and empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// A second instance on the same database, with an epoch of its own to claim.
    #[must_use]
    pub fn another_instance(&self) -> Self {
        Self { database: Rc::clone(&self.database), epoch: Rc::default() }
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut database = self.database.borrow_mut();
        if database.epoch != *self.epoch.borrow() {
            return Err(StoreError::Superseded);
        }
        for write in batch.writes {
            match write {
                Write::Put(key, value) => database.rows.insert(key, value),
                Write::Delete(key) => database.rows.remove(&key),
            };
        }
        Ok(())
    }

    fn rows(&self, scan: &Scan) -> Vec<Row> {
        if scan.end.as_ref().is_some_and(|end| end <= &scan.start) {
            return Vec::new();
        }
        let key = |bytes: &Vec<u8>| Key { table: scan.table, bytes: bytes.clone() };
        let end = scan.end.as_ref().map_or_else(|| end_of(scan.table), |end| Bound::Excluded(key(end)));
        let database = self.database.borrow();
        let rows = database.rows.range((Bound::Included(key(&scan.start)), end));
        let row = |(key, value): (&Key, &Vec<u8>)| Row { key: key.bytes.clone(), value: value.clone() };
        if scan.reverse { rows.rev().take(scan.limit).map(row).collect() } else { rows.take(scan.limit).map(row).collect() }
    }
}

fn end_of(table: Table) -> Bound<Key> {
    match Table::ALL.iter().find(|other| **other > table) {
        Some(next) => Bound::Excluded(Key::new(*next)),
        None => Bound::Unbounded,
    }
}

impl Store for MemoryStore {
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError> {
        let database = self.database.borrow();
        let values = keys.iter().map(|key| database.rows.get(key).cloned()).collect();
        async { Ok(values) }.boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        let rows = self.rows(scan);
        async { Ok(rows) }.boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        async move { self.apply(batch) }.boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        let mut database = self.database.borrow_mut();
        database.epoch += 1;
        *self.epoch.borrow_mut() = database.epoch;
        async { Ok(()) }.boxed_local()
    }

    fn usage(&self, bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError> {
        let database = self.database.borrow();
        let usage = Table::ALL.iter().map(|table| {
            let rows: Vec<_> = database.rows.iter().filter(|(key, _)| key.table == *table).collect();
            let size = rows.iter().map(|(key, value)| (key.bytes.len() + value.len()) as u64).sum();
            TableUsage { name: table.name(), rows: rows.len() as u64, bytes: bytes.then_some(size) }
        });
        let usage = usage.collect();
        async { Ok(usage) }.boxed_local()
    }
}
