//! How much the relay keeps of what each address has brought: of everything, and in one mailbox.
//!
//! Whoever likes makes any number of names, for a name is a key; so what they may leave together is counted where they come from. It counts for
//! who has brought it, not for whose mailbox it is in: a mailbox has many senders, and its owner chooses none of them.
//!
//! A share is one of what all others leave, so that many addresses together do not fill the whole either: each that comes gets less, and
//! leaves room for the next.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::{
    Document, PART_OF_MAILBOX, Quotas, StoreError,
    tables::{Amount, TOTAL, failed},
};
use crate::address::Address;

/// Address or network -> the bytes of all that it has brought.
const ADDRESSES: TableDefinition<'_, &str, u64> = TableDefinition::new("addresses");
/// (mailbox, address or network) -> (entries, bytes).
const PARTS: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("parts");
/// (kind, server) -> the address that a document counts for.
const BRINGERS: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("bringers");

/// How many addresses' share a network of the sixth version has that one customer is given, with 65,536 addresses in it.
const SHARES_OF_NETWORK: u64 = 2;

/// Makes every table, so that reading finds them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ADDRESSES).map_err(failed)?;
    transaction.open_table(PARTS).map_err(failed)?;
    transaction.open_table(BRINGERS).map_err(failed)?;
    Ok(())
}

/// What an address counts as, and how many shares each of these has. Nobody in particular counts as nothing.
fn counted(from: Option<Address>) -> impl Iterator<Item = (String, u64)> {
    let network = from.and_then(Address::network).map(|network| (network, SHARES_OF_NETWORK));
    from.map(|from| (from.to_string(), 1)).into_iter().chain(network)
}

