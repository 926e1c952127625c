//! Takes note of what local users do, and tells others where that changes what they are.

use ruma::UserId;

use super::{
    LOCAL, State, Told,
    local::{CONNECTED_FOR, LocalUser},
    user_of_key,
};
use crate::{
    error::Error,
    log::Output,
    ports::StoreError,
    rows,
    server::Server,
    storage::{Batch, Durability, Key, Scan, Table},
};

/// After trouble with the storage nothing is told for so long, in milliseconds: every sync would have it try again.
const RETRY_AFTER: u64 = 30_000;

/// Reads what was told before this start, the first time that it matters.
pub(super) async fn load(server: &Server) -> Result<(), Error> {
    let mut loaded = server.presence.loaded.lock().await;
    if *loaded {
        return Ok(());
    }
    let prefix = Key::new(Table::Presence).byte(LOCAL);
    let rows: Vec<(_, Told)> = rows::range(&*server.ports.store, &Scan::prefix(prefix)).await?;
    let now = server.now();
    let users = rows.into_iter().filter_map(|(row, told)| Some((user_of_key(&row)?, LocalUser::of_told(told, now))));
    server.presence.users.borrow_mut().extend(users);
    *loaded = true;
    Ok(())
}

/// A client of the user syncs until then at the latest, with the parameter `set_presence`.
pub(crate) async fn note_sync(server: &Server, user: &UserId, device: &str, wanted: Option<State>, deadline: u64) -> Result<(), Error> {
    load(server).await?;
    change(server, user, |user, now| user.sync(device, wanted, deadline + CONNECTED_FOR, now));
    refresh(server).await
}

/// The user does something that a person does.
pub(crate) async fn note_activity(server: &Server, user: &UserId) -> Result<(), Error> {
    load(server).await?;
    change(server, user, LocalUser::act);
    refresh(server).await
}

/// The user says what they are; that is durable when this returns.
pub(crate) async fn set(server: &Server, user: &UserId, device: &str, state: State, status_msg: Option<String>) -> Result<(), Error> {
    load(server).await?;
    change(server, user, |user, now| user.set(device, state, status_msg, now));
    tell(server, user, Durability::Strict).await
}

fn change(server: &Server, user: &UserId, change: impl FnOnce(&mut LocalUser, u64)) {
    let mut users = server.presence.users.borrow_mut();
    change(users.entry(user.to_owned()).or_default(), server.now());
}

/// Tells what has changed, by what users did or by the time that has gone by.
///
/// Full storage must keep nobody from reading: what cannot be told now is told later.
pub(crate) async fn refresh(server: &Server) -> Result<(), Error> {
    load(server).await?;
    let now = server.now();
    let paused_for = server.presence.paused_until.get().saturating_sub(now);
    // A clock that was set back makes no longer pause.
    if (1..=RETRY_AFTER).contains(&paused_for) {
        return Ok(());
    }
    for user in server.presence.due(now) {
        // Lost with the power, it is told anew when the user is heard of, or is not.
        match tell(server, &user, Durability::Relaxed).await {
            Err(Error::Storage(error)) if *error != StoreError::Superseded => {
                server.presence.paused_until.set(now + RETRY_AFTER);
                return Ok(());
            }
            told => told?,
        }
    }
    Ok(())
}

async fn tell(server: &Server, user: &UserId, durability: Durability) -> Result<(), Error> {
    let _lock = server.accounts.lock(user).await;
    let now = server.now();
    let (told, before) = {
        let users = server.presence.users.borrow();
        let Some(local) = users.get(user).filter(|local| local.is_due(now)) else { return Ok(()) };
        (local.now(now), local.told.as_ref().map(|told| told.position))
    };
    let mut written = told.clone();
    let appending = server.log.append(|positions| {
        let mut batch = Batch { durability, ..Batch::default() };
        let position = positions.assign(Output::Presence { user: user.to_owned() });
        written = told.write(LOCAL, user, before, position, &mut batch);
        batch
    });
    appending.await?;
    if let Some(local) = server.presence.users.borrow_mut().get_mut(user) {
        local.told = Some(written);
    }
    Ok(())
}

/// A user is gone for good, and what they said of themselves with them.
pub(crate) async fn note_end(server: &Server, user: &UserId) -> Result<(), Error> {
    load(server).await?;
    change(server, user, |user, _| user.end());
    tell(server, user, Durability::Strict).await
}
