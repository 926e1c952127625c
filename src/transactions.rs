//! Transaction identifiers: a request that a client repeats gets the first answer again, and takes effect once.
//!
//! A device's answers are read from the store once in the server's life; from then on memory is the authority, since nobody
//! else writes. An answer is stored in the commit that it tells of, and known here once that is durable.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers>

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures_util::lock::OwnedMutexGuard;
use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    accounts::Session,
    error::Error,
    locks::Locks,
    ordered::OrderedMap,
    parse,
    ports::Store,
    storage::{Batch, Key, KeyReader, Row, Scan, Table},
};

/// So many answers are kept of each device. A client repeats a request within minutes and sends few others meanwhile.
const ANSWERS_OF_DEVICE: usize = 500;

/// So many devices are kept in memory; past that, those without a request under way are forgotten and read again.
const DEVICES: usize = 50;

/// The answers of all devices.
pub(crate) struct Transactions {
    store: Rc<dyn Store>,
    devices: RefCell<OrderedMap<DeviceKey, Answers>>,
    under_way: Locks<TransactionKey>,
    next_serial: Cell<u64>,
}

type DeviceKey = (OwnedUserId, String);

/// What makes two requests the same: the device, the path without the transaction ID, and that ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TransactionKey {
    user: OwnedUserId,
    device: String,
    path: String,
    id: String,
}

/// The answers of one device.
#[derive(Default)]
struct Answers {
    by_request: OrderedMap<(String, String), Answer>,
    /// The same in the order in which they were given.
    by_age: OrderedMap<u64, (String, String)>,
}

/// An answer as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    /// Grows with each answer of the device.
    #[serde(rename = "n")]
    serial: u64,
    #[serde(rename = "a")]
    body: Value,
}

/// What becomes of a request that has a transaction ID.
pub(crate) enum Begun {
    /// It was answered before.
    Answered(Value),
    /// It is new, and others with the same ID wait until this is dropped.
    New(Transaction),
}

/// A request that is under way.
pub(crate) struct Transaction {
    transactions: Rc<Transactions>,
    key: TransactionKey,
    serial: u64,
    _lock: OwnedMutexGuard<()>,
}

impl Transactions {
    pub(crate) fn new(store: Rc<dyn Store>) -> Rc<Self> {
        Rc::new(Self { store, devices: RefCell::default(), under_way: Locks::default(), next_serial: Cell::new(0) })
    }

    /// Begins a request, or finds the answer that it had. Waits while the same request is under way.
    ///
    /// `path` is what stands before the transaction ID.
    pub(crate) async fn begin(self: &Rc<Self>, session: &Session, path: String, id: &str) -> Result<Begun, Error> {
        let key = TransactionKey { user: session.user.clone(), device: session.device.clone(), path, id: id.to_owned() };
        // While this is held the device stays in memory, so that no answer is missed that is given while it is read.
        let lock = self.under_way.lock(&key).await;
        self.read(&key).await?;
        if let Some(body) = self.answer(&key) {
            return Ok(Begun::Answered(body));
        }
        let serial = self.next_serial.get();
        self.next_serial.set(serial + 1);
        Ok(Begun::New(Transaction { transactions: Rc::clone(self), key, serial, _lock: lock }))
    }

    fn answer(&self, key: &TransactionKey) -> Option<Value> {
        let devices = self.devices.borrow();
        let answer = devices.get(&key.device_key())?.by_request.get(&key.request())?;
        Some(answer.body.clone())
    }

    async fn read(&self, key: &TransactionKey) -> Result<(), Error> {
        if self.devices.borrow().contains_key(&key.device_key()) {
            return Ok(());
        }
        let rows = self.store.scan(&Scan::prefix(device_prefix(&key.user, &key.device))).await?;
        let mut answers = Answers::default();
        for row in &rows {
            let (request, answer) = read_row(row).ok_or_else(|| Error::bug("a stored transaction"))?;
            self.next_serial.set(self.next_serial.get().max(answer.serial + 1));
            answers.add(request, answer);
        }
        self.make_room();
        self.devices.borrow_mut().entry(key.device_key()).or_insert(answers);
        Ok(())
    }

    /// Forgets the answers of devices that were deleted.
    pub(crate) fn forget(&self, user: &UserId, deleted: Vec<String>) {
        let mut devices = self.devices.borrow_mut();
        for device in deleted {
            devices.remove(&(user.to_owned(), device));
        }
    }

    fn make_room(&self) {
        let mut devices = self.devices.borrow_mut();
        if devices.len() >= DEVICES {
            devices.retain(|device, _| self.under_way.any_in_use(|key| key.device_key() == *device));
        }
    }
}

