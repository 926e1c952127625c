//! Other servers' node records: where they can be found.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use inglenook_protocol::{key_name::public_key_of, node_record::NodeRecord};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, serde::Base64};

use crate::{
    error::Error,
    parse,
    ports::Store,
    storage::{Batch, Key, Table},
};

/// So many records are remembered. One that is not is read again.
const REMEMBERED: usize = 1_000;

/// The records that this server knows.
pub(crate) struct NodeRecords {
    store: Rc<dyn Store>,
    /// What was read: the record, or that there is none.
    known: RefCell<BTreeMap<OwnedServerName, Option<NodeRecord>>>,
}

impl NodeRecords {
    pub(crate) fn new(store: Rc<dyn Store>) -> Self {
        Self { store, known: RefCell::default() }
    }

    /// The base URLs of a server's relays, the best first.
    pub(crate) async fn relays_of(&self, server: &ServerName) -> Result<Vec<String>, Error> {
        Ok(self.record_of(server).await?.map(|record| record.relays).unwrap_or_default())
    }

    async fn record_of(&self, server: &ServerName) -> Result<Option<NodeRecord>, Error> {
        if public_key_of(server).is_none() {
            return Ok(None);
        }
        if let Some(known) = self.known.borrow().get(server) {
            return Ok(known.clone());
        }
        let stored = self.stored(server).await?;
        let record = stored.and_then(|object| NodeRecord::verify(&object, server).ok());
        self.remember(server, record.clone());
        Ok(record)
    }

    /// The signed record, to be shown to others.
    pub(crate) async fn stored(&self, server: &ServerName) -> Result<Option<CanonicalJsonObject>, Error> {
        let row = self.store.get_many(&[record_key(server)]).await?.pop().flatten();
        row.map(|row| parse::json(&row).map_err(|error| Error::bug(format!("the record of {server}: {error}")))).transpose()
    }

    /// Keeps a record that a server has signed, if it is newer than what is known. Whether it was.
    ///
    /// A record that is lost with the power is learnt again; so the commit need not be strict.
    pub(crate) async fn learn(&self, server: &ServerName, object: &CanonicalJsonObject) -> Result<bool, Error> {
        let record = NodeRecord::verify(object, server).map_err(|error| Error::invalid_param(format!("This is no record: {error}.")))?;
        if self.record_of(server).await?.is_some_and(|known| !record.replaces(&known)) {
            return Ok(false);
        }
        let mut batch = Batch::relaxed();
        batch.put_json(record_key(server), object);
        self.store.commit(batch).await?;
        self.remember(server, Some(record));
        Ok(true)
    }

    /// Learns from the header that came with a server's request. What is no record is no reason to refuse the request.
    pub(crate) async fn learn_from_header(&self, server: &ServerName, header: &str) -> Result<(), Error> {
        let object = <Base64>::parse(header).ok().and_then(|bytes| parse::json(bytes.as_bytes()).ok());
        match object {
            Some(object) if public_key_of(server).is_some() => match self.learn(server, &object).await {
                Err(Error::Refused(_)) => Ok(()),
                learnt => learnt.map(drop),
            },
            _ => Ok(()),
        }
    }

    fn remember(&self, server: &ServerName, record: Option<NodeRecord>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(server.to_owned(), record);
    }
}

fn record_key(server: &ServerName) -> Key {
    Key::new(Table::NodeRecords).text(server.as_str())
}
