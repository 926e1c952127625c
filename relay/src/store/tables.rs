//! The database's tables, and what one change does to them within a transaction. Each is checked before it changes anything, so that one
//! that is refused leaves no trace among the others of its transaction.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, StorageError, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{
    Appended, Content, Document, NewEntry, Quotas, SHARE_OF_MAILBOX, StoreError,
    budget::{self, Brought, Budgets},
};
use crate::address::Address;

/// (mailbox, entry) -> the request as a binary message.
pub(super) const REQUESTS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("requests");
/// (mailbox, entry) -> JSON of [`Head`].
pub(super) const HEADS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("heads");
/// (mailbox, origin, key) -> entry: what makes a request the same as another.
const KEYS: TableDefinition<'_, (&str, &str, &str), u64> = TableDefinition::new("keys");
/// (mailbox, origin, entry): what waits of each sender, in its order.
pub(super) const QUEUES: TableDefinition<'_, (&str, &str, u64), ()> = TableDefinition::new("queues");
/// mailbox -> (entries, bytes, last entry's number), where there is an entry.
pub(super) const MAILBOXES: TableDefinition<'_, &str, (u64, u64, u64)> = TableDefinition::new("mailboxes");
/// origin -> (entries, bytes).
const ORIGINS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("origins");
/// (mailbox, origin) -> (entries, bytes, and the entries again: earlier versions count there what is to be handed over).
pub(super) const SHARES: TableDefinition<'_, (&str, &str), (u64, u64, u64)> = TableDefinition::new("shares");
/// (time, mailbox, entry): when an entry is of no use any more; with entry 0, when nothing of a server is kept any more.
const EXPIRY: TableDefinition<'_, (u64, &str, u64), ()> = TableDefinition::new("expiry");
/// (mailbox, origin, receipt) -> the entry that holds the latest.
const RECEIPTS: TableDefinition<'_, (&str, &str, &str), u64> = TableDefinition::new("receipts");
/// (kind, server) -> document.
pub(super) const DOCUMENTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("documents");
/// The bytes of all requests and documents, in a single row.
pub(super) const TOTAL: TableDefinition<'_, (), u64> = TableDefinition::new("total");
/// What is counted over all mailboxes, by name.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// The bytes of all requests.
pub(super) const BYTES: &str = "bytes";
/// The highest number of an entry in a mailbox that was emptied. A mailbox that is new begins behind it, since who has taken an entry may say
/// so twice, and must not remove another one thereby.
const NUMBER: &str = "number";

/// What is known of a request without reading it.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) origin: String,
    key: String,
    bytes: u64,
    expires: u64,
    content: Content,
    /// Who has brought it. What earlier versions have stored came from nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Address>,
}

impl Head {
    fn brought(&self) -> Brought {
        Brought { from: self.from, bytes: self.bytes }
    }
}

/// How many expired requests one transaction removes, so that it stays short.
const EXPIRED_AT_ONCE: usize = 1_000;

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Append(NewEntry),
    Remove(String, u64),
    Expire(u64),
    Keep(Document, String, Vec<u8>, Option<Address>),
    See(String, u64, Option<Address>),
}

/// What a change has come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Changed {
    Appended(Appended),
    Removed(u64),
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// Makes every table, so that reading finds them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(REQUESTS).map_err(failed)?;
    transaction.open_table(KEYS).map_err(failed)?;
    transaction.open_table(ORIGINS).map_err(failed)?;
    transaction.open_table(SHARES).map_err(failed)?;
    transaction.open_table(EXPIRY).map_err(failed)?;
    transaction.open_table(RECEIPTS).map_err(failed)?;
    transaction.open_table(DOCUMENTS).map_err(failed)?;
    transaction.open_table(TOTAL).map_err(failed)?;
    budget::create(transaction)?;
    fill(transaction)
}

