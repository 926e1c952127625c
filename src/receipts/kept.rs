//! Receipts of rooms whose receipts were all read lately, kept in memory with a bound.

use super::{Change, StoredReceipt};
use crate::{ordered::OrderedMap, room_server::RoomNumber};

/// So many receipts are kept, at some 200 bytes each; past that, all are forgotten and read again.
const MAX_KEPT: usize = 20_000;

/// A room's receipts in the order of their rows' keys.
pub(super) type RoomReceipts = Vec<KeptReceipt>;

/// One receipt.
#[derive(Clone)]
pub(super) struct KeptReceipt {
    /// The row's key.
    pub(super) key: Vec<u8>,
    /// Whose it is, and which.
    pub(super) whose: Change,
    pub(super) receipt: StoredReceipt,
}

/// The receipts that are kept.
#[derive(Default)]
pub(crate) struct KeptReceipts {
    rooms: OrderedMap<RoomNumber, RoomReceipts>,
    /// How many receipts were committed. What was read while one was may lack it, and is not kept.
    commits: u64,
}

impl KeptReceipts {
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// A room's receipts, where all of them are kept.
    pub(super) fn of_room(&self, room: RoomNumber) -> Option<&RoomReceipts> {
        self.rooms.get(&room)
    }

    /// Keeps all of a room's receipts, unless some were committed since there were so many commits.
    pub(super) fn keep(&mut self, room: RoomNumber, receipts: RoomReceipts, commits: u64) {
        if commits != self.commits || receipts.len() > MAX_KEPT {
            return;
        }
        let kept: usize = self.rooms.values().map(Vec::len).sum();
        if kept + receipts.len() > MAX_KEPT {
            self.rooms.clear();
        }
        self.rooms.insert(room, receipts);
    }

    /// Takes in a receipt that was committed.
    pub(super) fn commit(&mut self, room: RoomNumber, new: KeptReceipt) {
        self.commits += 1;
        let Some(receipts) = self.rooms.get_mut(&room) else { return };
        let at = receipts.partition_point(|receipt| receipt.key < new.key);
        match receipts.get_mut(at) {
            Some(old) if old.key == new.key => *old = new,
            _ => receipts.insert(at, new),
        }
    }
}
