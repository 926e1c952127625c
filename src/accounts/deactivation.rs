//! Deactivating an account: its user leaves all rooms, and nobody can ever log in to it again.

use std::rc::Rc;

use ruma::UserId;
use serde_json::json;

use super::{Account, account_key};
use crate::{
    account_data,
    error::Error,
    event::NewEvent,
    log::Output,
    profiles::{self, profile_key},
    room_server::Room,
    server::Server,
    storage::{Batch, Key, Scan, Table},
};

/// Memberships that a user who goes must give up.
const GIVEN_UP: [&str; 3] = ["join", "invite", "knock"];

/// Deactivates an account; with `erase`, what the user said about themselves goes too.
///
/// Rooms come first: if this is cut off, the user can still log in and ask again.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>
pub(crate) async fn deactivate(server: &Server, user: &UserId, erase: bool) -> Result<(), Error> {
    for (room, membership) in profiles::rooms_of(server, user).await? {
        if GIVEN_UP.contains(&membership.as_str()) {
            leave(server, &room, user).await?;
        }
    }
    let _lock = server.accounts.lock(user).await;
    let Some(account) = server.accounts.account(user).await? else { return Ok(()) };
    let mut batch = Batch::new();
    batch.put_json(account_key(user), &Account { password: None, deactivated: true, ..account });
    server.accounts.write_deletion(user, |_| true, &mut batch).await?;
    if erase {
        write_erasure(server, user, &mut batch).await?;
    }
    let appending = server.log.append(|positions| {
        positions.assign(Output::Devices { user: user.to_owned() });
        batch
    });
    let appended = appending.await;
    server.accounts.forget_sessions(user);
    appended
}

async fn leave(server: &Server, room: &Rc<Room>, user: &UserId) -> Result<(), Error> {
    let leaving = server.rooms.transact_in(room, |draft| {
        if draft.membership(user)?.is_some_and(|membership| GIVEN_UP.contains(&membership.as_str())) {
            draft.add(NewEvent::state(user.to_owned(), "m.room.member", user.as_str(), json!({ "membership": "leave" })), None)?;
        }
        Ok(())
    });
    match leaving.await {
        // A room that does not let its members go must not keep the account alive.
        Err(Error::Refused(_)) => Ok(()),
        result => result,
    }
}

async fn write_erasure(server: &Server, user: &UserId, batch: &mut Batch) -> Result<(), Error> {
    batch.delete(profile_key(user));
    account_data::write_erasure(server, user, batch).await?;
    for row in server.ports.store.scan(&Scan::prefix(Key::new(Table::Filters).text(user.as_str()))).await? {
        batch.delete(Key::new(Table::Filters).raw(&row.key));
    }
    Ok(())
}
