//! A batch: the writes that one commit makes, all or nothing.

use super::Key;

/// How durable a commit must be before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// May be lost when the machine loses power: for what can be rebuilt or asked for again.
    Relaxed,
    /// On the disk before the commit completes: for all that a client was told is done.
    #[default]
    Strict,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put(Key, Vec<u8>),
    /// Removes a row; removing what is not there is no error.
    Delete(Key),
}

/// Writes that are committed together. A later write to the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes in order.
    pub writes: Vec<Write>,
    /// How durable the commit must be.
    pub durability: Durability,
}

impl Batch {
    /// An empty batch with strict durability.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch for what may be lost with the power.
    pub fn relaxed() -> Self {
        Self { durability: Durability::Relaxed, ..Self::default() }
    }

    /// Adds a row.
    pub fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.writes.push(Write::Put(key, value.into()));
    }

    /// Adds a row whose value is JSON.
    pub fn put_json(&mut self, key: Key, value: &impl serde::Serialize) {
        self.put(key, serde_json::to_vec(value).unwrap_or_default());
    }

    /// Removes a row.
    pub fn delete(&mut self, key: Key) {
        self.writes.push(Write::Delete(key));
    }

    /// Adds another batch's writes; the stricter durability wins.
    pub fn append(&mut self, other: Self) {
        self.writes.extend(other.writes);
        self.durability = self.durability.max(other.durability);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}
