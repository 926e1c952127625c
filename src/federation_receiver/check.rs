//! From what other servers send to events that may be judged: format, signatures and hashes, with the keys that this takes.

use ruma::{RoomId, ServerName};

use crate::{
    event::{CheckedPdu, RawPdu, RoomVersion, Unfit},
    gather::Gather,
    identity::key_ring::{FoundKeys, WantedKey},
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
pub(crate) fn check<'a>(
    server: &'a Server,
    room: (&'a RoomId, &'a RoomVersion),
    events: Vec<RawPdu>,
) -> impl Future<Output = Vec<Result<CheckedPdu, Unchecked>>> + 'a {
    check_told(server, room, events, None)
}

/// The same for events that this server has asked another one for, which may vouch for the keys of servers that are away.
pub(crate) async fn check_told(
    server: &Server,
    (room, version): (&RoomId, &RoomVersion),
    events: Vec<RawPdu>,
    teller: Option<&ServerName>,
) -> Vec<Result<CheckedPdu, Unchecked>> {
    let keys = events.iter().flat_map(|raw| wanted_keys(raw, version)).gather();
    let found = server.keys.find_for_events(&keys, room, teller).await;
    server.keys.keep_vouched(room, &found).await;
    check_by(&found, version, events)
}

/// The same by keys that were found.
pub(crate) fn check_by(found: &FoundKeys, version: &RoomVersion, events: Vec<RawPdu>) -> Vec<Result<CheckedPdu, Unchecked>> {
    let checks = events.into_iter().map(|raw| {
        let at = raw.field("origin_server_ts").and_then(|at| at.as_integer()).and_then(|at| u64::try_from(i64::from(at)).ok());
        let keys = found.valid_at(at.unwrap_or_default(), version);
        raw.signers(version).map_err(Unchecked::Unfit)?;
        if wanted_keys(&raw, version).iter().any(|key| !found.has_any(key.server.as_str())) {
            return Err(Unchecked::NoKey);
        }
        raw.check(version, &keys).map_err(Unchecked::Unfit)
    });
    checks.collect()
}

/// The keys by which the event says that it was signed, of the servers that have to.
pub(crate) fn wanted_keys(raw: &RawPdu, version: &RoomVersion) -> Vec<WantedKey> {
    let mut wanted = Vec::new();
    for name in raw.signers(version).unwrap_or_default() {
        let Ok(server) = ServerName::parse(&name) else { continue };
        let keys = raw.key_ids(&name).take(MAX_KEYS_OF_SERVER);
        wanted.extend(keys.map(|key_id| WantedKey { server: server.clone(), key_id: key_id.to_owned() }));
    }
    wanted
}
