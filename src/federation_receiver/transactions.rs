//! The transactions that were received, so that one that comes again changes nothing.

use std::{cell::RefCell, rc::Rc};

use ruma::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    kept_rows::KeptRows,
    parse,
    ports::Store,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// So many of a server's last transactions are remembered: more than its relays keep of them.
const KEPT: u64 = 1_000;

/// So many are remembered of all servers that share no room with anybody here.
const KEPT_OF_STRANGERS: u64 = 1_000;

/// The transactions of a server that was quiet for so long are forgotten, in milliseconds: no relay keeps what it repeats for longer.
const KEPT_MILLIS: u64 = 90 * 24 * 60 * 60 * 1000;

/// A quiet server is looked for with each of so many transactions: to look costs some reads, and what it has left is forgotten by the dozen.
const LOOKED_FOR_EVERY: u64 = 16;

/// So many of a quiet server's transactions are forgotten with each one that comes.
const FORGOTTEN_AT_ONCE: usize = 50;

/// The part of a server's rows that holds its transactions by ID.
const BY_ID: u8 = 0;

/// The part that holds them by serial number.
const BY_SERIAL: u8 = 1;

/// The transactions that were received.
pub(crate) struct ReceivedTransactions {
    store: Rc<dyn Store>,
    of_strangers: KeptRows,
    /// The server that was last looked at for whether it is quiet.
    looked_at: RefCell<Option<String>>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(rename = "a")]
    body: Value,
    /// When it was given.
    #[serde(rename = "t", default)]
    at: u64,
}

impl ReceivedTransactions {
    pub(super) fn new(store: Rc<dyn Store>) -> Self {
        let of_strangers = KeptRows::new(Rc::clone(&store), Table::ReceivedTransactions, 0, KEPT_OF_STRANGERS, KEPT_MILLIS);
        Self { store, of_strangers, looked_at: RefCell::default() }
    }

    /// What the transaction was answered when it came first.
    pub(crate) async fn answer(&self, origin: &ServerName, id: &str) -> Result<Option<Value>, Error> {
        Ok(self.find(origin.as_str(), id).await?.map(|answer| answer.body))
    }

    async fn find(&self, origin: &str, id: &str) -> Result<Option<Answer>, Error> {
        let row = self.store.get_many(&[prefix(origin, BY_ID).text(id)]).await?.pop().flatten();
        Ok(row.and_then(|row| parse::json(&row).ok()))
    }

    /// Remembers the answer to a server that shares no room with anybody here.
    pub(crate) async fn remember_stranger(&self, origin: &ServerName, id: &str, body: &Value, now: u64) -> Result<(), Error> {
        let (mut batch, row) = (Batch::relaxed(), prefix(origin.as_str(), BY_ID).text(id));
        self.of_strangers.add(&row, now, &mut batch).await?;
        batch.put_json(row, &Answer { body: body.clone(), at: now });
        Ok(self.store.commit(batch).await?)
    }

    /// Remembers the answer, and forgets one that is too old. The caller takes one transaction of a server after the other.
    pub(crate) async fn remember(&self, origin: &ServerName, id: &str, body: &Value, now: u64) -> Result<(), Error> {
        let origin = origin.as_str();
        let last = self.store.scan(&Scan::prefix(prefix(origin, BY_SERIAL)).reversed().limited(1)).await?;
        let serial = last.first().and_then(|row| serial_of(&row.key)).map_or(0, |serial| serial + 1);
        // What is lost with the power is at worst done once more; and of events nothing is done twice.
        let mut batch = Batch::relaxed();
        batch.put_json(prefix(origin, BY_ID).text(id), &Answer { body: body.clone(), at: now });
        batch.put(prefix(origin, BY_SERIAL).number(serial), id.as_bytes());
        if let Some(oldest) = serial.checked_sub(KEPT) {
            let key = prefix(origin, BY_SERIAL).number(oldest);
            if let Some(id) = self.store.get_many(std::slice::from_ref(&key)).await?.pop().flatten() {
                batch.delete(prefix(origin, BY_ID).text(&String::from_utf8_lossy(&id)));
                batch.delete(key);
            }
        }
        if serial % LOOKED_FOR_EVERY == 0 {
            self.forget_if_quiet(now, &mut batch).await?;
        }
        Ok(self.store.commit(batch).await?)
    }

