//! Node records: where this node and others can be reached, each signed by its node. They travel with transactions, and
//! anybody who knows one may pass it on; of two, the one with the higher sequence number holds.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use inglenook_protocol::node_record::NodeRecord;
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName};

use super::Identity;
use crate::{
    error::Error,
    ports::{Clock, Store},
    rows,
    storage::{Batch, Key, Table},
};

/// So many records are kept in memory; past that they are read again.
const MAX_KNOWN: usize = 1_000;

/// The node records that are known here.
pub(crate) struct NodeRecords {
    store: Rc<dyn Store>,
    clock: Rc<dyn Clock>,
    identity: Rc<Identity>,
    own: RefCell<Option<Rc<KnownRecord>>>,
    known: RefCell<BTreeMap<OwnedServerName, Option<Rc<KnownRecord>>>>,
}

/// A record, and the object that its node has signed.
#[derive(Debug)]
pub(crate) struct KnownRecord {
    pub(crate) record: NodeRecord,
    pub(crate) signed: CanonicalJsonObject,
}

impl NodeRecords {
    pub(crate) async fn open(store: Rc<dyn Store>, clock: Rc<dyn Clock>, identity: Rc<Identity>) -> Result<Self, Error> {
        let records = Self { store, clock, identity, own: RefCell::default(), known: RefCell::default() };
        let own = records.read(records.identity.server_name()).await?;
        *records.own.borrow_mut() = own;
        Ok(records)
    }

    /// This node's own record, once it has relays.
    pub(crate) fn own(&self) -> Option<Rc<KnownRecord>> {
        self.own.borrow().clone()
    }

    /// This node is attached to these relays from now on, the best first. Returns whether that is news.
    pub(crate) async fn publish(&self, relays: Vec<String>) -> Result<bool, Error> {
        let before = self.own();
        if before.as_ref().map_or(relays.is_empty(), |own| own.record.relays == relays) {
            return Ok(false);
        }
        // The time keeps the number growing where an old copy of the database was brought back.
        let seq = before.map_or(0, |own| own.record.seq + 1).max(self.clock.now());
        let record = NodeRecord { name: self.identity.server_name().clone(), relays, seq };
        let signed = record.sign(&*self.identity).map_err(|error| Error::invalid_param(format!("These cannot be the relays: {error}.")))?;
        let mut batch = Batch::new();
        batch.put_json(row_key(&record.name), &signed);
        self.store.commit(batch).await?;
        *self.own.borrow_mut() = Some(Rc::new(KnownRecord { record, signed }));
        Ok(true)
    }

    /// Takes up another node's record, if that node has signed it and it is newer than what is known. Returns whether it is.
    pub(crate) async fn learn(&self, name: &ServerName, signed: CanonicalJsonObject) -> Result<bool, Error> {
        let Ok(record) = NodeRecord::verify(&signed, name) else { return Ok(false) };
        let known = self.of(name).await?;
        if name == self.identity.server_name() || known.is_some_and(|known| !record.replaces(&known.record)) {
            return Ok(false);
        }
        // Lost with the power, it is learnt again.
        let mut batch = Batch::relaxed();
        batch.put_json(row_key(name), &signed);
        self.store.commit(batch).await?;
        self.remember(name, Some(Rc::new(KnownRecord { record, signed })));
        Ok(true)
    }

    /// The record of a node, if it is known.
    pub(crate) async fn of(&self, name: &ServerName) -> Result<Option<Rc<KnownRecord>>, Error> {
        if name == self.identity.server_name() {
            return Ok(self.own());
        }
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let record = self.read(name).await?;
        self.remember(name, record.clone());
        Ok(record)
    }

    /// The relays of a node, the best first; none where they are not known.
    pub(crate) async fn relays_of(&self, name: &ServerName) -> Vec<String> {
        // Without a record the transport may still know a way.
        let record = self.of(name).await.ok().flatten();
        record.map(|known| known.record.relays.clone()).unwrap_or_default()
    }

    fn remember(&self, name: &ServerName, record: Option<Rc<KnownRecord>>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned(), record);
    }

    async fn read(&self, name: &ServerName) -> Result<Option<Rc<KnownRecord>>, Error> {
        let signed: Option<CanonicalJsonObject> = rows::one(&*self.store, row_key(name)).await?;
        let record = signed.and_then(|signed| Some((NodeRecord::verify(&signed, name).ok()?, signed)));
        Ok(record.map(|(record, signed)| Rc::new(KnownRecord { record, signed })))
    }
}

fn row_key(name: &ServerName) -> Key {
    Key::new(Table::NodeRecords).text(name.as_str())
}
