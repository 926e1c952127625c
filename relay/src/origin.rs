//! Who has signed a request, proved by its X-Matrix header.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::collections::BTreeMap;

use inglenook_protocol::{
    key_name::{KEY_ID, verify_key_of},
    message,
    x_matrix::{Authorization, SignedParts},
};
use ruma::{CanonicalJsonValue, OwnedServerName, ServerName, serde::Base64};

use crate::{reply::Refused, weight::is_light};

/// A request whose body has been read.
pub(crate) type WholeRequest = message::Request<Vec<u8>>;

/// The longest name of a server: a host of 253 characters, a colon and a port. What is known of servers is kept by their names.
///
/// <https://spec.matrix.org/v1.19/appendices/#server-name>
pub(crate) const MAX_NAME: usize = 259;

/// The origin of a request that is signed for `destination`.
///
/// Only names that are made of a key prove themselves here. To check others takes fetching their keys, which is a gateway's work.
pub(crate) fn verify(request: &WholeRequest, destination: &ServerName) -> Result<OwnedServerName, Refused> {
    let claim = claim(request, destination)?;
    let key = verify_key_of(&claim.origin)
        .ok_or_else(|| Refused::unauthorized(format!("{} is made of no key, and this is no gateway.", claim.origin)))?;
    prove(claim, request, destination, key)
}

/// Who claims, unproved, to have signed a request for `destination`, and by which key.
pub(crate) fn claim(request: &WholeRequest, destination: &ServerName) -> Result<Authorization, Refused> {
    let mut headers = request.headers.iter().filter(|(name, _)| *name == "authorization").map(|(_, value)| value);
    let header = headers.next().ok_or_else(|| Refused::unauthorized("The request is not signed."))?;
    if headers.next().is_some() {
        // Which one its receiver looks at nobody knows.
        return Err(Refused::unauthorized("The request is signed twice."));
    }
    let authorization = Authorization::parse(header).map_err(|error| Refused::unauthorized(format!("{error}.")))?;
    if authorization.origin.as_str().len() > MAX_NAME {
        return Err(Refused::unauthorized("The origin's name is too long."));
    }
    if authorization.destination.as_deref().is_some_and(|named| named != destination) {
        return Err(Refused::unauthorized("The request is signed for another server."));
    }
    Ok(authorization)
}

/// The origin, once its key has proved the claim.
pub(crate) fn prove(
    claim: Authorization,
    request: &WholeRequest,
    destination: &ServerName,
    key: Base64,
) -> Result<OwnedServerName, Refused> {
    let content = content(&request.body)?;
    let parts = SignedParts {
        method: &request.method,
        uri: &request.uri,
        origin: claim.origin.as_str(),
        destination: destination.as_str(),
        content: content.as_ref(),
    };
    let id = if verify_key_of(&claim.origin).is_some() { KEY_ID.to_owned() } else { claim.key.clone() };
    let keys = BTreeMap::from([(claim.origin.to_string(), BTreeMap::from([(id, key)]))]);
    claim.verify(&parts, &keys).map_err(|error| Refused::unauthorized(format!("{error}.")))?;
    Ok(claim.origin)
}

fn content(body: &[u8]) -> Result<Option<CanonicalJsonValue>, Refused> {
    if body.is_empty() {
        return Ok(None);
    }
    if !is_light(body) {
        return Err(Refused::new(413, "M_TOO_LARGE", "The body has too many values."));
    }
    let content = serde_json::from_slice(body).map_err(|error| Refused::bad(format!("The body is no canonical JSON: {error}.")))?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use inglenook_protocol::message::Headers;

    use super::*;
    use crate::identity::Identity;

    fn signed(origin: &Identity, destination: &str) -> WholeRequest {
        let body = br#"{"pdus":[]}"#.to_vec();
        let content = serde_json::from_slice(&body).unwrap();
        let uri = "/_matrix/federation/v1/send/1";
        let parts = SignedParts { method: "PUT", uri, origin: origin.name().as_str(), destination, content: Some(&content) };
        let headers = Headers::default().with("authorization", parts.sign(origin).unwrap());
        WholeRequest { method: "PUT".into(), authority: destination.into(), uri: uri.into(), headers, body }
    }

    #[test]
    fn a_name_has_a_length() {
        let claimed = |length: usize| {
            let header = format!("X-Matrix origin=\"{}\",key=\"ed25519:1\",sig=\"s\"", "a".repeat(length));
            let request = signed(&Identity::of([1; 32]).unwrap(), "there.example");
            claim(
                &WholeRequest { headers: Headers::default().with("authorization", header), ..request },
                ServerName::parse("b").unwrap().as_ref(),
            )
        };
        assert!(claimed(MAX_NAME).is_ok());
        assert_eq!(claimed(MAX_NAME + 1).unwrap_err().status, 401);
    }

    fn signed_twice(mut request: WholeRequest) -> WholeRequest {
        request.headers.push("authorization", "X-Matrix origin=\"a\",key=\"k\",sig=\"s\"");
        request
    }

    #[test]
    fn the_signature_has_to_cover_the_request_as_it_is() {
        let origin = Identity::of([1; 32]).unwrap();
        let destination = ServerName::parse("there.example").unwrap();
        let request = signed(&origin, "there.example");
        assert_eq!(verify(&request, &destination).unwrap(), *origin.name());
        for changed in [
            WholeRequest { body: br#"{"pdus":[1]}"#.to_vec(), ..request.clone() },
            WholeRequest { method: "POST".into(), ..request.clone() },
            WholeRequest { uri: "/_matrix/federation/v1/send/2".into(), ..request.clone() },
            WholeRequest { headers: Headers::default(), ..request.clone() },
            signed(&origin, "elsewhere.example"),
            signed_twice(request.clone()),
        ] {
            assert_eq!(verify(&changed, &destination).unwrap_err().status, 401);
        }
    }
}
