//! Presence between servers: what others are told of local users, and what they tell of theirs.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#presence>

use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::Value;

use super::{EDU_LIFETIME, LOCAL, REMOTE, State, Told, of, row_key};
use crate::{
    error::Error, gather::Gather, log::Output, ordered::OrderedMap, room_server::Position, rows, server::Server, sharing, storage::Batch,
};

/// So many updates of one EDU are taken; a server that has more to say says it in several.
const MAX_UPDATES: usize = 100;

/// What a local user is, as one update of an `m.presence` EDU: `None` where something else was told since that position, or it is
/// so long ago that nobody would believe it.
pub(crate) async fn told_at(server: &Server, user: &UserId, position: Position) -> Result<Option<Value>, Error> {
    let last: Option<Told> = rows::one(&*server.ports.store, row_key(LOCAL, user)).await?;
    let is_new = |told: &Told| told.position == position && server.now().saturating_sub(told.at) <= EDU_LIFETIME;
    if !last.is_some_and(|told| is_new(&told)) {
        return Ok(None);
    }
    let now = server.now();
    let mut update = of(server, user).await?.unwrap_or_default().content(now);
    update.insert("user_id".into(), user.as_str().into());
    update.entry("last_active_ago").or_insert_with(|| now.into());
    Ok(Some(update.into()))
}

/// The content of `m.presence`.
#[derive(Debug, Deserialize)]
struct Presence {
    push: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Update {
    user_id: OwnedUserId,
    presence: State,
    status_msg: Option<String>,
    #[serde(default)]
    last_active_ago: u64,
}

/// Takes what another server tells of its users, as far as they share a room with a local one. The rest is dropped.
/// Returns whether anything came of it.
pub(crate) async fn receive(server: &Server, origin: &ServerName, content: Value) -> Result<bool, Error> {
    let Ok(Presence { push }) = serde_json::from_value(content) else { return Ok(false) };
    let updates = push.into_iter().take(MAX_UPDATES).filter_map(|update| serde_json::from_value::<Update>(update).ok());
    let mut updates: OrderedMap<_, _> =
        updates.filter(|update| update.user_id.server_name() == origin).map(|update| (update.user_id.clone(), update)).gather();
    let seen = sharing::seen(server, updates.keys().cloned().gather()).await?;
    updates.retain(|user, _| seen.contains(user));
    if updates.is_empty() {
        return Ok(false);
    }
    let mut locks = Vec::new();
    // In the order of the users, so that no two EDUs wait for each other.
    for user in updates.keys() {
        locks.push(server.accounts.lock(user).await);
    }
    let keys: Vec<_> = updates.keys().map(|user| row_key(REMOTE, user)).collect();
    let known: Vec<Option<Told>> = rows::many(&*server.ports.store, &keys).await?;
    let now = server.now();
    let appending = server.log.append(|positions| {
        // Its server says it again.
        let mut batch = Batch::relaxed();
        for ((user, update), known) in updates.into_iter().zip(known) {
            let Update { presence: state, status_msg, last_active_ago, .. } = update;
            let last_active = now.saturating_sub(last_active_ago);
            let told = Told { state, status_msg, last_active, at: now, ..Told::default() };
            let position = positions.assign(Output::Presence { user: user.clone() });
            told.write(REMOTE, &user, known.map(|known| known.position), position, &mut batch);
        }
        batch
    });
    appending.await?;
    Ok(true)
}