/// Fills the tables that a database of an earlier version lacks, once.
fn fill(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut counters = transaction.open_table(COUNTERS).map_err(failed)?;
    let heads = transaction.open_table(HEADS).map_err(failed)?;
    let mut queues = transaction.open_table(QUEUES).map_err(failed)?;
    let mut mailboxes = transaction.open_table(MAILBOXES).map_err(failed)?;
    if counters.get(BYTES)?.is_some() {
        return Ok(());
    }
    for row in heads.iter()? {
        let (key, head) = row?;
        let (mailbox, id) = key.value();
        let head: Head = serde_json::from_slice(head.value()).map_err(failed)?;
        queues.insert((mailbox, head.origin.as_str(), id), ())?;
    }
    let (mut bytes, mut number) = (0, 0);
    for row in mailboxes.iter()? {
        let (entries, held, last) = row?.1.value();
        bytes += held;
        number = if entries == 0 { last.max(number) } else { number };
    }
    mailboxes.retain(|_, (entries, ..)| entries > 0)?;
    counters.insert(BYTES, bytes)?;
    counters.insert(NUMBER, number)?;
    Ok(())
}

/// Makes one change.
pub(super) fn apply(transaction: &WriteTransaction, change: &Change, quotas: &Quotas) -> Result<Changed, StoreError> {
    let tables = Tables { transaction };
    match change {
        Change::Append(entry) => tables.append(entry, quotas).map(Changed::Appended),
        Change::Remove(mailbox, id) => tables.remove(mailbox, *id).map(|removed| Changed::Removed(removed.into())),
        Change::Expire(now) => tables.expire(*now).map(Changed::Removed),
        Change::Keep(document, server, bytes, from) => tables.keep(*document, server, bytes, *from, quotas).map(|()| Changed::Removed(0)),
        Change::See(server, now, from) => tables.see(server, *now, *from, quotas).map(|()| Changed::Removed(0)),
    }
}

/// How much something holds.
#[derive(Clone, Copy)]
pub(super) struct Amount {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl Amount {
    fn fits(self, bytes: u64, entries_limit: u64, bytes_limit: u64) -> bool {
        self.entries < entries_limit && self.bytes.saturating_add(bytes) <= bytes_limit
    }
}

struct Tables<'t> {
    transaction: &'t WriteTransaction,
}

