//! The servers that may help with a request, asked one after the other until one does.

use ruma::{OwnedServerName, ServerName};

use crate::{error::Error, federation_client::PeerError, server::Server};

/// So many servers are asked at most: who gets no help from these gets it from none.
const MAX_CANDIDATES: usize = 10;

/// Servers that may help, the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidates(Vec<OwnedServerName>);

impl Candidates {
    /// These servers, each once, without this one.
    pub(crate) fn new(server: &Server, names: impl IntoIterator<Item = OwnedServerName>) -> Self {
        let mut candidates = Vec::new();
        for name in names {
            if name != server.name() && !candidates.contains(&name) && candidates.len() < MAX_CANDIDATES {
                candidates.push(name);
            }
        }
        Self(candidates)
    }

    /// The servers.
    pub(crate) fn names(&self) -> &[OwnedServerName] {
        &self.0
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the first of them that helps answers; where none does, the error that says most.
    pub(crate) async fn first_to_help<T>(&self, attempt: impl AsyncFn(&ServerName) -> Result<T, Error>) -> Result<T, Error> {
        let mut errors = Vec::new();
        for name in &self.0 {
            match attempt(name).await {
                Ok(answer) => return Ok(answer),
                Err(error) if is_own_fault(&error) => return Err(error),
                Err(error) => errors.push(error),
            }
        }
        let telling = errors.into_iter().min_by_key(reticence);
        Err(telling.unwrap_or_else(|| Error::not_found("No other server is known that could help.")))
    }
}

pub(super) fn is_own_fault(error: &Error) -> bool {
    matches!(error, Error::Storage(_) | Error::Media(_) | Error::Bug(_))
}

/// How little an error says about what was asked for. Who is away may know more than who knows of nothing.
fn reticence(error: &Error) -> u8 {
    match (error, error.peer()) {
        (_, Some(PeerError::Refused { status: 403, .. })) => 0,
        (Error::Refused(_), _) => 1,
        _ if is_away(error) => 3,
        (_, Some(PeerError::Refused { status: 404, .. } | PeerError::Malformed(_))) => 4,
        (_, Some(PeerError::Refused { code, .. })) if code != "M_UNRECOGNIZED" => 2,
        _ => 5,
    }
}

/// Whether a server could not be reached, so that it may help another time.
pub(crate) fn is_away(error: &Error) -> bool {
    match error.peer() {
        Some(PeerError::Unreachable(_)) => true,
        Some(PeerError::Refused { status, .. }) => *status == 429 || *status >= 500,
        Some(PeerError::Malformed(_)) => false,
        None => matches!(error, Error::Transport(_)),
    }
}

/// Whether a server does not know the endpoint.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#unsupported-endpoints>
pub(super) fn is_unrecognized(error: &Error) -> bool {
    matches!(error.peer(), Some(PeerError::Refused { status: 400 | 404 | 405, code, .. }) if code == "M_UNRECOGNIZED" || code == "M_UNKNOWN")
}

/// The error as a client is told of it. What another server says about the client's wish is passed on; what it says about this
/// server's request is no fault of the client.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid> (400)
pub(crate) fn for_client(error: Error) -> Error {
    let Some(PeerError::Refused { status, code, message }) = error.peer() else { return error };
    let is_about_request =
        matches!(code.as_str(), "M_MISSING_PARAM" | "M_INVALID_PARAM" | "M_UNRECOGNIZED" | "M_UNAUTHORIZED" | "M_UNKNOWN_TOKEN");
    if matches!(status, 400 | 403 | 404 | 429) && !is_about_request {
        return error;
    }
    Error::refused(502, "M_UNKNOWN", format!("Another server was asked and answered: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::TransportError;

    fn refused(status: u16, code: &str) -> Error {
        PeerError::Refused { status, code: code.into(), message: String::new() }.into()
    }

    #[test]
    fn the_error_that_says_most_is_told() {
        let away = || Error::from(TransportError::NoRoute("a.example".into()));
        let mut errors = [refused(404, "M_NOT_FOUND"), away(), refused(400, "M_INCOMPATIBLE_ROOM_VERSION"), refused(403, "M_FORBIDDEN")];
        errors.sort_by_key(reticence);
        let codes: Vec<_> = errors.iter().map(|error| error.response().status).collect();
        assert_eq!(codes, [403, 400, 502, 404]);
    }

    #[test]
    fn clients_are_not_blamed_for_requests_that_this_server_made() {
        for (error, status) in [
            (refused(403, "M_FORBIDDEN"), 403),
            (refused(400, "M_UNABLE_TO_GRANT_JOIN"), 400),
            (refused(400, "M_INVALID_PARAM"), 502),
            (refused(401, "M_UNAUTHORIZED"), 502),
            (refused(401, "M_UNKNOWN_TOKEN"), 502),
            (refused(404, "M_UNRECOGNIZED"), 502),
            (refused(500, "M_UNKNOWN"), 502),
        ] {
            assert_eq!(for_client(error).response().status, status);
        }
    }
}
