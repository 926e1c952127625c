//! Random commands on two stores, which must answer alike; and a store so plain that it can only be right.

use std::cell::RefCell;

use futures_util::FutureExt;

use crate::{
    ports::{Answer, Store, StoreError, TableUsage},
    storage::{Batch, Key, Row, Scan, Table, Write},
};

/// Runs `count` random commands on both stores and compares every answer. A seed always gives the same commands.
pub async fn agree(one: &dyn Store, other: &dyn Store, seed: u64, count: usize) {
    let mut chance = Chance(seed);
    for step in 0..count {
        match chance.below(4) {
            0 | 1 => {
                let batch = chance.batch();
                assert_eq!(one.commit(batch.clone()).await, other.commit(batch.clone()).await, "seed {seed}, step {step}: {batch:?}");
            }
            2 => {
                let keys: Vec<_> = (0..chance.below(6)).map(|_| chance.key()).collect();
                assert_eq!(one.get_many(&keys).await, other.get_many(&keys).await, "seed {seed}, step {step}: {keys:?}");
            }
            _ => {
                let scan = chance.scan();
                assert_eq!(one.scan(&scan).await, other.scan(&scan).await, "seed {seed}, step {step}: {scan:?}");
            }
        }
    }
}

/// Numbers that look random and depend on the seed alone (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn choice<T: Copy>(&mut self, choices: &[T], otherwise: T) -> T {
        let index = self.below(choices.len() as u64) as usize;
        choices.get(index).copied().unwrap_or(otherwise)
    }

    /// Few and short, so that commands meet the same keys again.
    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(4)).map(|_| self.choice(&[0, 1, b'a', 0xfe, 0xff], 0)).collect()
    }

    /// Neighbours, so that a range that runs over its table is seen.
    fn table(&mut self) -> Table {
        self.choice(&[Table::Log, Table::Rooms, Table::Heads], Table::Log)
    }

    fn key(&mut self) -> Key {
        Key::new(self.table()).raw(&self.bytes())
    }

    fn batch(&mut self) -> Batch {
        let mut batch = if self.below(2) == 0 { Batch::new() } else { Batch::relaxed() };
        for _ in 0..self.below(8) {
            match self.below(3) {
                0 => batch.delete(self.key()),
                _ => batch.put(self.key(), self.bytes()),
            }
        }
        batch
    }

    fn scan(&mut self) -> Scan {
        let end = if self.below(3) == 0 { None } else { Some(self.bytes()) };
        let limit = self.choice(&[0, 1, 2, 5, usize::MAX], 1);
        Scan { table: self.table(), start: self.bytes(), end, reverse: self.below(2) == 0, limit }
    }
}

/// A store that is a plain list of rows, searched from end to end. It knows of one instance only.
#[derive(Default)]
pub struct ListStore {
    rows: RefCell<Vec<(Key, Vec<u8>)>>,
}

impl ListStore {
    fn write(&self, write: Write) {
        let mut rows = self.rows.borrow_mut();
        match write {
            Write::Put(key, value) => {
                rows.retain(|(other, _)| *other != key);
                rows.push((key, value));
            }
            Write::Delete(key) => rows.retain(|(other, _)| *other != key),
        }
    }

    fn matching(&self, scan: &Scan) -> Vec<Row> {
        let inside = |key: &Key| key.table == scan.table && key.bytes >= scan.start && scan.end.as_ref().is_none_or(|end| key.bytes < *end);
        let rows = self.rows.borrow();
        let mut found: Vec<_> =
            rows.iter().filter(|(key, _)| inside(key)).map(|(key, value)| Row { key: key.bytes.clone(), value: value.clone() }).collect();
        found.sort_by(|a, b| if scan.reverse { b.key.cmp(&a.key) } else { a.key.cmp(&b.key) });
        found.truncate(scan.limit);
        found
    }
}

impl Store for ListStore {
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError> {
        let rows = self.rows.borrow();
        let value = |key: &Key| rows.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
        let values = keys.iter().map(value).collect();
        async { Ok(values) }.boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        async { Ok(self.matching(scan)) }.boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        batch.writes.into_iter().for_each(|write| self.write(write));
        async { Ok(()) }.boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        async { Ok(()) }.boxed_local()
    }

    fn usage(&self, _bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError> {
        async { Ok(Vec::new()) }.boxed_local()
    }
}
