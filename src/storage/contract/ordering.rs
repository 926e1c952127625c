//! Clauses about ranges: keys sort as their bytes, and a scan returns its range and nothing else.

use super::{Ground, batch, log};
use crate::{
    ports::Store,
    storage::{Key, Scan, Table},
};

/// The keys that a scan finds.
async fn found(store: &dyn Store, scan: Scan) -> Vec<Vec<u8>> {
    let rows = store.scan(&scan).await.unwrap_or_default();
    rows.into_iter().map(|row| row.key).collect()
}

async fn filled(ground: &impl Ground, keys: &[Key]) -> std::rc::Rc<dyn Store> {
    let store = ground.open().await;
    let rows: Vec<_> = keys.iter().map(|key| (key.clone(), key.bytes.as_slice())).collect();
    assert_eq!(store.commit(batch(&rows)).await, Ok(()));
    store
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Key> {
    range.map(|number| Key::new(Table::Log).number(number)).collect()
}

/// A range holds its start and not its end, from either side, up to the limit; each row with its own value.
pub async fn scans_go_both_ways_with_limits(ground: &impl Ground) {
    let store = filled(ground, &numbers(0..10)).await;
    let scan = || Scan::range(Key::new(Table::Log).number(2), Key::new(Table::Log).number(8));
    let keys = |numbers: &[u64]| numbers.iter().map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(found(&*store, scan()).await, keys(&[2, 3, 4, 5, 6, 7]));
    assert_eq!(found(&*store, scan().limited(2)).await, keys(&[2, 3]));
    assert_eq!(found(&*store, scan().reversed()).await, keys(&[7, 6, 5, 4, 3, 2]));
    for limit in 1..=7 {
        let backwards: Vec<_> = [7, 6, 5, 4, 3, 2].into_iter().take(limit).collect();
        assert_eq!(found(&*store, scan().reversed().limited(limit)).await, keys(&backwards));
    }
    let rows = store.scan(&scan().reversed().limited(3)).await.unwrap_or_default();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.key == row.value), "values are at the wrong keys");
}

/// A range that ends before it starts, or may have no rows, has none; nor has one where nothing lies.
pub async fn empty_ranges_have_no_rows(ground: &impl Ground) {
    let store = filled(ground, &numbers(0..4)).await;
    let range = |start, end| Scan::range(Key::new(Table::Log).number(start), Key::new(Table::Log).number(end));
    for scan in [range(2, 2), range(3, 1), range(0, 4).limited(0), range(7, 9), Scan::prefix(log(b"nothing"))] {
        assert_eq!(found(&*store, scan.clone()).await, Vec::<Vec<u8>>::new());
        assert_eq!(found(&*store, scan.reversed()).await, Vec::<Vec<u8>>::new());
    }
}

/// A prefix's range holds the prefix itself and all that begins with it, also where it ends in the highest bytes.
pub async fn a_prefix_holds_its_extensions_only(ground: &impl Ground) {
    let keys: [&[u8]; 8] = [b"", b"a", b"a\0", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\x01"];
    let store = filled(ground, &keys.map(log)).await;
    for prefix in keys {
        let mut expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec()).collect();
        assert_eq!(found(&*store, Scan::prefix(log(prefix))).await, expected);
        expected.reverse();
        assert_eq!(found(&*store, Scan::prefix(log(prefix)).reversed()).await, expected);
    }
}

/// An open end reaches the end of the table and not into the next one, nor does a start reach into the one before.
pub async fn a_range_stays_in_its_table(ground: &impl Ground) {
    let tables: Vec<_> = Table::ALL.iter().copied().filter(|table| *table != Table::Meta).collect();
    let keys: Vec<_> = tables.iter().map(|table| Key::new(*table).raw(&[0xff, *table as u8])).collect();
    let store = filled(ground, &keys).await;
    for (table, key) in tables.iter().zip(&keys) {
        for scan in [Scan::prefix(Key::new(*table)), Scan::prefix(Key::new(*table)).limited(5)] {
            assert_eq!(found(&*store, scan.clone()).await, vec![key.bytes.clone()]);
            assert_eq!(found(&*store, scan.reversed()).await, vec![key.bytes.clone()]);
        }
    }
}

/// Keys compare byte by byte, unsigned, and a shorter key comes before its extensions.
pub async fn keys_sort_as_their_bytes(ground: &impl Ground) {
    let keys: [&[u8]; 9] = [b"\x80", b"", b"\xff\0", b"\0\0", b"a", b"\x7f", b"\0", b"\xff", b"aa"];
    let store = filled(ground, &keys.map(log)).await;
    let mut sorted = keys.map(<[u8]>::to_vec);
    sorted.sort();
    assert_eq!(found(&*store, Scan::prefix(log(b""))).await, sorted);
}
