//! `Content-Disposition`: what browsers may show by themselves, and under which name a file is saved.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What browsers may show: none of these can run anything.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content>
const INLINE: [&str; 26] = [
    "application/json",
    "application/ld+json",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/wave",
    "audio/webm",
    "audio/x-flac",
    "audio/x-pn-wav",
    "audio/x-wav",
    "image/apng",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/css",
    "text/csv",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// What may stand in a header's extended value as it is.
///
/// <https://www.rfc-editor.org/rfc/rfc8187#section-3.2.1>
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The header of a file of this type and name.
pub(crate) fn of(content_type: &str, name: Option<&str>) -> String {
    let kind = if INLINE.contains(&essence(content_type).as_str()) { "inline" } else { "attachment" };
    match name {
        None => kind.to_owned(),
        Some(name) if name.bytes().all(is_plain) => format!("{kind}; filename=\"{name}\""),
        Some(name) => format!("{kind}; filename*=utf-8''{}", utf8_percent_encode(name, EXTENDED)),
    }
}

/// The type without its parameters.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The name of a thumbnail of this type.
pub(crate) fn thumbnail_name(content_type: &str) -> &'static str {
    if essence(content_type) == "image/jpeg" { "thumbnail.jpg" } else { "thumbnail.png" }
}

/// Letters, digits and signs that mean nothing within quotes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_run_is_shown_inline() {
        for (content_type, expected) in [
            ("image/png", "inline"),
            ("Text/Plain; charset=utf-8", "inline"),
            ("text/html", "attachment"),
            ("image/svg+xml", "attachment"),
            ("application/javascript", "attachment"),
            ("", "attachment"),
        ] {
            assert_eq!(of(content_type, None), expected, "{content_type}");
        }
    }

    #[test]
    fn no_name_breaks_out_of_the_header() {
        for (name, expected) in [
            ("a b.png", "filename=\"a b.png\""),
            ("a\"; b.png", "filename*=utf-8''a%22%3B%20b.png"),
            ("a\r\nb", "filename*=utf-8''a%0D%0Ab"),
            ("ä%41\\.png", "filename*=utf-8''%C3%A4%2541%5C.png"),
        ] {
            assert_eq!(of("image/png", Some(name)), format!("inline; {expected}"));
        }
    }
}
