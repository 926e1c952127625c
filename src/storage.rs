//! What is stored and how: tables, keys, ranges and batches, shared by every [`Store`](crate::ports::Store).

mod batch;
pub mod contract;
mod key;
mod memory;

mod table;

pub(crate) use self::key::KeyReader;
pub use self::{
    batch::{Batch, Durability, Write},
    key::{Key, Row, Scan},
    memory::MemoryStore,
    table::{MIGRATIONS, Migration, Table},
};
