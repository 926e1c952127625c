//! What is read of the tables: each of it from one view, which no change gets into.

use std::{collections::BTreeSet, ops::Bound};

use redb::{ReadTransaction, ReadableDatabase, ReadableTableMetadata};
use ruma::{OwnedServerName, ServerName};

use super::{
    Document, Entry, StoreError, Usage,
    tables::{BYTES, COUNTERS, DOCUMENTS, HEADS, Head, MAILBOXES, QUEUES, REQUESTS, SHARES, failed, time},
};

/// When a server was last here.
pub(super) fn seen(transaction: &ReadTransaction, server: &str) -> Result<Option<u64>, StoreError> {
    Ok(document(transaction, Document::Seen, server)?.and_then(|seen| time(&seen)))
}

/// The first entry behind `after`.
pub(super) fn next(transaction: &ReadTransaction, mailbox: &str, after: u64) -> Result<Option<Entry>, StoreError> {
    let heads = transaction.open_table(HEADS).map_err(failed)?;
    let Some(row) = heads.range((mailbox, after.saturating_add(1))..=(mailbox, u64::MAX))?.next() else { return Ok(None) };
    let (key, value) = row?;
    let head: Head = serde_json::from_slice(value.value()).map_err(failed)?;
    entry(transaction, mailbox, key.value().1, ServerName::parse(head.origin).map_err(failed)?)
}

/// The first entry of the next sender behind `after`, in a circle, that is none of `but_not`.
pub(super) fn turn(
    transaction: &ReadTransaction,
    mailbox: &str,
    after: &str,
    but_not: &BTreeSet<OwnedServerName>,
) -> Result<Option<Entry>, StoreError> {
    let shares = transaction.open_table(SHARES).map_err(failed)?;
    let behind = shares.range((Bound::Excluded((mailbox, after)), Bound::Unbounded))?;
    let behind = behind.take_while(|row| row.as_ref().map_or(true, |(key, _)| key.value().0 == mailbox));
    for row in behind.chain(shares.range((mailbox, "")..=(mailbox, after))?) {
        let origin = ServerName::parse(row?.0.value().1).map_err(failed)?;
        if !but_not.contains(&origin) {
            return first(transaction, mailbox, origin);
        }
    }
    Ok(None)
}

/// The first entry of a sender.
pub(super) fn first(transaction: &ReadTransaction, mailbox: &str, origin: OwnedServerName) -> Result<Option<Entry>, StoreError> {
    let queues = transaction.open_table(QUEUES).map_err(failed)?;
    let first = queues.range((mailbox, origin.as_str(), 0)..=(mailbox, origin.as_str(), u64::MAX))?.next();
    let id = first.transpose()?.map(|(key, _)| key.value().2);
    id.map_or(Ok(None), |id| entry(transaction, mailbox, id, origin))
}

fn entry(transaction: &ReadTransaction, mailbox: &str, id: u64, origin: OwnedServerName) -> Result<Option<Entry>, StoreError> {
    let requests = transaction.open_table(REQUESTS).map_err(failed)?;
    Ok(requests.get((mailbox, id))?.map(|request| Entry { id, origin, request: request.value().to_vec() }))
}

pub(super) fn waiting(transaction: &ReadTransaction, mailbox: &str, origin: &str) -> Result<u64, StoreError> {
    let shares = transaction.open_table(SHARES).map_err(failed)?;
    Ok(shares.get((mailbox, origin))?.map_or(0, |row| row.value().0))
}

pub(super) fn usage(transaction: &ReadTransaction) -> Result<Usage, StoreError> {
    let bytes = transaction.open_table(COUNTERS).map_err(failed)?.get(BYTES)?.map_or(0, |row| row.value());
    Ok(Usage {
        mailboxes: transaction.open_table(MAILBOXES).map_err(failed)?.len()?,
        entries: transaction.open_table(REQUESTS).map_err(failed)?.len()?,
        bytes,
    })
}

pub(super) fn document(transaction: &ReadTransaction, document: Document, server: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    Ok(documents.get((document.as_str(), server))?.map(|bytes| bytes.value().to_vec()))
}

/// A view of the database as it is now.
pub(super) fn read(database: &redb::Database) -> Result<ReadTransaction, StoreError> {
    database.begin_read().map_err(failed)
}
