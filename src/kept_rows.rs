//! Rows that are kept for a while for other servers, in the order in which they came: the oldest go, whoever comes next. Anybody can make
//! servers, so that those which share no room with anybody here have a number of rows for all of them together.

use std::{cell::Cell, rc::Rc};

use crate::{
    error::Error,
    ports::Store,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// With each row that comes, so many old ones go at most: more than come.
const GO_AT_ONCE: usize = 2;

/// Rows of a table whose keys begin with a server's name. Beside them stand rows that begin with none, and say in which order they came.
pub(crate) struct KeptRows {
    store: Rc<dyn Store>,
    table: Table,
    /// Tells this order from others in the table.
    part: u8,
    most: u64,
    millis: u64,
    next: Cell<Option<u64>>,
}

impl KeptRows {
    /// Rows of which there are so many at most, each for so long.
    pub(crate) fn new(store: Rc<dyn Store>, table: Table, part: u8, most: u64, millis: u64) -> Self {
        Self { store, table, part, most, millis, next: Cell::new(None) }
    }

    /// Adds to a commit, which writes a row that was not there before, its place in the order, and that the oldest go.
    pub(crate) async fn add(&self, row: &Key, now: u64, batch: &mut Batch) -> Result<(), Error> {
        let serial = self.next().await?;
        let mut place = now.to_be_bytes().to_vec();
        place.extend_from_slice(&row.bytes);
        batch.put(self.order().number(serial), place);
        for old in self.store.scan(&Scan::prefix(self.order()).limited(GO_AT_ONCE)).await? {
            let Some((at, row)) = old.value.split_first_chunk() else { continue };
            let is_too_many = self.serial_of(&old.key).is_some_and(|old| old.saturating_add(self.most) <= serial);
            if is_too_many || u64::from_be_bytes(*at).saturating_add(self.millis) <= now {
                batch.delete(Key::new(self.table).raw(row));
                batch.delete(Key::new(self.table).raw(&old.key));
            }
        }
        Ok(())
    }

    async fn next(&self) -> Result<u64, Error> {
        if self.next.get().is_none() {
            let last = self.store.scan(&Scan::prefix(self.order()).reversed().limited(1)).await?;
            let last = last.first().and_then(|row| self.serial_of(&row.key));
            // Somebody else may have looked meanwhile, and gone on.
            self.next.set(self.next.get().or(Some(last.map_or(0, |last| last + 1))));
        }
        let serial = self.next.get().unwrap_or_default();
        self.next.set(Some(serial + 1));
        Ok(serial)
    }

    fn serial_of(&self, key: &[u8]) -> Option<u64> {
        KeyReader::new(key.get(self.order().bytes.len()..)?).number()
    }

    fn order(&self) -> Key {
        Key::new(self.table).text("").byte(self.part)
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::storage::MemoryStore;

    const TABLE: Table = Table::ReceivedTransactions;

    fn row(number: u64) -> Key {
        Key::new(TABLE).text(&format!("s{number}.example"))
    }

    fn add(store: &MemoryStore, rows: &KeptRows, number: u64, now: u64, is_committed: bool) {
        let mut batch = Batch::new();
        batch.put(row(number), []);
        block_on(rows.add(&row(number), now, &mut batch)).unwrap();
        if is_committed {
            block_on(store.commit(batch)).unwrap();
        }
    }

    fn has(store: &MemoryStore, number: u64) -> bool {
        block_on(store.get_many(&[row(number)])).unwrap()[0].is_some()
    }

    fn count(store: &MemoryStore) -> usize {
        block_on(store.scan(&Scan::prefix(Key::new(TABLE)))).unwrap().len()
    }

    #[test]
    fn the_last_rows_are_kept_also_after_a_restart_and_after_commits_that_failed() {
        let store = MemoryStore::new();
        for life in 0..3_u64 {
            let rows = KeptRows::new(Rc::new(store.clone()), TABLE, 0, 10, 1_000);
            for number in life * 30..(life + 1) * 30 {
                add(&store, &rows, number, 0, number % 7 != 0);
                assert!(count(&store) <= 2 * 12, "{}", count(&store));
            }
        }
        assert!(has(&store, 89) && has(&store, 82) && !has(&store, 70));
    }

    #[test]
    fn rows_go_when_they_are_old_whoever_comes_then() {
        let store = MemoryStore::new();
        let rows = KeptRows::new(Rc::new(store.clone()), TABLE, 0, u64::MAX, 1_000);
        (0..10).for_each(|number| add(&store, &rows, number, number, true));
        assert_eq!(count(&store), 2 * 10);
        (10..20).for_each(|number| add(&store, &rows, number, 1_003, true));
        assert_eq!(count(&store), 2 * 16);
        assert!(!has(&store, 3) && has(&store, 4));
    }
}
