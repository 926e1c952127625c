//! A room's part of the log, newest first: read from memory where it is recent, so that a client that is nearly up to date
//! costs no look-up.

use std::collections::VecDeque;

use super::{
    commit::{read_room_log_row, room_log_key},
    head::Head,
    number::{EventNumber, Position},
    room::Room,
    snapshot::Snapshot,
};
use crate::{
    error::Error,
    ports::Store,
    storage::{KeyReader, Row, Scan},
};

/// So many of a room's last rows are kept in memory, at 32 bytes each: more than a client misses between two polls.
const RECENT: usize = 256;

/// An event's place in its room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRow {
    pub(crate) position: Position,
    pub(crate) event: EventNumber,
    /// The current state behind it.
    pub(crate) after: Snapshot,
}

/// The rows behind some position, all of them.
pub(crate) struct RecentLog {
    behind: Position,
    /// The current state at that position.
    base: Snapshot,
    rows: VecDeque<LogRow>,
}

impl RecentLog {
    pub(super) fn new(head: &Head) -> Self {
        Self { behind: head.position, base: head.current, rows: VecDeque::new() }
    }

    pub(super) fn extend(&mut self, rows: Vec<LogRow>) {
        self.rows.extend(rows);
        while self.rows.len() > RECENT {
            if let Some(oldest) = self.rows.pop_front() {
                (self.behind, self.base) = (oldest.position, oldest.after);
            }
        }
    }

    /// Takes in older rows that were read, newest first; `all` says that there are none before them.
    fn fill(&mut self, read: &[LogRow], all: bool) {
        let mut older = read.iter().skip(1);
        for row in read {
            let before = older.next();
            // Only the row next to those in memory fits, and only with what was before it.
            if row.position == self.behind && self.rows.len() < RECENT && (all || before.is_some()) {
                self.rows.push_front(*row);
                (self.behind, self.base) = before.map_or_else(Default::default, |before| (before.position, before.after));
            }
        }
    }

    fn newest_first(&self, from: Position, upto: Position, limit: usize) -> Option<Vec<LogRow>> {
        let wanted = self.rows.iter().rev().filter(|row| row.position > from && row.position <= upto);
        let rows: Vec<_> = wanted.take(limit).copied().collect();
        (from >= self.behind || rows.len() == limit).then_some(rows)
    }

    fn state_at(&self, position: Position) -> Option<Snapshot> {
        let last = self.rows.iter().rev().find(|row| row.position <= position);
        (position >= self.behind).then(|| last.map_or(self.base, |row| row.after))
    }
}

/// The rows behind `from` up to `upto`, newest first.
pub(crate) async fn newest_first(
    store: &dyn Store,
    room: &Room,
    from: Position,
    upto: Position,
    limit: usize,
) -> Result<Vec<LogRow>, Error> {
    if let Some(rows) = room.recent_log().newest_first(from, upto, limit) {
        return Ok(rows);
    }
    let key = |position: u64| room_log_key(room.number, Position(position));
    // One row more, since the state behind it is the state before the last one that is wanted.
    let wanted = limit.saturating_add(1);
    let rows = store.scan(&Scan::range(key(from.0 + 1), key(upto.0 + 1)).reversed().limited(wanted)).await?;
    let mut rows: Vec<_> = rows.iter().filter_map(read).collect();
    room.recent_log_mut().fill(&rows, from == Position(0) && rows.len() < wanted);
    rows.truncate(limit);
    Ok(rows)
}

/// The room's current state as it was at a position of the log.
pub(crate) async fn state_at(store: &dyn Store, room: &Room, position: Position) -> Result<Snapshot, Error> {
    if let Some(state) = room.recent_log().state_at(position) {
        return Ok(state);
    }
    let last = newest_first(store, room, Position(0), position, 1).await?;
    Ok(last.first().map(|row| row.after).unwrap_or_default())
}

fn read(row: &Row) -> Option<LogRow> {
    let mut key = KeyReader::new(&row.key);
    key.number()?;
    let position = Position(key.number()?);
    let (event, after) = read_room_log_row(&row.value)?;
    Some(LogRow { position, event, after })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(seed: u64) -> Snapshot {
        Snapshot::from_bytes(&u128::from(seed + 1).to_be_bytes()).unwrap()
    }

    proptest! {
        /// What memory answers is what the whole log says; what it does not know, it leaves to the store.
        #[test]
        fn memory_agrees_with_the_log(before in 0_u64..5, gaps in proptest::collection::vec(1_u64..4, 0..500), read_upto in 0_u64..1_500, read_limit in 1_usize..300, from in 0_u64..1_200, upto in 0_u64..1_500, limit in 1_usize..40) {
            let head = Head { position: Position(before), current: snapshot(before), ..Head::default() };
            let mut recent = RecentLog::new(&head);
            let mut all = vec![LogRow { position: Position(before), event: EventNumber(before), after: snapshot(before) }];
            for gap in gaps {
                let position = Position(all.last().unwrap().position.0 + gap);
                let row = LogRow { position, event: EventNumber(position.0), after: snapshot(position.0) };
                recent.extend(vec![row]);
                all.push(row);
            }
            // What was read may be older than what has come meanwhile.
            let read: Vec<_> = all.iter().rev().filter(|row| row.position.0 <= read_upto).take(read_limit).copied().collect();
            let complete = read.last().is_none_or(|last| last.position == Position(before)) && before > 0;
            recent.fill(&read, complete);
            let (from, upto) = (Position(from), Position(upto));
            if let Some(rows) = recent.newest_first(from, upto, limit) {
                let wanted: Vec<_> = all.iter().rev().filter(|row| row.position > from && row.position <= upto).take(limit).copied().collect();
                prop_assert_eq!(rows, wanted);
            } else {
                prop_assert!(from < recent.behind);
            }
            if let Some(state) = recent.state_at(upto) {
                let wanted = all.iter().rev().find(|row| row.position <= upto).map(|row| row.after).unwrap_or_default();
                prop_assert_eq!(state, wanted);
            } else {
                prop_assert!(upto < recent.behind);
            }
        }
    }
}
