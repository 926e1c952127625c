//! What others say of the keys of servers that do not answer themselves.
//!
//! Notaries are chosen by the host, and count for everything where two of them agree. The server that tells a room's events counts for
//! that room alone: what it says is never used to believe a request, nor an event of another room, nor passed on to others.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>

use ruma::{OwnedServerName, RoomId, ServerName};
use serde_json::{Map, Value, json};

use super::{
    FoundKey, FoundKeys, KeyRing, Wanted, row_key,
    server_keys::{KnownKeys, read_notary},
};
use crate::{
    ordered::{OrderedMap, OrderedSet},
    parse,
    storage::Batch,
};

/// So many notaries have to say the same of a server that cannot be asked itself: one alone might lie.
const AGREEING_NOTARIES: usize = 2;

/// A notary is asked about so many servers at once: it may ask each of them, and no more are answered by notaries of our kind.
const MAX_SERVERS: usize = 50;

/// How long a notary may take: longer than it waits for a server that does not answer it either.
const PATIENCE_MILLIS: u64 = 20_000;

impl KeyRing {
    /// What the host's notaries say of a server's keys, as far as they agree.
    pub(super) async fn ask_notaries(&self, server: &ServerName, key_ids: &OrderedSet<&str>, now: u64) -> Option<KnownKeys> {
        let mut answers: Vec<KnownKeys> = Vec::new();
        for notary in self.notaries.iter().filter(|notary| *notary != server) {
            let told = self.ask_notary(notary, &[(server, key_ids)], now, now).await;
            answers.extend(told.into_iter().flatten().map(|(_, keys)| keys));
        }
        let mut keys = answers.first()?.clone();
        keys.keys.retain(|id, key| {
            answers.iter().filter(|other| other.keys.get(id).is_some_and(|theirs| theirs.key == key.key)).count() >= AGREEING_NOTARIES
        });
        keys.valid_until = answers.iter().map(|other| other.valid_until).min()?;
        (!keys.keys.is_empty()).then_some(keys)
    }

    /// Adds the keys of servers that nothing is known of: what somebody has vouched for before in this room, or else what `voucher`
    /// vouches for now.
    pub(super) async fn find_vouched(&self, found: &mut FoundKeys, wanted: Vec<Wanted<'_>>, room: &RoomId, voucher: Option<&ServerName>) {
        let rows: Vec<_> = wanted.iter().map(|(server, _)| row_key(server).text(room.as_str())).collect();
        let Ok(rows) = self.store.get_many(&rows).await else { return };
        let mut unknown = Vec::new();
        for (wanted, row) in wanted.into_iter().zip(rows) {
            match row.and_then(|row| parse::json::<KnownKeys>(&row).ok()) {
                Some(known) => drop(found.keys.insert(wanted.0.to_string(), known.keys)),
                None => unknown.push(wanted),
            }
        }
        let Some(voucher) = voucher else { return };
        for some in unknown.chunks(MAX_SERVERS) {
            // Whatever was valid once will do: events say when they were made.
            let Some(told) = self.ask_notary(voucher, some, self.clock.now(), 0).await else { break };
            for (server, mut known) in told {
                known.published = None;
                found.keys.insert(server.to_string(), known.keys.clone());
                found.vouched.push((server, known));
            }
        }
    }

    /// Keeps for a room what was vouched for: without it, what those servers wrote could not be read after a restart. It counts until they
    /// are heard themselves.
    pub(crate) async fn keep_vouched(&self, room: &RoomId, found: &FoundKeys) {
        if found.vouched.is_empty() {
            return;
        }
        let mut batch = Batch::relaxed();
        for (server, known) in &found.vouched {
            batch.put_json(row_key(server).text(room.as_str()), known);
        }
        // What is not stored is asked for again.
        let _ = self.store.commit(batch).await;
    }

    /// What a notary says of servers' keys that were to be valid until some time.
    async fn ask_notary(
        &self,
        notary: &ServerName,
        wanted: &[Wanted<'_>],
        now: u64,
        valid_until: u64,
    ) -> Option<Vec<(OwnedServerName, KnownKeys)>> {
        let mut servers = Map::new();
        for (server, ids) in wanted {
            let mut criteria = Map::new();
            for id in *ids {
                criteria.insert((*id).to_owned(), json!({ "minimum_valid_until_ts": valid_until }));
            }
            servers.insert(server.to_string(), Value::Object(criteria));
        }
        let body = json!({ "server_keys": servers });
        let answer = self.in_time(Box::pin(self.client.post(notary, "/_matrix/key/v2/query", &body)), PATIENCE_MILLIS).await?;
        read_notary(notary, self.keys_of_notary(notary, now).await?, wanted, &answer, now).ok()
    }

    /// The keys of a server that vouches for others': nobody vouches for it.
    async fn keys_of_notary(&self, notary: &ServerName, now: u64) -> Option<OrderedMap<String, FoundKey>> {
        if let Some(keys) = self.keys_by_name(notary) {
            return Some(keys);
        }
        let known = self.known(notary).await;
        if known.as_ref().is_some_and(|known| known.valid_until > now) {
            return known.map(|known| known.keys);
        }
        let fresh = self.own_word(notary, now).await?;
        Some(self.learn(notary, known, fresh).await.keys)
    }
}
