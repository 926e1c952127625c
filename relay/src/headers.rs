//! Which headers go on between a node and an ordinary server, in either direction.

use inglenook_protocol::message::Headers;

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

/// What Inglenook's nodes and relays say to each other.
const OURS: &str = "inglenook-";

/// Those that are about the message itself.
pub(crate) fn handed_on(headers: &Headers) -> Headers {
    Headers::from_iter(headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(name) && !name.starts_with(OURS)))
}
