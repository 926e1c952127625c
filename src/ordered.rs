//! Ordered maps and sets whose order is kept by one piece of code for all types.
//!
//! The standard library's are compiled anew for each type of key and value, some 3 kB of wasm each, and the server has well over a
//! hundred. Here keys and values stand in slots, and [`order::Order`] says which slot comes when; it knows slots by their numbers
//! and compares them behind a pointer. The names and meanings are those of [`std::collections::BTreeMap`] and its set.

mod map;
mod order;
mod set;

#[cfg(test)]
mod tests;

pub use self::{
    map::{OrderedMap, Values},
    set::OrderedSet,
};
