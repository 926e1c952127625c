//! Gathering items into the standard library's ordered maps by inserting them one after the other, as [`crate::ordered`] always does.
//!
//! `collect` into such a map sorts the items first, and a sort is some 3.5 kB of wasm for each type of item.

/// [`Gather::gather`] for every iterator.
pub(crate) trait Gather: Iterator + Sized {
    /// `collect`, without the sort.
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut gathered = C::default();
        gathered.extend(self);
        gathered
    }
}

impl<I: Iterator> Gather for I {}
