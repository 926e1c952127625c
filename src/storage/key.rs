//! Keys: bytes made by one builder, so that every store orders them alike.
//!
//! Integers are big-endian. A string inside a key is escaped and ended (`00` becomes `00 ff`, the end is `00 01`), so that
//! a shorter string sorts before its extensions and no string can run into the part behind it.

use super::Table;

/// A row's address: its table and the bytes that order it there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The ordering bytes.
    pub bytes: Vec<u8>,
}

impl Key {
    /// The empty key of a table, to be built on.
    pub fn new(table: Table) -> Self {
        Self { table, bytes: Vec::with_capacity(40) }
    }

    /// Appends one byte.
    #[must_use]
    pub fn byte(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    /// Appends an integer in ascending order.
    #[must_use]
    pub fn number(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Appends bytes of a fixed length as they are.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// Appends a string, escaped and ended.
    #[must_use]
    pub fn text(mut self, value: &str) -> Self {
        for &byte in value.as_bytes() {
            self.bytes.push(byte);
            if byte == 0 {
                self.bytes.push(0xff);
            }
        }
        self.bytes.extend_from_slice(&[0, 1]);
        self
    }
}

/// A row as a scan returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key's ordering bytes.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// A range of one table: from `start` (included) to `end` (excluded), at most `limit` rows, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The table.
    pub table: Table,
    /// The first key of the range.
    pub start: Vec<u8>,
    /// The key behind the range, or `None` for the table's end.
    pub end: Option<Vec<u8>>,
    /// Whether to begin at the range's end.
    pub reverse: bool,
    /// The largest number of rows to return.
    pub limit: usize,
}

impl Scan {
    /// All rows whose key begins with `prefix`.
    pub fn prefix(prefix: Key) -> Self {
        let end = after_prefix(&prefix.bytes);
        Self { table: prefix.table, start: prefix.bytes, end, reverse: false, limit: usize::MAX }
    }

    /// The rows from `start` (included) to `end` (excluded), two keys of one table.
    pub fn range(start: Key, end: Key) -> Self {
        Self { table: start.table, start: start.bytes, end: Some(end.bytes), reverse: false, limit: usize::MAX }
    }

    /// The same from the end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// The same with at most `limit` rows.
    #[must_use]
    pub fn limited(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// The smallest key that is greater than every key with this prefix.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Takes a key apart again, in the order in which it was built. `None` where the bytes do not fit.
pub(crate) struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*first))
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            match (self.byte()?, self.0.first()) {
                (0, Some(1)) => {
                    self.byte();
                    return String::from_utf8(text).ok();
                }
                (0, Some(0xff)) => {
                    self.byte();
                    text.push(0);
                }
                (byte, _) => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_reads_back_as_built(number: u64, text in ".*", byte: u8) {
            let key = Key::new(Table::Log).number(number).text(&text).byte(byte);
            let mut reader = KeyReader::new(&key.bytes);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.text(), Some(text));
            prop_assert_eq!(reader.byte(), Some(byte));
            prop_assert_eq!(reader.byte(), None);
        }

        #[test]
        fn texts_sort_as_their_bytes(a in "[\\x00-\\x02a]{0,4}", b in "[\\x00-\\x02a]{0,4}", after in any::<u64>()) {
            let key = |text: &str| Key::new(Table::Log).text(text).number(after).bytes;
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn a_prefix_range_holds_exactly_its_extensions(prefix in proptest::collection::vec(any::<u8>(), 0..4), other in proptest::collection::vec(any::<u8>(), 0..6)) {
            let scan = Scan::prefix(Key::new(Table::Log).raw(&prefix));
            let inside = other >= scan.start && scan.end.as_ref().is_none_or(|end| &other < end);
            prop_assert_eq!(inside, other.starts_with(&prefix));
        }
    }
}
