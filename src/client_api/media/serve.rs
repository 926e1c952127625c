//! Serving a blob: whole or in part, or not at all where the client has it.

use crate::{
    error::Error,
    http::{Body, Request, Response},
};

/// Media never change under their ID.
const CACHE: &str = "public, max-age=31536000, immutable";

/// What was uploaded must not run anything in the name of this origin.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#content-repository>
const POLICY: &str =
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

/// A blob and what to say of it.
pub(super) struct Served<'a> {
    pub(super) blob: &'a str,
    pub(super) etag: &'a str,
    pub(super) size: u64,
    pub(super) content_type: &'a str,
    pub(super) disposition: &'a str,
}

/// What part of a blob is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// From the first byte to behind the last.
    Bytes(u64, u64),
    /// Nothing that there is.
    Outside,
}

/// Answers a request for a blob.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#name-range-requests>
pub(super) fn serve(request: &Request, served: Served<'_>) -> Response {
    let etag = format!("\"{}\"", served.etag);
    if request.header("if-none-match").is_some_and(|known| matches(known, &etag)) {
        return described(Response::bare(304), &served, &etag);
    }
    // A range of something else is not wanted.
    let same = request.header("if-range").is_none_or(|known| known == etag);
    match request.header("range").filter(|_| same).map_or(Part::Whole, |range| part(range, served.size)) {
        Part::Whole => described(stored(200, &served, 0, served.size), &served, &etag),
        Part::Bytes(start, end) => {
            let range = format!("bytes {start}-{}/{}", end - 1, served.size);
            described(stored(206, &served, start, end), &served, &etag).with("content-range", &range)
        }
        Part::Outside => {
            let refusal = Error::refused(416, "M_INVALID_PARAM", "The file has no such bytes.");
            refusal.response().with("content-range", &format!("bytes */{}", served.size))
        }
    }
}

fn matches(known: &str, etag: &str) -> bool {
    known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == "*" || known == etag)
}

fn stored(status: u16, served: &Served<'_>, start: u64, end: u64) -> Response {
    let body = Body::Stored { id: served.blob.to_owned(), start, end };
    // An answer to HEAD loses its body, and says how long it is all the same.
    Response { body, ..Response::bare(status) }.with("content-length", &(end - start).to_string()).with("content-type", served.content_type)
}

fn described(response: Response, served: &Served<'_>, etag: &str) -> Response {
    response
        .with("accept-ranges", "bytes")
        .with("cache-control", CACHE)
        .with("content-disposition", served.disposition)
        .with("content-security-policy", POLICY)
        .with("cross-origin-resource-policy", "cross-origin")
        .with("etag", etag)
        .with("x-content-type-options", "nosniff")
}

/// The part that a `Range` header asks for. What is no range, or several, is answered with the whole.
fn part(range: &str, size: u64) -> Part {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else { return Part::Whole };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            Some(length) => (size.saturating_sub(length), size),
            None => return Part::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => (first, size),
            None => return Part::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
            _ => return Part::Whole,
        },
    };
    if start < end { Part::Bytes(start, end) } else { Part::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (range, expected) in [
            ("bytes=0-3", Part::Bytes(0, 4)),
            ("bytes=5-", Part::Bytes(5, 10)),
            ("bytes=-3", Part::Bytes(7, 10)),
            ("bytes=-30", Part::Bytes(0, 10)),
            ("bytes=8-99", Part::Bytes(8, 10)),
            ("bytes=10-", Part::Outside),
            ("bytes=10-12", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=3-1", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Outside);
    }
}
