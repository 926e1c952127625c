//! From what other servers send to events that may be judged: format, signatures and hashes, with the keys that this takes.

use ruma::ServerName;

use crate::{
    event::{CheckedPdu, RawPdu, RoomVersion, Unfit},
    gather::Gather,
    identity::key_ring::WantedKey,
    server::Server,
};

/// So many of a server's signatures are looked at: a server that changes its key signs with the old and the new one, and who
/// names thousands only wants them looked up.
const MAX_KEYS_OF_SERVER: usize = 4;

/// Why an event was not checked, or found wanting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unchecked {
    /// It is no event, or not that of those who are said to have sent it.
    Unfit(Unfit),
    /// Some key cannot be had now.
    NoKey,
}

/// Checks events of a room of that version, in their order; their keys are looked for together.
pub(crate) async fn check(server: &Server, version: &RoomVersion, events: Vec<RawPdu>) -> Vec<Result<CheckedPdu, Unchecked>> {
    let wanted: Vec<_> = events.iter().map(|raw| wanted_keys(raw, version)).collect();
    let found = server.keys.find_for_events(&wanted.iter().flatten().map(|(key, _)| key.clone()).gather()).await;
    let checks = events.into_iter().zip(wanted).map(|(raw, wanted)| {
        let at = raw.field("origin_server_ts").and_then(|at| at.as_integer()).and_then(|at| u64::try_from(i64::from(at)).ok());
        let keys = found.valid_at(at.unwrap_or_default(), version);
        let signers = raw.signers(version).map_err(Unchecked::Unfit)?;
        let lacks_key = |signer: &String| wanted.iter().any(|(_, name)| name == signer) && !found.has_any(signer);
        if signers.iter().any(lacks_key) {
            return Err(Unchecked::NoKey);
        }
        raw.check(version, &keys).map_err(Unchecked::Unfit)
    });
    checks.collect()
}

/// The keys by which the event says that it was signed, of the servers that have to.
fn wanted_keys(raw: &RawPdu, version: &RoomVersion) -> Vec<(WantedKey, String)> {
    let mut wanted = Vec::new();
    for name in raw.signers(version).unwrap_or_default() {
        let Ok(server) = ServerName::parse(&name) else { continue };
        let keys = raw.key_ids(&name).take(MAX_KEYS_OF_SERVER);
        wanted.extend(keys.map(|key_id| (WantedKey { server: server.clone(), key_id: key_id.to_owned() }, name.clone())));
    }
    wanted
}
