//! The transactions that were received, so that one that comes again changes nothing.

use std::rc::Rc;

use ruma::ServerName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Error,
    parse,
    ports::Store,
    storage::{Batch, Key, KeyReader, Scan, Table},
};

/// So many of a server's last transactions are remembered: more than its relays keep of them.
const KEPT: u64 = 1_000;

/// The part of a server's rows that holds its transactions by ID.
const BY_ID: u8 = 0;

/// The part that holds them by serial number.
const BY_SERIAL: u8 = 1;

/// The transactions that were received.
pub(crate) struct ReceivedTransactions {
    store: Rc<dyn Store>,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    #[serde(rename = "a")]
    body: Value,
}

impl ReceivedTransactions {
    pub(super) fn new(store: Rc<dyn Store>) -> Self {
        Self { store }
    }

    /// What the transaction was answered when it came first.
    pub(crate) async fn answer(&self, origin: &ServerName, id: &str) -> Result<Option<Value>, Error> {
        let row = self.store.get_many(&[prefix(origin, BY_ID).text(id)]).await?.pop().flatten();
        Ok(row.and_then(|row| parse::json::<Answer>(&row).ok()).map(|answer| answer.body))
    }

    /// Remembers the answer, and forgets one that is too old. The caller takes one transaction of a server after the other.
    pub(crate) async fn remember(&self, origin: &ServerName, id: &str, body: &Value) -> Result<(), Error> {
        let last = self.store.scan(&Scan::prefix(prefix(origin, BY_SERIAL)).reversed().limited(1)).await?;
        let serial = last.first().and_then(|row| serial_of(&row.key)).map_or(0, |serial| serial + 1);
        // What is lost with the power is at worst done once more; and of events nothing is done twice.
        let mut batch = Batch::relaxed();
        batch.put_json(prefix(origin, BY_ID).text(id), &Answer { body: body.clone() });
        batch.put(prefix(origin, BY_SERIAL).number(serial), id.as_bytes());
        if let Some(oldest) = serial.checked_sub(KEPT) {
            let key = prefix(origin, BY_SERIAL).number(oldest);
            if let Some(id) = self.store.get_many(std::slice::from_ref(&key)).await?.pop().flatten() {
                batch.delete(prefix(origin, BY_ID).text(&String::from_utf8_lossy(&id)));
                batch.delete(key);
            }
        }
        Ok(self.store.commit(batch).await?)
    }
}

fn prefix(origin: &ServerName, part: u8) -> Key {
    Key::new(Table::ReceivedTransactions).text(origin.as_str()).byte(part)
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
            transactions.remember(other, "t0", &json!("other")).await.unwrap();
            for number in 0..KEPT + 10 {
                transactions.remember(one, &format!("t{number}"), &json!(number)).await.unwrap();
            }
            let again = ReceivedTransactions::new(Rc::new(store.clone()));
            assert_eq!(again.answer(one, "t9").await.unwrap(), None);
            assert_eq!(again.answer(one, "t10").await.unwrap(), Some(json!(10)));
            assert_eq!(again.answer(other, "t0").await.unwrap(), Some(json!("other")));
            let rows = store.scan(&Scan::prefix(Key::new(Table::ReceivedTransactions))).await.unwrap();
            assert_eq!(rows.len() as u64, 2 * (KEPT + 1));
        });
    }
}
