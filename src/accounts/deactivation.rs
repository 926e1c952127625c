//! Deactivating an account: nobody can ever log in to it again.

use ruma::UserId;

use super::{Account, account_key, devices};
use crate::{
    account_data,
    erasure::Erasures,
    error::Error,
    key_backup,
    keys::{
        self,
        device_list::{Changes, DeviceList},
    },
    presence,
    profiles::profile_key,
    server::Server,
    storage::{Batch, Key, Scan, Table},
};

/// Deactivates an account; with `erase`, what the user said about themselves goes too, and what they sent is kept from those who
/// come later.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>
pub(crate) async fn deactivate(server: &Server, user: &UserId, erase: bool) -> Result<(), Error> {
    let lock = server.accounts.lock(user).await;
    let Some(account) = server.accounts.account(user).await? else { return Ok(()) };
    let mut batch = Batch::new();
    batch.put_json(account_key(user), &Account { password: None, deactivated: true, ..account });
    let devices = server.accounts.write_deletion(user, |_| true, &mut batch).await?;
    keys::write_deletion_of_user(&*server.ports.store, user, &mut batch).await?;
    key_backup::write_deletion_of_user(&*server.ports.store, user, &mut batch).await?;
    if erase {
        write_erasure(server, user, &mut batch).await?;
    }
    let changes = Changes { signing_keys: true, ..Changes::of_devices(devices.clone()) };
    let list = DeviceList::read(&*server.ports.store, user).await?;
    let appending = server.log.append_and_publish(|positions| match list.write(user, &changes, positions, &mut batch) {
        Some(position) if erase => {
            Erasures::write(user, position, &mut batch);
            (batch, server.rooms.erase(user.to_owned(), position))
        }
        _ => (batch, Box::new(|| ())),
    });
    let appended = appending.await;
    devices::forget(server, user, devices);
    appended?;
    server.deposits_changed.raise();
    drop(lock);
    presence::note_end(server, user).await
}

async fn write_erasure(server: &Server, user: &UserId, batch: &mut Batch) -> Result<(), Error> {
    batch.delete(profile_key(user));
    account_data::write_erasure(server, user, batch).await?;
    for row in server.ports.store.scan(&Scan::prefix(Key::new(Table::Filters).text(user.as_str()))).await? {
        batch.delete(Key::new(Table::Filters).raw(&row.key));
    }
    Ok(())
}
