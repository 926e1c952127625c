//! What a request is for, as its method and path say.

use percent_encoding::percent_decode_str;

/// In front of a transaction's ID, byte for byte: what is stored has to lead to the same endpoint wherever it is read.
const SEND: &str = "/_matrix/federation/v1/send/";

/// In front of room and event of an invitation.
const INVITES: [&str; 2] = ["/_matrix/federation/v1/invite/", "/_matrix/federation/v2/invite/"];

/// What the relay has to know of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A transaction, with its ID.
    Send(String),
    /// An invitation, with room and event.
    Invite(String, String),
    /// Everything else.
    Other,
}

impl Target {
    /// What the request line says. Only parameters are decoded: a node looks for its endpoints in the path as it is written.
    pub(crate) fn of(method: &str, uri: &str) -> Self {
        let path = uri.split('?').next().unwrap_or_default();
        let invited = || INVITES.iter().find_map(|prefix| path.strip_prefix(prefix)?.split_once('/'));
        match (method, path.strip_prefix(SEND)) {
            ("PUT", Some(transaction)) if is_segment(transaction) => Self::Send(decoded(transaction)),
            ("PUT", None) => match invited() {
                Some((room, event)) if is_segment(room) && is_segment(event) => Self::Invite(decoded(room), decoded(event)),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Whether the request can wait in a mailbox.
    pub(crate) fn is_storable(&self) -> bool {
        *self != Self::Other
    }
}

fn is_segment(part: &str) -> bool {
    !part.is_empty() && !part.contains('/')
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// What makes two requests of one sender the same: the transaction's ID, however it is written.
pub(crate) fn mailbox_key(method: &str, uri: &str) -> String {
    match Target::of(method, uri) {
        Target::Send(transaction) => format!("send/{transaction}"),
        Target::Invite(room, event) => format!("invite/{room}/{event}"),
        Target::Other => segments(uri).join("/"),
    }
}

/// Whether a path leads to federation, keys or media, and to nothing else on any server that it may meet.
pub(crate) fn is_federation(uri: &str) -> bool {
    let allowed = ["/_matrix/federation/", "/_matrix/key/", "/_matrix/media/"].iter().any(|prefix| uri.starts_with(prefix));
    allowed && !segments(uri).iter().any(|segment| matches!(segment.as_str(), "." | ".."))
}

/// The path's segments, decoded.
pub(crate) fn segments(uri: &str) -> Vec<String> {
    let path = uri.split('?').next().unwrap_or_default();
    path.trim_start_matches('/').split('/').map(decoded).collect()
}

/// A parameter of the query, decoded.
pub(crate) fn query(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(decoded(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_target_is_too_strange(uri in "(/?(_matrix|federation|key|client|v1|v2|send|invite|[!$]?[a-c.%?=&#é/]{0,5}|%2[ef5F]|%c3)){0,8}", method in "PUT|GET") {
            let target = Target::of(&method, &uri);
            prop_assert!(query(&uri, "a").is_none_or(|value| value.len() <= 3 * uri.len()));
            prop_assert!(mailbox_key(&method, &uri).len() <= 3 * uri.len() + "invite/".len());
            // What is kept leads to federation, whoever reads it, and is as short as it is written.
            if target.is_storable() {
                prop_assert!(method == "PUT" && uri.starts_with("/_matrix/federation/v"), "{uri}");
                let path = uri.split('?').next().unwrap();
                prop_assert_eq!(path.split('/').count(), if matches!(target, Target::Send(_)) { 6 } else { 7 });
            }
            if is_federation(&uri) {
                prop_assert!(!segments(&uri).iter().any(|segment| segment == ".." || segment == "."));
            }
        }
    }

    #[test]
    fn transactions_and_invitations_can_wait() {
        assert_eq!(Target::of("PUT", "/_matrix/federation/v1/send/a%2Fb"), Target::Send("a/b".into()));
        assert_eq!(Target::of("PUT", "/_matrix/federation/v2/invite/!a:b/%24c?x=y"), Target::Invite("!a:b".into(), "$c".into()));
        for (method, uri) in [
            ("GET", "/_matrix/federation/v1/send/a"),
            ("PUT", "/_matrix/federation/v1/send_join/!a:b/$c"),
            ("PUT", "/_matrix/client/v3/send/a"),
            ("PUT", "/_matrix/federation/v1/send/a/b"),
            ("PUT", "/_matrix/federation/v1/send/"),
            // What a node does not have.
            ("PUT", "/_matrix/federation/v2/send/a"),
            ("PUT", "/_matrix/federation/v1/s%65nd/a"),
            ("PUT", "//_matrix/federation/v1/send/a"),
            ("PUT", "/_matrix/federation/v1/invite/!a:b"),
            ("PUT", "/_matrix/federation/v3/invite/!a:b/$c"),
            ("PUT", "/_matrix/federation/v%32/invite/!a:b/$c"),
            ("PUT", "/_matrix/federation/v2/invite/!a:b/$c/"),
        ] {
            assert_eq!(Target::of(method, uri), Target::Other, "{uri}");
        }
    }

    #[test]
    fn one_transaction_has_one_key() {
        let key = mailbox_key("PUT", "/_matrix/federation/v1/send/abc");
        assert_eq!(mailbox_key("PUT", "/_matrix/federation/v1/send/%61bc?x"), key);
        assert_ne!(mailbox_key("PUT", "/_matrix/federation/v1/send/abd"), key);
    }

    #[test]
    fn the_client_api_is_out_of_reach() {
        for uri in ["/_matrix/federation/v1/version", "/_matrix/key/v2/server", "/_matrix/media/v3/download/a/b"] {
            assert!(is_federation(uri), "{uri}");
        }
        for uri in [
            "/_matrix/client/v3/login",
            "/_matrix/federation/../client/v3/login",
            "/_matrix/federation/%2e%2e/client/v3/login",
            "/_synapse/admin",
            "/",
            "/_matrix/federationx",
        ] {
            assert!(!is_federation(uri), "{uri}");
        }
    }
}