    /// Looks at one server after the other, and forgets what it has sent if that is long ago.
    async fn forget_if_quiet(&self, now: u64, batch: &mut Batch) -> Result<(), Error> {
        let table = || Key::new(Table::ReceivedTransactions);
        let after = self.looked_at.take().map_or(table().byte(1), |name| prefix(&name, BY_SERIAL + 1));
        let next = self.store.scan(&Scan::range(after, table().byte(0xff)).limited(1)).await?;
        let Some(name) = next.first().and_then(|row| KeyReader::new(&row.key).text()) else { return Ok(()) };
        let of_server = Scan::prefix(prefix(&name, BY_SERIAL));
        let last = self.store.scan(&of_server.clone().reversed().limited(1)).await?.pop();
        let at = match &last {
            Some(row) => self.find(&name, &String::from_utf8_lossy(&row.value)).await?.map_or(0, |answer| answer.at),
            None => now,
        };
        if at.saturating_add(KEPT_MILLIS) <= now {
            for row in self.store.scan(&of_server.limited(FORGOTTEN_AT_ONCE)).await? {
                batch.delete(prefix(&name, BY_ID).text(&String::from_utf8_lossy(&row.value)));
                batch.delete(table().raw(&row.key));
            }
        }
        *self.looked_at.borrow_mut() = Some(name);
        Ok(())
    }
}

/// Servers' names are ASCII, and none is empty.
fn prefix(origin: &str, part: u8) -> Key {
    Key::new(Table::ReceivedTransactions).text(origin).byte(part)
}

fn serial_of(key: &[u8]) -> Option<u64> {
    let mut key = KeyReader::new(key);
    key.text()?;
    key.byte()?;
    key.number()
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use ruma::server_name;
    use serde_json::json;

    use super::*;
    use crate::storage::MemoryStore;

    #[test]
    fn the_last_answers_of_each_server_are_remembered() {
        block_on(async {
            let store = MemoryStore::new();
            let transactions = ReceivedTransactions::new(Rc::new(store.clone()));
            let (one, other) = (server_name!("a.example"), server_name!("b.example"));
            transactions.remember(other, "t0", &json!("other"), 1).await.unwrap();
            for number in 0..KEPT + 10 {
                transactions.remember(one, &format!("t{number}"), &json!(number), 1).await.unwrap();
            }
            let again = ReceivedTransactions::new(Rc::new(store.clone()));
            assert_eq!(again.answer(one, "t9").await.unwrap(), None);
            assert_eq!(again.answer(one, "t10").await.unwrap(), Some(json!(10)));
            assert_eq!(again.answer(other, "t0").await.unwrap(), Some(json!("other")));
            let rows = store.scan(&Scan::prefix(Key::new(Table::ReceivedTransactions))).await.unwrap();
            assert_eq!(rows.len() as u64, 2 * (KEPT + 1));
        });
    }

    #[test]
    fn what_a_server_sent_that_is_quiet_since_is_forgotten_while_others_send() {
        block_on(async {
            let store = MemoryStore::new();
            let transactions = ReceivedTransactions::new(Rc::new(store.clone()));
            let of = |name: &str| ruma::ServerName::parse(format!("{name}.example")).unwrap();
            for number in 0..200 {
                transactions.remember(&of("quiet"), &format!("t{number}"), &json!(number), 1).await.unwrap();
                transactions.remember(&of("speaking"), &format!("t{number}"), &json!(number), 1).await.unwrap();
            }
            for number in 200..220 {
                transactions.remember(&of("speaking"), &format!("t{number}"), &json!(number), KEPT_MILLIS).await.unwrap();
            }
            assert_eq!(transactions.answer(&of("quiet"), "t0").await.unwrap(), Some(json!(0)));
            for number in 220..420 {
                transactions.remember(&of("speaking"), &format!("t{number}"), &json!(number), KEPT_MILLIS + 1).await.unwrap();
            }
            let rows = store.scan(&Scan::prefix(Key::new(Table::ReceivedTransactions))).await.unwrap();
            assert_eq!(rows.len(), 2 * 420, "all of the one and nothing of the other");
        });
    }

    #[test]
    fn all_strangers_together_are_remembered_for_a_number_of_transactions() {
        block_on(async {
            let store = MemoryStore::new();
            let transactions = ReceivedTransactions::new(Rc::new(store.clone()));
            let of = |number: u64| ruma::ServerName::parse(format!("s{number}.example")).unwrap();
            transactions.remember(server_name!("known.example"), "t", &json!("known"), 1).await.unwrap();
            for number in 0..KEPT_OF_STRANGERS + 10 {
                transactions.remember_stranger(&of(number), "t", &json!(number), 1).await.unwrap();
            }
            assert_eq!(transactions.answer(&of(9), "t").await.unwrap(), None);
            assert_eq!(transactions.answer(&of(10), "t").await.unwrap(), Some(json!(10)));
            assert_eq!(transactions.answer(server_name!("known.example"), "t").await.unwrap(), Some(json!("known")));
            let rows = store.scan(&Scan::prefix(Key::new(Table::ReceivedTransactions))).await.unwrap();
            assert_eq!(rows.len() as u64, 2 * (KEPT_OF_STRANGERS + 1));
        });
    }
}
