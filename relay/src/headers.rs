//! Which headers go on between a node and an ordinary server, in either direction.

use inglenook_protocol::{
    message::Headers,
    path::{ANSWER_HEADER, OUTCOME_HEADER, RECORD_HEADER},
};

/// Headers that belong to a connection, or that the next one's writer states itself.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What Inglenook's nodes and relays say to each other,
const OURS: &str = "inglenook-";
/// and what of it concerns the other end, should that be a node of another gateway: where to answer, whether it was there, and
/// that the answer is its own.
const OF_THE_ENDS: [&str; 3] = [ANSWER_HEADER, RECORD_HEADER, OUTCOME_HEADER];

/// Those that are about the message itself.
pub(crate) fn handed_on(headers: &Headers) -> Headers {
    let is_handed_on = |name: &str| match name.starts_with(OURS) {
        true => OF_THE_ENDS.contains(&name),
        false => !OF_THE_CONNECTION.contains(&name),
    };
    Headers::from_iter(headers.iter().filter(|(name, _)| is_handed_on(name)))
}
