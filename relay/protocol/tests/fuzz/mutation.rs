//! What can happen to an input: what a fuzzer does, as a strategy of proptest.

use proptest::{collection::vec, prelude::*, sample::Index};

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Another byte in its place.
    Replace(Index, u8),
    /// More bytes.
    Insert(Index, Vec<u8>),
    /// A part is missing.
    Remove(Index, Index),
    /// A part comes again.
    Repeat(Index, Index, usize),
    /// The rest is that of another input.
    Splice(Index, Index, Index),
}

/// Some changes.
pub(crate) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    // Digits, brackets, quotes and what begins a long integer meet more than others do.
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"\0\x3f\x40\x7f\x80\xbf\xc0\xff09\"\\{}[],:/%=\r\n".to_vec())];
    let mutation = prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<Index>(), vec(byte, 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (any::<Index>(), any::<Index>(), 1..20_usize).prop_map(|(from, to, times)| Mutation::Repeat(from, to, times)),
        (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
    ];
    vec(mutation, 0..6)
}

/// The input with these changes, one after the other.
pub(crate) fn mutated(input: &[u8], mutations: &[Mutation], inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for mutation in mutations {
        let place = |index: &Index| index.index(bytes.len() + 1);
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = place(at);
                if let Some(place) = bytes.get_mut(at) {
                    *place = *byte;
                }
            }
            Mutation::Insert(at, more) => drop(bytes.splice(place(at)..place(at), more.iter().copied())),
            Mutation::Remove(one, other) => drop(bytes.drain(range(place(one), place(other)))),
            Mutation::Repeat(one, other, times) => {
                let range = range(place(one), place(other));
                let part = bytes[range.clone()].repeat(*times);
                bytes.splice(range.end..range.end, part);
            }
            Mutation::Splice(at, other, from) => {
                let (at, other) = (place(at), &inputs[other.index(inputs.len())]);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
    bytes
}

fn range(one: usize, other: usize) -> std::ops::Range<usize> {
    one.min(other)..one.max(other)
}