impl Transaction {
    /// Adds the answer to the commit that it tells of, and removes answers past the bound.
    pub(crate) fn store(&self, body: &Value, batch: &mut Batch) {
        let answer = Answer { serial: self.serial, body: body.clone() };
        batch.put_json(self.key.row_key(), &answer);
        if let Some(answers) = self.transactions.devices.borrow().get(&self.key.device_key()) {
            for (path, id) in answers.surplus() {
                batch.delete(device_prefix(&self.key.user, &self.key.device).text(path).text(id));
            }
        }
    }

    /// Keeps the answer in memory, once the commit is durable.
    pub(crate) fn remember(&self, body: Value) {
        if let Some(answers) = self.transactions.devices.borrow_mut().get_mut(&self.key.device_key()) {
            let surplus: Vec<_> = answers.surplus().cloned().collect();
            surplus.iter().for_each(|request| answers.remove(request));
            answers.add(self.key.request(), Answer { serial: self.serial, body });
        }
    }
}

impl Answers {
    fn add(&mut self, request: (String, String), answer: Answer) {
        self.by_age.insert(answer.serial, request.clone());
        self.by_request.insert(request, answer);
    }

    fn remove(&mut self, request: &(String, String)) {
        if let Some(answer) = self.by_request.remove(request) {
            self.by_age.remove(&answer.serial);
        }
    }

    /// The oldest answers, which have to go when one more comes.
    fn surplus(&self) -> impl Iterator<Item = &(String, String)> {
        let surplus = (self.by_age.len() + 1).saturating_sub(ANSWERS_OF_DEVICE);
        self.by_age.values().take(surplus)
    }
}

impl TransactionKey {
    fn device_key(&self) -> DeviceKey {
        (self.user.clone(), self.device.clone())
    }

    fn request(&self) -> (String, String) {
        (self.path.clone(), self.id.clone())
    }

    fn row_key(&self) -> Key {
        device_prefix(&self.user, &self.device).text(&self.path).text(&self.id)
    }
}

fn device_prefix(user: &UserId, device: &str) -> Key {
    Key::new(Table::Transactions).text(user.as_str()).text(device)
}

fn read_row(row: &Row) -> Option<((String, String), Answer)> {
    let mut key = KeyReader::new(&row.key);
    let (_user, _device, path, id) = (key.text()?, key.text()?, key.text()?, key.text()?);
    Some(((path, id), parse::json(&row.value).ok()?))
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use ruma::user_id;
    use serde_json::json;

    use super::*;
    use crate::storage::MemoryStore;

    fn session() -> Session {
        Session { user: user_id!("@a:b").to_owned(), device: "D".into(), expires: None }
    }

    async fn begin(transactions: &Rc<Transactions>, id: &str) -> Begun {
        transactions.begin(&session(), "send".into(), id).await.unwrap()
    }

    async fn answer(store: &MemoryStore, transactions: &Rc<Transactions>, id: &str) {
        let Begun::New(transaction) = begin(transactions, id).await else { panic!("{id} was answered before") };
        let mut batch = Batch::new();
        transaction.store(&json!(id), &mut batch);
        store.commit(batch).await.unwrap();
        transaction.remember(json!(id));
    }

    fn opened(store: &MemoryStore) -> Rc<Transactions> {
        Transactions::new(Rc::new(store.clone()))
    }

    #[test]
    fn old_answers_go_and_new_ones_outlast_a_restart() {
        block_on(async {
            let store = MemoryStore::new();
            let mut transactions = opened(&store);
            for number in 0..ANSWERS_OF_DEVICE + 10 {
                if number % 7 == 0 {
                    transactions = opened(&store);
                }
                answer(&store, &transactions, &format!("t{number}")).await;
            }
            let rows = store.scan(&Scan::prefix(Key::new(Table::Transactions))).await.unwrap();
            assert_eq!(rows.len(), ANSWERS_OF_DEVICE);
            for transactions in [transactions, opened(&store)] {
                assert!(matches!(begin(&transactions, "t10").await, Begun::Answered(body) if body == "t10"));
                assert!(matches!(begin(&transactions, "t9").await, Begun::New(_)));
            }
        });
    }

    #[test]
    fn what_was_not_committed_is_not_remembered() {
        block_on(async {
            let store = MemoryStore::new();
            let transactions = opened(&store);
            let Begun::New(transaction) = begin(&transactions, "t").await else { panic!("new") };
            transaction.store(&json!("lost"), &mut Batch::new());
            drop(transaction);
            assert!(matches!(begin(&transactions, "t").await, Begun::New(_)));
        });
    }

    #[test]
    fn many_devices_do_not_stay_in_memory() {
        block_on(async {
            let store = MemoryStore::new();
            let transactions = opened(&store);
            answer(&store, &transactions, "t").await;
            for number in 0..2 * DEVICES {
                let session = Session { device: number.to_string(), ..session() };
                drop(transactions.begin(&session, "send".into(), "t").await.unwrap());
            }
            assert!(transactions.devices.borrow().len() <= DEVICES);
            assert!(matches!(begin(&transactions, "t").await, Begun::Answered(_)), "read again");
        });
    }
}
