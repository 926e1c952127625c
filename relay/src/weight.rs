//! What a JSON text weighs once it is read: a hundred times its length where it is made of small objects, and told before it is read.

/// What an object takes with its first fields, and every other value.
const OBJECT: usize = 640;
const VALUE: usize = 64;

/// The largest text that is read, of a request that is stored or asks for a deposit: the fullest of transactions has 100,000 objects with four
/// values each.
const HEAVIEST: usize = 96 * 1024 * 1024;

/// Whether a text weighs no more than one may.
pub(crate) fn is_light(json: &[u8]) -> bool {
    let (mut weight, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => weight += OBJECT,
            b'[' | b',' | b':' if !in_string => weight += VALUE,
            _ => {}
        }
    }
    weight <= HEAVIEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MAX_STORED_BODY;

    fn filled(part: &str) -> Vec<u8> {
        format!("[{}0]", part.repeat((MAX_STORED_BODY - 3) / part.len())).into_bytes()
    }

    #[test]
    fn what_is_made_of_small_parts_is_heavy() {
        for heavy in [r#"{"":0},"#, "{},", "[],", "0,", r#"{"a":{}},"#] {
            assert!(!is_light(&filled(heavy)), "{heavy}");
        }
    }

    #[test]
    fn what_encryption_sends_to_many_devices_is_light() {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
        let ciphertext = format!(r#"{{"{key}":{{"body":"{}","type":1}}}}"#, key.repeat(5));
        let message = format!(r#"{{"algorithm":"m.olm.v1.curve25519-aes-sha2","ciphertext":{ciphertext},"sender_key":"{key}"}},"#);
        assert!(is_light(&filled(&message)));
        // What stands in strings is no structure.
        assert!(is_light(&filled(r#""{[,:\\\"{[,:{[,:{[,:{[,:{[,:","#)));
        assert!(is_light(b"{}") && is_light(b"") && is_light(b"\"\\"));
    }
}
