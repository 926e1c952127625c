//! OpenID tokens: signed by the server, so that none needs to be stored for the short time that it is valid.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#openid>

use ruma::{
    OwnedUserId, UserId,
    serde::{Base64, base64::UrlSafe},
    signatures::KeyPair,
};
use serde::Deserialize;
use serde_json::json;

use crate::{identity::Identity, parse};

/// How long a token is valid, in seconds: long enough to be taken to a service, short enough to need no withdrawal.
pub(crate) const LIFETIME_SECONDS: u64 = 3600;

/// Stands before what is signed, which is thereby no JSON: the signature can pass for that of no event and no request.
const PURPOSE: &str = "openid ";

/// A token by which a service learns from this server who the user is.
pub(crate) fn token(identity: &Identity, user: &UserId, now: u64) -> String {
    let claim = json!({ "sub": user, "exp": now / 1000 + LIFETIME_SECONDS }).to_string();
    let signature = identity.sign(format!("{PURPOSE}{claim}").as_bytes());
    let encoded = |bytes: &[u8]| Base64::<UrlSafe, _>::new(bytes).encode();
    format!("{}.{}", encoded(claim.as_bytes()), encoded(signature.as_bytes()))
}

/// Whose token it is, if this server has signed it and it has not expired.
pub(crate) fn user_of(identity: &Identity, token: &str, now: u64) -> Option<OwnedUserId> {
    #[derive(Deserialize)]
    struct Claim {
        sub: OwnedUserId,
        exp: u64,
    }
    let (claim, signature) = token.split_once('.')?;
    let decoded = |text: &str| Base64::<UrlSafe>::parse(text).ok().map(Base64::into_inner);
    let (claim, signature) = (decoded(claim)?, decoded(signature)?);
    if !identity.has_signed(&[PURPOSE.as_bytes(), &claim].concat(), &signature) {
        return None;
    }
    let claim: Claim = parse::json(&claim).ok()?;
    (claim.exp > now / 1000).then_some(claim.sub)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};
    use ruma::user_id;
    use serde_json::Value;

    use super::*;
    use crate::{identity::Name, ports::Entropy};

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_token_says_who_and_until_when_under_the_servers_signature() {
        let identity = Identity::make(&Sevens, Name::Given("example.org")).unwrap();
        let token = token(&identity, user_id!("@ada:example.org"), 5_000);
        let (claim, signature) = token.split_once('.').unwrap();
        let claim = Base64::<UrlSafe>::parse(claim).unwrap().into_inner();
        let signature = Signature::from_slice(Base64::<UrlSafe>::parse(signature).unwrap().as_bytes()).unwrap();
        let key = VerifyingKey::from_bytes(&identity.public_key()).unwrap();
        assert!(key.verify_strict(&[b"openid ", claim.as_slice()].concat(), &signature).is_ok());
        assert!(key.verify_strict(&claim, &signature).is_err());
        let claim: Value = parse::json(&claim).unwrap();
        assert_eq!(claim, json!({ "sub": "@ada:example.org", "exp": 3605 }));
    }

    #[test]
    fn a_token_is_good_for_an_hour_and_only_as_it_was_made() {
        let identity = Identity::make(&Sevens, Name::Given("example.org")).unwrap();
        let user = user_id!("@ada:example.org");
        let token = token(&identity, user, 5_000);
        assert_eq!(user_of(&identity, &token, 3_604_999).as_deref(), Some(user));
        assert_eq!(user_of(&identity, &token, 3_605_000), None);
        let (claim, signature) = token.split_once('.').unwrap();
        let other = Base64::<UrlSafe, _>::new(r#"{"sub":"@eve:example.org","exp":3605}"#).encode();
        for forged in ["", ".", claim, &format!("{other}.{signature}"), &format!("{claim}.{other}"), &format!("{claim}.")] {
            assert_eq!(user_of(&identity, forged, 5_000), None, "{forged}");
        }
    }
}
