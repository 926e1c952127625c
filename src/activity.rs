//! Whether a user is syncing, and when they were last active: noted in the log for presence to read.

use ruma::UserId;

use crate::{error::Error, log::Output, server::Server, storage::Batch};

/// While a user keeps syncing it is noted this often, in milliseconds; a reader may take somebody of whom nothing was noted
/// for twice as long for gone.
const NOTED_EVERY: u64 = 60_000;

/// Notes that a client of the user syncs, unless that was noted a moment ago.
///
/// `set_presence` is the parameter of that name: a client that syncs as `offline` does not make its user seem present.
pub(crate) async fn note_sync(server: &Server, user: &UserId, set_presence: Option<&str>) -> Result<(), Error> {
    let now = server.now();
    let syncing = set_presence != Some("offline");
    let due = match server.active.borrow().get(user) {
        Some((noted, was_syncing)) => *was_syncing != syncing || now.saturating_sub(*noted) >= NOTED_EVERY,
        None => true,
    };
    if !due {
        return Ok(());
    }
    server.active.borrow_mut().insert(user.to_owned(), (now, syncing));
    let noting = server.log.append(|positions| {
        positions.assign(Output::Activity { user: user.to_owned(), syncing, last_active: now });
        // Lost with the power, it is noted again with the next sync.
        Batch::relaxed()
    });
    noting.await
}
