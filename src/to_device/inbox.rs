//! A local device's inbox: what a sync tells of it, and what goes because it was received.

use std::cell::RefCell;

use ruma::{OwnedUserId, UserId};
use serde_json::Value;

use super::inbox_prefix;
use crate::{
    error::Error,
    log::Output,
    ordered::OrderedSet,
    ports::StoreError,
    room_server::Position,
    rows,
    server::Server,
    storage::{Batch, Key, Scan, Table},
    sync::Window,
};

/// A sync tells so many messages at most.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-12>
const MAX_TOLD: usize = 100;

/// So many inboxes are remembered to hold nothing that was told; past that, all are looked into again.
const REMEMBERED: usize = 1_000;

/// The inboxes of which nothing was told that is still kept.
#[derive(Default)]
pub(crate) struct Inboxes(RefCell<OrderedSet<(OwnedUserId, String)>>);

impl Inboxes {
    /// Says whether that is new.
    fn remember(&self, inbox: (OwnedUserId, String)) -> bool {
        let mut inboxes = self.0.borrow_mut();
        if inboxes.len() >= REMEMBERED {
            inboxes.clear();
        }
        inboxes.insert(inbox)
    }
}

/// What a sync tells of a device's inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) messages: Vec<Value>,
    /// The position up to which that is all.
    pub(crate) upto: Position,
}

/// The next messages for the device of a sync.
pub(crate) async fn inbox(server: &Server, window: &Window) -> Result<Inbox, Error> {
    let since = window.since.map(|since| since.to_device).unwrap_or_default();
    let is_for_device =
        |output: &Output| matches!(output, Output::ToDevice { user, device } if *user == window.user && *device == window.device);
    let upto = window.upto.max(since);
    if window.since.is_some() && !server.log.any_since(since, is_for_device) {
        return Ok(Inbox { messages: Vec::new(), upto });
    }
    let key = |position: Position| inbox_prefix(&window.user, &window.device).number(position.0 + 1);
    let scan = Scan::range(key(since), key(upto)).limited(MAX_TOLD);
    let found: Vec<(Vec<u8>, Value)> = rows::range(&*server.ports.store, &scan).await?;
    let last = found.last().filter(|_| found.len() == MAX_TOLD).and_then(|(row, _)| row.last_chunk());
    let upto = last.map_or(upto, |last| Position(u64::from_be_bytes(*last)));
    if !found.is_empty() {
        server.inboxes.0.borrow_mut().remove(&(window.user.clone(), window.device.clone()));
    }
    Ok(Inbox { messages: found.into_iter().map(|(_, message)| message).collect(), upto })
}

/// Removes the messages up to a position, which the device has received since it asks for what comes behind them.
pub(crate) async fn forget_delivered(server: &Server, user: &UserId, device: &str, upto: Position) -> Result<(), Error> {
    let inbox = (user.to_owned(), device.to_owned());
    // First, so that it does not undo what a sync notes that tells something meanwhile.
    if !server.inboxes.remember(inbox.clone()) {
        return Ok(());
    }
    let key = |position: u64| inbox_prefix(user, device).number(position);
    let rows = server.ports.store.scan(&Scan::range(key(0), key(upto.0 + 1))).await?;
    if !rows.is_empty() {
        // What comes back with the power lost is behind what the device has asked for, and is not told again.
        let mut batch = Batch::relaxed();
        rows.iter().for_each(|row| batch.delete(Key::new(Table::ToDevice).raw(&row.key)));
        match server.ports.store.commit(batch).await {
            Err(StoreError::Superseded) => return Err(StoreError::Superseded.into()),
            // Trouble with the storage must not keep anybody from reading; they go the next time.
            Err(_) => drop(server.inboxes.0.borrow_mut().remove(&inbox)),
            Ok(()) => {}
        }
    }
    Ok(())
}
