//! Internal numbers: what rows are keyed by.

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);
    };
}

number! {
    /// A room of this database.
    RoomNumber
}
number! {
    /// An event of this database. An event's number is greater than the numbers of the events that authorise it.
    EventNumber
}
number! {
    /// A place in the log: one order for everything that a client can be told.
    Position
}

impl EventNumber {
    /// The number as a key's bytes hold it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u64::from_be_bytes(*bytes.first_chunk()?)))
    }
}
