//! Cases of what anybody may know of the server, and of its capabilities.

use inglenook::http::Method;

use super::case::{Case, Content, NOBODY, Sent, get};

#[rustfmt::skip]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        get(NOBODY, "/_matrix/client/versions", "getVersions", "for anybody").has("/versions/0"),
        get("alice", "/_matrix/client/versions", "getVersions", "with a token").has("/versions/0"),
        get("stranger", "/_matrix/client/versions", "getVersions", "with an unknown token").refused(401, "M_UNKNOWN_TOKEN"),
        get(NOBODY, "/.well-known/matrix/client", "getWellknown", "without an address").refused(404, "M_NOT_FOUND"),
        get(NOBODY, "/.well-known/matrix/client", "getWellknown", "with an address").reached_as("example.org").at("/m.homeserver/base_url", "https://example.org"),
        get(NOBODY, "/.well-known/matrix/support", "getWellknownSupport", "without a contact").refused(404, "M_NOT_FOUND"),
        get(NOBODY, "/.well-known/matrix/policy_server", "getWellknownPolicy", "the key").has("/public_keys/ed25519"),
        get(NOBODY, "/_matrix/client/v1/auth_metadata", "getAuthMetadata", "without OAuth").refused(404, "M_UNRECOGNIZED"),
        Case::new("", "without the body", Sent::new(NOBODY, Method::Head, "/_matrix/client/versions", Content::None)).header("content-type", "application/json").body(""),
        get("alice", "/capabilities", "getCapabilities", "what can be done").at("/capabilities/m.room_versions/default", "12").at("/capabilities/m.room_versions/available/12", "stable"),
    ]
}
