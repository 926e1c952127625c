//! How often the same keys were claimed lately by the same server.
//!
//! A signed request has no date, and whoever carries it can repeat it: a relay could so drain a device of its one-time keys. Its sender may
//! send the same again as well, since each of its users' devices needs a key of its own: so the same answer must not be given twice, and
//! nobody is refused. Who comes too often gets what may be given to many.

use ruma::OwnedServerName;
use sha2::{Digest, Sha256};

use super::claim::Claims;
use crate::{error::Error, ordered::OrderedMap};

/// So often the same claim takes one-time keys within [`WINDOW_MILLIS`]: a server's users may all see a new device at once.
const MAX_REPEATED: u32 = 10;

/// For so long a claim is counted, in milliseconds: devices that are there upload new keys sooner.
const WINDOW_MILLIS: u64 = 60 * 60 * 1000;

/// So many claims are counted; past that, the one goes that was counted first.
const MAX_CLAIMS: usize = 1_000;

/// The claims that were made lately: since when each is counted, and how often it came.
#[derive(Default)]
pub(crate) struct RepeatedClaims(OrderedMap<(OwnedServerName, Vec<u8>), (u64, u32)>);

impl RepeatedClaims {
    /// Counts a claim, and says whether it came too often.
    pub(crate) fn count(&mut self, now: u64, origin: &OwnedServerName, claims: &Claims) -> Result<bool, Error> {
        let text = serde_json::to_vec(claims).map_err(|error| Error::bug(error.to_string()))?;
        self.0.retain(|_, (since, _)| *since <= now && now - *since < WINDOW_MILLIS);
        let claim = (origin.clone(), Sha256::digest(text).to_vec());
        if self.0.len() >= MAX_CLAIMS
            && !self.0.contains_key(&claim)
            && let Some(first) = self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(claim, _)| claim.clone())
        {
            self.0.remove(&first);
        }
        let (_, count) = self.0.entry(claim).or_insert((now, 0));
        *count = count.saturating_add(1);
        Ok(*count > MAX_REPEATED)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;

    fn claims(device: &str) -> Claims {
        Claims::from([(user_id!("@alice:a.example").to_owned(), [(device.to_owned(), "signed_curve25519".to_owned())].into())])
    }

    #[test]
    fn claims_are_counted_for_each_server_and_for_a_while() {
        let mut repeated = RepeatedClaims::default();
        let (one, other) = (server_name!("b.example").to_owned(), server_name!("c.example").to_owned());
        let counted: Vec<_> = (0..12).map(|_| repeated.count(0, &one, &claims("A")).unwrap()).collect();
        assert_eq!(counted, [vec![false; 10], vec![true; 2]].concat());
        assert!(!repeated.count(0, &one, &claims("B")).unwrap() && !repeated.count(0, &other, &claims("A")).unwrap());
        assert!(repeated.count(WINDOW_MILLIS - 1, &one, &claims("A")).unwrap());
        assert!(!repeated.count(WINDOW_MILLIS, &one, &claims("A")).unwrap());
    }

    #[test]
    fn not_more_are_counted_than_may_be() {
        let mut repeated = RepeatedClaims::default();
        let origin = server_name!("b.example").to_owned();
        for number in 0..MAX_CLAIMS as u64 + 10 {
            repeated.count(number, &origin, &claims(&number.to_string())).unwrap();
        }
        assert_eq!(repeated.0.len(), MAX_CLAIMS);
    }
}