/// What a share of the whole comes to where so much of it is left.
fn part(share: u64, left: u64, whole: u64) -> u64 {
    let part = (u128::from(share) * u128::from(left)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Bytes that somebody has brought.
#[derive(Clone, Copy)]
pub(super) struct Brought {
    pub(super) from: Option<Address>,
    pub(super) bytes: u64,
}

/// The budgets, within a transaction.
pub(super) struct Budgets<'t> {
    pub(super) transaction: &'t WriteTransaction,
}

impl Budgets<'_> {
    /// Whether there is room for one more request in a mailbox that holds so much.
    pub(super) fn check_mail(&self, mailbox: &str, held: Amount, mail: Brought, quotas: &Quotas) -> Result<(), StoreError> {
        let parts = self.transaction.open_table(PARTS).map_err(failed)?;
        for (name, shares) in counted(mail.from) {
            let (entries, bytes) = parts.get((mailbox, name.as_str()))?.map(|row| row.value()).unwrap_or_default();
            let left = |limit: u64, all: u64, own: u64| limit.saturating_sub(all.saturating_sub(own));
            let part = |left: u64| left.div_ceil(PART_OF_MAILBOX).saturating_mul(shares);
            let entries_left = left(quotas.mailbox.entries, held.entries, entries);
            let bytes_left = left(quotas.mailbox.bytes, held.bytes, bytes);
            if entries >= part(entries_left) || bytes.saturating_add(mail.bytes) > part(bytes_left) {
                return Err(StoreError::Full("the address's part of the mailbox"));
            }
        }
        self.check(mail, Brought { from: None, bytes: 0 }, quotas)
    }

    /// Counts a request in.
    pub(super) fn count_mail(&self, mailbox: &str, mail: Brought) -> Result<(), StoreError> {
        let mut parts = self.transaction.open_table(PARTS).map_err(failed)?;
        for (name, _) in counted(mail.from) {
            let (entries, bytes) = parts.get((mailbox, name.as_str()))?.map(|row| row.value()).unwrap_or_default();
            parts.insert((mailbox, name.as_str()), (entries + 1, bytes.saturating_add(mail.bytes)))?;
        }
        self.add(mail)
    }

    /// Counts a request out.
    pub(super) fn discount_mail(&self, mailbox: &str, mail: Brought) -> Result<(), StoreError> {
        let mut parts = self.transaction.open_table(PARTS).map_err(failed)?;
        for (name, _) in counted(mail.from) {
            let (entries, bytes) = parts.get((mailbox, name.as_str()))?.map(|row| row.value()).unwrap_or_default();
            if entries > 1 {
                parts.insert((mailbox, name.as_str()), (entries - 1, bytes.saturating_sub(mail.bytes)))?;
            } else {
                parts.remove((mailbox, name.as_str()))?;
            }
        }
        self.subtract(mail)
    }

    /// For whom a document counts that takes the place of one of so many bytes: who brings it, or who has brought the last one where there is no
    /// room and it does not grow, so that who was here before is not put out by others of the same address.
    pub(super) fn bringer(
        &self,
        document: Document,
        server: &str,
        old: u64,
        new: Brought,
        quotas: &Quotas,
    ) -> Result<Option<Address>, StoreError> {
        let before = self.brought_by(document, server)?;
        match self.check(new, Brought { from: before, bytes: old }, quotas) {
            Err(StoreError::Full(_)) if new.bytes <= old => Ok(before),
            checked => checked.map(|()| new.from),
        }
    }

    /// Counts a document in, and the one that it takes the place of, of so many bytes, out.
    pub(super) fn count_document(&self, document: Document, server: &str, old: u64, new: Brought) -> Result<(), StoreError> {
        self.discount_document(document, server, old)?;
        if let Some(from) = new.from {
            let mut bringers = self.transaction.open_table(BRINGERS).map_err(failed)?;
            bringers.insert((document.as_str(), server), from.to_string().as_str())?;
        }
        self.add(new)
    }

    /// Counts a document of so many bytes out.
    pub(super) fn discount_document(&self, document: Document, server: &str, bytes: u64) -> Result<(), StoreError> {
        let from = self.brought_by(document, server)?;
        self.transaction.open_table(BRINGERS).map_err(failed)?.remove((document.as_str(), server))?;
        self.subtract(Brought { from, bytes })
    }

    fn brought_by(&self, document: Document, server: &str) -> Result<Option<Address>, StoreError> {
        let bringers = self.transaction.open_table(BRINGERS).map_err(failed)?;
        bringers.get((document.as_str(), server))?.map(|from| from.value().parse().map_err(failed)).transpose()
    }

    /// Whether there is room for something that takes the place of something else.
    fn check(&self, new: Brought, old: Brought, quotas: &Quotas) -> Result<(), StoreError> {
        let addresses = self.transaction.open_table(ADDRESSES).map_err(failed)?;
        let all = self.transaction.open_table(TOTAL).map_err(failed)?.get(())?.map_or(0, |all| all.value());
        let all = all.saturating_sub(old.bytes);
        let let_go: Vec<String> = counted(old.from).map(|(name, _)| name).collect();
        for (name, shares) in counted(new.from).filter(|_| quotas.address_bytes > 0) {
            let freed = if let_go.contains(&name) { old.bytes } else { 0 };
            let held = addresses.get(name.as_str())?.map_or(0, |held| held.value()).saturating_sub(freed);
            let left = quotas.total_bytes.saturating_sub(all.saturating_sub(held));
            let share = part(quotas.address_bytes.saturating_mul(shares), left, quotas.total_bytes);
            if new.bytes > freed && held.saturating_add(new.bytes) > share {
                return Err(StoreError::Full("the address's share of the relay"));
            }
        }
        Ok(())
    }

    fn add(&self, brought: Brought) -> Result<(), StoreError> {
        self.change(brought.from, |held| held.saturating_add(brought.bytes))
    }

    fn subtract(&self, brought: Brought) -> Result<(), StoreError> {
        self.change(brought.from, |held| held.saturating_sub(brought.bytes))
    }

    /// Of an address of which nothing is kept there is no row.
    fn change(&self, from: Option<Address>, change: impl Fn(u64) -> u64) -> Result<(), StoreError> {
        let mut addresses = self.transaction.open_table(ADDRESSES).map_err(failed)?;
        for (name, _) in counted(from) {
            let held = change(addresses.get(name.as_str())?.map_or(0, |held| held.value()));
            if held > 0 {
                addresses.insert(name.as_str(), held)?
            } else {
                addresses.remove(name.as_str())?
            };
        }
        Ok(())
    }
}
