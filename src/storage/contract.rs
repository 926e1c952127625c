//! The contract that every store must meet: one function a clause, and a macro that makes a test of each.
//!
//! A test suite defines a macro that turns one clause into one test, and names it to [`store_contract!`](crate::store_contract).
//! Clauses claim nothing about the table [`Table::Meta`](super::Table::Meta), in which a store may keep a row of its own.

mod ordering;
mod random;
mod rows;
mod sharing;

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

pub use self::{ordering::*, random::*, rows::*, sharing::*};
use super::{Batch, Key, Table};
use crate::ports::Store;

/// A database that the contract is tried on.
pub trait Ground {
    /// Opens one more instance on the same database, which was empty when the first was opened.
    fn open(&self) -> LocalBoxFuture<'_, Rc<dyn Store>>;
}

/// Makes a test of every clause: `$test!(clause, ground)` for each.
#[macro_export]
macro_rules! store_contract {
    ($test:ident, $ground:expr) => {
        $test!(rows_come_in_the_order_asked, $ground);
        $test!(asking_for_nothing_answers_nothing, $ground);
        $test!(a_put_overwrites_and_a_delete_removes, $ground);
        $test!(the_later_write_of_a_batch_wins, $ground);
        $test!(empty_values_and_odd_keys_are_kept, $ground);
        $test!(large_values_are_kept, $ground);
        $test!(large_batches_are_kept, $ground);
        $test!(usage_counts_rows_and_bytes, $ground);
        $test!(scans_go_both_ways_with_limits, $ground);
        $test!(empty_ranges_have_no_rows, $ground);
        $test!(a_prefix_holds_its_extensions_only, $ground);
        $test!(a_range_stays_in_its_table, $ground);
        $test!(keys_sort_as_their_bytes, $ground);
        $test!(a_batch_is_seen_whole_or_not_at_all, $ground);
        $test!(concurrent_reads_are_told_apart, $ground);
        $test!(concurrent_commits_are_all_kept, $ground);
        $test!(a_superseded_instance_cannot_write, $ground);
        $test!(a_later_instance_finds_everything, $ground);
    };
}

/// A row's key in a table that clauses write to.
fn log(bytes: &[u8]) -> Key {
    Key::new(Table::Log).raw(bytes)
}

fn batch(rows: &[(Key, &[u8])]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in rows {
        batch.put(key.clone(), *value);
    }
    batch
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::storage::MemoryStore;

    impl Ground for MemoryStore {
        fn open(&self) -> LocalBoxFuture<'_, Rc<dyn Store>> {
            async { Rc::new(self.another_instance()) as Rc<dyn Store> }.boxed_local()
        }
    }

    macro_rules! in_memory {
        ($clause:ident, $ground:expr) => {
            #[test]
            fn $clause() {
                super::$clause(&$ground).now_or_never().expect("memory never waits");
            }
        };
    }

    store_contract!(in_memory, MemoryStore::new());

    proptest! {
        #[test]
        fn memory_agrees_with_a_plain_list(seed: u64) {
            agree(&MemoryStore::new(), &ListStore::default(), seed, 40).now_or_never().expect("memory never waits");
        }
    }
}
