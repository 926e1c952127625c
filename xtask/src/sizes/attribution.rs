//! Which crate a function's bytes belong to, judged by its symbol.

use std::collections::BTreeMap;

use super::wasm::Function;

/// Where functions without a Rust path are counted: exports, glue and what the compiler adds.
const NO_CRATE: &str = "(exports and glue)";

/// A crate's share of the code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CrateSize {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) functions: u64,
}

/// Sums the bytes of functions by crate, the largest first.
pub(crate) fn by_crate(functions: &[Function]) -> Vec<CrateSize> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for function in functions {
        let demangled = rustc_demangle::demangle(&function.symbol).to_string();
        let demangled = without_hashes(&demangled);
        let name = crate_of(&demangled).unwrap_or(NO_CRATE).to_owned();
        let (bytes, count) = sums.entry(name).or_default();
        *bytes += function.bytes;
        *count += 1;
    }
    let mut crates: Vec<_> = sums.into_iter().map(|(name, (bytes, functions))| CrateSize { name, bytes, functions }).collect();
    crates.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.name.cmp(&other.name)));
    crates
}

/// A symbol without the hash that `name[0123456789abcdef]` puts behind a crate's name; `[u8]` is a type and stays.
fn without_hashes(symbol: &str) -> String {
    let mut kept = String::with_capacity(symbol.len());
    let mut rest = symbol;
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        let hash = after.split_once(']').filter(|_| before.ends_with(is_identifier));
        match hash.filter(|(hash, _)| hash.chars().all(|digit| digit.is_ascii_hexdigit())) {
            Some((_, after)) => rest = after,
            None => {
                kept.push('[');
                rest = after;
            }
        }
    }
    kept + rest
}

fn is_identifier(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The crate that a demangled symbol's path begins with. In `<Type as Trait>::function` that is the type's crate, or
/// the trait's where the type is built in or a parameter; destructors belong to the type that they destroy.
fn crate_of(symbol: &str) -> Option<&str> {
    if let Some(destroyed) = symbol.strip_prefix("core::ptr::drop_in_place::<").or_else(|| symbol.strip_prefix("core::ptr::drop_in_place<"))
    {
        return crate_of(destroyed).or(Some("core"));
    }
    let path = symbol.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
    for word in ["mut ", "const ", "dyn ", "impl "] {
        if let Some(rest) = path.strip_prefix(word) {
            return crate_of(rest);
        }
    }
    let end = path.find(|letter| !is_identifier(letter))?;
    let (name, rest) = path.split_at(end);
    if !name.is_empty() && rest.starts_with("::") {
        return Some(name);
    }
    rest.split_once(" as ").and_then(|(_, after)| crate_of(after))
}

#[cfg(test)]
mod tests {
    use super::{CrateSize, by_crate, crate_of, without_hashes};
    use crate::sizes::wasm::Function;

    #[test]
    fn a_path_begins_with_its_crate() {
        for (symbol, name) in [
            ("inglenook::server::handle::{{closure}}", "inglenook"),
            ("<ruma_common::id::RoomId as core::fmt::Display>::fmt", "ruma_common"),
            ("<&mut serde_json::de::Deserializer<R> as serde_core::Deserializer>::deserialize_str", "serde_json"),
            ("<&T as core::fmt::Debug>::fmt", "core"),
            ("<u8 as core::fmt::Display>::fmt", "core"),
            ("<[T] as alloc::borrow::ToOwned>::to_owned", "alloc"),
            ("<dyn ruma::Thing as core::any::Any>::type_id", "ruma"),
            ("core::ptr::drop_in_place<inglenook::event::Pdu>", "inglenook"),
            ("core::ptr::drop_in_place::<alloc::vec::Vec<u8>>", "alloc"),
            ("core::ptr::drop_in_place::<u8>", "core"),
        ] {
            assert_eq!(crate_of(symbol), Some(name), "{symbol}");
        }
    }

    #[test]
    fn what_has_no_path_has_no_crate() {
        for symbol in ["memcpy", "__wbindgen_malloc", "", "__externref_table_alloc.command_export"] {
            assert_eq!(crate_of(symbol), None, "{symbol}");
        }
    }

    #[test]
    fn only_hashes_are_taken_out() {
        let symbol = "<dlmalloc[e24a]::Dlmalloc<dlmalloc[e24a]::sys::System>>::free::<[u8]>";
        let without = "<dlmalloc::Dlmalloc<dlmalloc::sys::System>>::free::<[u8]>";
        assert_eq!(without_hashes(symbol), without);
    }

    #[test]
    fn mangled_symbols_of_both_kinds_are_summed_by_crate() {
        let function = |symbol: &str, bytes| Function { symbol: symbol.to_owned(), bytes };
        let sums = by_crate(&[
            function("_ZN9inglenook6server6handle17h0123456789abcdefE", 7),
            function("_RNvNtCs1234_9inglenook6server6handle", 5),
            function("_ZN5regex5build17h0123456789abcdefE", 20),
            function("inglenook[1234]::server::handle", 3),
            function("memcpy", 1),
        ]);
        let expected = [("regex", 20, 1), ("inglenook", 15, 3), ("(exports and glue)", 1, 1)];
        let expected = expected.map(|(name, bytes, functions)| CrateSize { name: name.to_owned(), bytes, functions });
        assert_eq!(sums, expected);
    }
}