impl Tables<'_> {
    fn budgets(&self) -> Budgets<'_> {
        Budgets { transaction: self.transaction }
    }

    fn append(&self, entry: &NewEntry, quotas: &Quotas) -> Result<Appended, StoreError> {
        let (mailbox, origin, key) = (entry.mailbox.as_str(), entry.origin.as_str(), entry.key.as_str());
        let mut keys = self.transaction.open_table(KEYS).map_err(failed)?;
        if keys.get((mailbox, origin, key))?.is_some() {
            return Ok(Appended::Known);
        }
        let mail = Brought { from: entry.from, bytes: weight_of(entry) };
        self.check(mailbox, origin, mail, quotas)?;
        let id = self.count(mailbox, origin, mail)?;
        keys.insert((mailbox, origin, key), id)?;
        self.transaction.open_table(REQUESTS).map_err(failed)?.insert((mailbox, id), entry.request.as_slice())?;
        self.transaction.open_table(QUEUES).map_err(failed)?.insert((mailbox, origin, id), ())?;
        let lifetime = entry.content.lifetime.unwrap_or(quotas.retention_ms).min(quotas.retention_ms);
        let expires = entry.received.saturating_add(lifetime);
        let content = entry.content.clone();
        let head = Head { origin: origin.into(), key: key.into(), bytes: mail.bytes, expires, content, from: mail.from };
        self.write_head(mailbox, id, &head)?;
        self.transaction.open_table(EXPIRY).map_err(failed)?.insert((expires, mailbox, id), ())?;
        drop(keys);
        self.replace_receipts(entry, id)?;
        Ok(Appended::Stored)
    }

    fn keep(&self, document: Document, server: &str, bytes: &[u8], from: Option<Address>, quotas: &Quotas) -> Result<(), StoreError> {
        let mut documents = self.transaction.open_table(DOCUMENTS).map_err(failed)?;
        let old = documents.get((document.as_str(), server))?.map_or(0, |old| weight(document, old.value()));
        let new = Brought { from, bytes: weight(document, bytes) };
        let from = self.budgets().bringer(document, server, old, new, quotas)?;
        self.grow(old, new.bytes, quotas)?;
        self.budgets().count_document(document, server, old, Brought { from, ..new })?;
        documents.insert((document.as_str(), server), bytes)?;
        Ok(())
    }

    /// Notes that a server was here, so that what it has left is kept for the retention time from now on.
    fn see(&self, server: &str, now: u64, from: Option<Address>, quotas: &Quotas) -> Result<(), StoreError> {
        let documents = self.transaction.open_table(DOCUMENTS).map_err(failed)?;
        let seen = documents.get((Document::Seen.as_str(), server))?.and_then(|seen| time(seen.value()));
        drop(documents);
        self.keep(Document::Seen, server, now.to_string().as_bytes(), from, quotas)?;
        let mut expiry = self.transaction.open_table(EXPIRY).map_err(failed)?;
        if let Some(seen) = seen {
            expiry.remove((seen.saturating_add(quotas.retention_ms), server, 0))?;
        }
        expiry.insert((now.saturating_add(quotas.retention_ms), server, 0), ())?;
        Ok(())
    }

    /// Removes all documents of a server.
    fn forget(&self, server: &str) -> Result<(), StoreError> {
        let mut documents = self.transaction.open_table(DOCUMENTS).map_err(failed)?;
        let mut freed = 0;
        for document in Document::ALL {
            let bytes = documents.remove((document.as_str(), server))?.map_or(0, |bytes| weight(document, bytes.value()));
            self.budgets().discount_document(document, server, bytes)?;
            freed += bytes;
        }
        self.shrink(freed)
    }

    /// Counts bytes in that take the place of others, if there is room for them.
    fn grow(&self, old: u64, new: u64, quotas: &Quotas) -> Result<(), StoreError> {
        let mut total = self.transaction.open_table(TOTAL).map_err(failed)?;
        let held = total.get(())?.map_or(0, |held| held.value());
        let held_then = held.saturating_sub(old).saturating_add(new);
        if new > old && held_then > quotas.total_bytes {
            return Err(StoreError::Full("the relay"));
        }
        total.insert((), held_then)?;
        Ok(())
    }

    fn shrink(&self, bytes: u64) -> Result<(), StoreError> {
        let mut total = self.transaction.open_table(TOTAL).map_err(failed)?;
        let held = total.get(())?.map_or(0, |held| held.value());
        total.insert((), held.saturating_sub(bytes))?;
        Ok(())
    }

    fn check(&self, mailbox: &str, origin: &str, mail: Brought, quotas: &Quotas) -> Result<(), StoreError> {
        let bytes = mail.bytes;
        let Quotas { mailbox: of_mailbox, origin: of_origin, .. } = quotas;
        let (entries, held, _) = self.mailbox(mailbox)?;
        let in_mailbox = Amount { entries, bytes: held };
        if !in_mailbox.fits(bytes, of_mailbox.entries, of_mailbox.bytes) {
            return Err(StoreError::Full("the mailbox"));
        }
        let (entries, held) = self.share(mailbox, origin)?;
        let (entries_limit, bytes_limit) = (of_mailbox.entries / SHARE_OF_MAILBOX, of_mailbox.bytes / SHARE_OF_MAILBOX);
        if !(Amount { entries, bytes: held }).fits(bytes, entries_limit, bytes_limit) {
            return Err(StoreError::Full("the sender's share of the mailbox"));
        }
        let (entries, held) = self.origin(origin)?;
        if !(Amount { entries, bytes: held }).fits(bytes, of_origin.entries, of_origin.bytes) {
            return Err(StoreError::Full("the sender's quota"));
        }
        self.budgets().check_mail(mailbox, in_mailbox, mail, quotas)?;
        // The last check, since it counts.
        self.grow(0, bytes, quotas)
    }

    /// Counts a new entry in, and gives it its number.
    fn count(&self, mailbox: &str, origin: &str, mail: Brought) -> Result<u64, StoreError> {
        let bytes = mail.bytes;
        self.budgets().count_mail(mailbox, mail)?;
        let (entries, held, last) = self.mailbox(mailbox)?;
        let id = last + 1;
        self.transaction.open_table(MAILBOXES).map_err(failed)?.insert(mailbox, (entries + 1, held + bytes, id))?;
        let (entries, held) = self.origin(origin)?;
        self.transaction.open_table(ORIGINS).map_err(failed)?.insert(origin, (entries + 1, held + bytes))?;
        let (entries, held) = self.share(mailbox, origin)?;
        self.write_share(mailbox, origin, (entries + 1, held + bytes))?;
        self.write_counter(BYTES, self.counter(BYTES)?.saturating_add(bytes))?;
        Ok(id)
    }

    /// A receipt replaces the one before it; a request of which nothing but replaced receipts is left is of no use.
    fn replace_receipts(&self, entry: &NewEntry, id: u64) -> Result<(), StoreError> {
        let (mailbox, origin) = (entry.mailbox.as_str(), entry.origin.as_str());
        let mut latest = self.transaction.open_table(RECEIPTS).map_err(failed)?;
        let mut replaced: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for receipt in &entry.content.receipts {
            let old = latest.insert((mailbox, origin, receipt.as_str()), id)?.map(|old| old.value());
            if let Some(old) = old.filter(|old| *old != id) {
                replaced.entry(old).or_default().insert(receipt);
            }
        }
        drop(latest);
        replaced.iter().try_for_each(|(old, receipts)| self.forget_receipts(mailbox, *old, receipts))
    }

    fn forget_receipts(&self, mailbox: &str, id: u64, receipts: &BTreeSet<&str>) -> Result<(), StoreError> {
        let Some(mut head) = self.head(mailbox, id)? else { return Ok(()) };
        head.content.receipts.retain(|each| !receipts.contains(each.as_str()));
        self.write_head(mailbox, id, &head)?;
        if head.content.only_receipts && head.content.receipts.is_empty() {
            self.remove(mailbox, id)?;
        }
        Ok(())
    }

    fn remove(&self, mailbox: &str, id: u64) -> Result<bool, StoreError> {
        let Some(head) = self.head(mailbox, id)? else { return Ok(false) };
        let origin = head.origin.as_str();
        self.transaction.open_table(HEADS).map_err(failed)?.remove((mailbox, id))?;
        self.transaction.open_table(REQUESTS).map_err(failed)?.remove((mailbox, id))?;
        self.transaction.open_table(QUEUES).map_err(failed)?.remove((mailbox, origin, id))?;
        self.transaction.open_table(KEYS).map_err(failed)?.remove((mailbox, origin, head.key.as_str()))?;
        self.transaction.open_table(EXPIRY).map_err(failed)?.remove((head.expires, mailbox, id))?;
        let mut latest = self.transaction.open_table(RECEIPTS).map_err(failed)?;
        for receipt in &head.content.receipts {
            latest.remove((mailbox, origin, receipt.as_str()))?;
        }
        self.discount(mailbox, &head)?;
        Ok(true)
    }

    fn discount(&self, mailbox: &str, head: &Head) -> Result<(), StoreError> {
        let origin = head.origin.as_str();
        self.shrink(head.bytes)?;
        self.budgets().discount_mail(mailbox, head.brought())?;
        self.write_counter(BYTES, self.counter(BYTES)?.saturating_sub(head.bytes))?;
        let (entries, held, last) = self.mailbox(mailbox)?;
        self.write_mailbox(mailbox, (entries.saturating_sub(1), held.saturating_sub(head.bytes), last))?;
        let (entries, held) = self.origin(origin)?;
        let rest = (entries.saturating_sub(1), held.saturating_sub(head.bytes));
        let mut origins = self.transaction.open_table(ORIGINS).map_err(failed)?;
        if rest.0 == 0 {
            origins.remove(origin)?;
        } else {
            origins.insert(origin, rest)?;
        }
        let (entries, held) = self.share(mailbox, origin)?;
        self.write_share(mailbox, origin, (entries.saturating_sub(1), held.saturating_sub(head.bytes)))
    }

    fn expire(&self, now: u64) -> Result<u64, StoreError> {
        let expiry = self.transaction.open_table(EXPIRY).map_err(failed)?;
        let (mut expired, mut gone) = (Vec::new(), Vec::new());
        for row in expiry.range(..(now, "", 0))?.take(EXPIRED_AT_ONCE) {
            let (key, ()) = row.map(|(key, value)| (key, value.value()))?;
            match key.value() {
                (time, server, 0) => gone.push((time, server.to_owned())),
                (_, mailbox, id) => expired.push((mailbox.to_owned(), id)),
            }
        }
        drop(expiry);
        for (mailbox, id) in &expired {
            self.remove(mailbox, *id)?;
        }
        for (time, server) in gone {
            self.transaction.open_table(EXPIRY).map_err(failed)?.remove((time, server.as_str(), 0))?;
            self.forget(&server)?;
        }
        Ok(expired.len() as u64)
    }

    fn mailbox(&self, mailbox: &str) -> Result<(u64, u64, u64), StoreError> {
        let held = self.transaction.open_table(MAILBOXES).map_err(failed)?.get(mailbox)?.map(|row| row.value());
        held.map_or_else(|| Ok((0, 0, self.counter(NUMBER)?)), Ok)
    }

    /// Of a mailbox that is empty only the last number is kept, which is that of all such mailboxes.
    fn write_mailbox(&self, mailbox: &str, (entries, bytes, last): (u64, u64, u64)) -> Result<(), StoreError> {
        let mut mailboxes = self.transaction.open_table(MAILBOXES).map_err(failed)?;
        if entries > 0 {
            mailboxes.insert(mailbox, (entries, bytes, last))?;
            return Ok(());
        }
        mailboxes.remove(mailbox)?;
        self.write_counter(NUMBER, self.counter(NUMBER)?.max(last))
    }

    fn counter(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.transaction.open_table(COUNTERS).map_err(failed)?.get(name)?.map(|row| row.value()).unwrap_or_default())
    }

    fn write_counter(&self, name: &str, value: u64) -> Result<(), StoreError> {
        self.transaction.open_table(COUNTERS).map_err(failed)?.insert(name, value)?;
        Ok(())
    }

    fn origin(&self, origin: &str) -> Result<(u64, u64), StoreError> {
        Ok(self.transaction.open_table(ORIGINS).map_err(failed)?.get(origin)?.map(|row| row.value()).unwrap_or_default())
    }

    fn share(&self, mailbox: &str, origin: &str) -> Result<(u64, u64), StoreError> {
        let shares = self.transaction.open_table(SHARES).map_err(failed)?;
        let (entries, bytes, _) = shares.get((mailbox, origin))?.map(|row| row.value()).unwrap_or_default();
        Ok((entries, bytes))
    }

    fn write_share(&self, mailbox: &str, origin: &str, (entries, bytes): (u64, u64)) -> Result<(), StoreError> {
        let mut shares = self.transaction.open_table(SHARES).map_err(failed)?;
        if entries == 0 {
            shares.remove((mailbox, origin))?;
        } else {
            shares.insert((mailbox, origin), (entries, bytes, entries))?;
        }
        Ok(())
    }

    fn head(&self, mailbox: &str, id: u64) -> Result<Option<Head>, StoreError> {
        let heads = self.transaction.open_table(HEADS).map_err(failed)?;
        heads.get((mailbox, id))?.map(|row| serde_json::from_slice(row.value()).map_err(failed)).transpose()
    }

    fn write_head(&self, mailbox: &str, id: u64, head: &Head) -> Result<(), StoreError> {
        let json = serde_json::to_vec(head).map_err(failed)?;
        self.transaction.open_table(HEADS).map_err(failed)?.insert((mailbox, id), json.as_slice())?;
        Ok(())
    }
}

/// What a receipt costs that is told apart: a row with both servers' names, and a part of the head. It may come in ten bytes.
const RECEIPT: u64 = 256;

/// What a request counts for.
fn weight_of(entry: &NewEntry) -> u64 {
    entry.request.len() as u64 + RECEIPT * entry.content.receipts.len() as u64
}

/// What a server costs that leaves nothing: two rows with its name. Anybody can make as many as they like.
const SEEN: u64 = 512;

/// What a document counts for.
fn weight(document: Document, bytes: &[u8]) -> u64 {
    if document == Document::Seen { SEEN } else { bytes.len() as u64 }
}

/// The time that a row of [`Document::Seen`] holds.
pub(super) fn time(seen: &[u8]) -> Option<u64> {
    std::str::from_utf8(seen).ok()?.parse().ok()
}
