//! Reading JSON: always from text, since what reads a type is compiled once for each kind of source that it is read from.

use serde::Deserialize;

/// A value from the bytes of its JSON.
pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    // What is no text is no JSON, which a text that begins with no value says in the same words.
    serde_json::from_str(std::str::from_utf8(bytes).unwrap_or("\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_no_text_is_no_json() {
        let error = json::<Value>(b"{\"a\":\"\xff\"}").unwrap_err();
        assert!(error.is_syntax(), "{error}");
        assert_eq!(json::<Vec<u64>>(b"[1, 2]").unwrap(), [1, 2]);
    }
}
