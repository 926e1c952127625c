//! Other servers' node records: where they can be found.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use inglenook_protocol::{key_name::public_key_of, node_record::NodeRecord};
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, serde::Base64};

use super::seeking::Wanted;
use crate::{
    error::Error,
    ordered::OrderedMap,
    parse,
    ports::Store,
    storage::{Batch, Key, Scan, Table},
};

/// So many records are remembered. One that is not is read again.
const REMEMBERED: usize = 1_000;

/// So many are stored, of 3 kB at most: anybody can make keys, and a record for each. Past that, only those of servers that this one
/// has to do with are.
const MAX_STORED: usize = 5_000;

/// The records that this server knows.
pub(crate) struct NodeRecords {
    store: Rc<dyn Store>,
    /// What was read: the record, or that there is none.
    known: RefCell<OrderedMap<OwnedServerName, Option<NodeRecord>>>,
    /// How many are stored, once they were counted.
    stored: Cell<Option<usize>>,
    /// Of whom a record is looked for.
    pub(super) wanted: Wanted,
}

impl NodeRecords {
    pub(crate) fn new(store: Rc<dyn Store>) -> Self {
        Self { store, known: RefCell::default(), stored: Cell::default(), wanted: Wanted::default() }
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

    /// The signed records of those of these servers that are known.
    pub(crate) async fn all_stored<'a>(
        &self,
        servers: impl Iterator<Item = &'a OwnedServerName>,
    ) -> Result<Vec<CanonicalJsonObject>, Error> {
        let keys: Vec<_> = servers.filter(|server| public_key_of(server).is_some()).map(|server| record_key(server)).collect();
        let rows = self.store.get_many(&keys).await?;
        Ok(rows.into_iter().flatten().filter_map(|row| parse::json(&row).ok()).collect())
    }

    /// No way is known to a server: its record is looked for.
    pub(crate) fn want(&self, server: &ServerName) {
        self.wanted.add(server);
    }

    /// Lets who looks for records see that the server stops.
    pub(crate) fn wake(&self) {
        self.wanted.wake();
    }

    async fn count(&self) -> Result<usize, Error> {
        match self.stored.get() {
            Some(count) => Ok(count),
            None => Ok(self.store.scan(&Scan::prefix(Key::new(Table::NodeRecords))).await?.len()),
        }
    }

    /// Keeps a record that a server has signed, if it is newer than what is known. Whether it was. That of a stranger, with whom
    /// this server has nothing to do, is kept while there is room.
    ///
    /// A record that is lost with the power is learnt again; so the commit need not be strict.
    pub(crate) async fn learn(&self, server: &ServerName, object: &CanonicalJsonObject, is_stranger: bool) -> Result<bool, Error> {
        let record = NodeRecord::verify(object, server).map_err(|error| Error::invalid_param(format!("This is no record: {error}.")))?;
        let known = self.record_of(server).await?;
        if known.as_ref().is_some_and(|known| !record.replaces(known)) {
            return Ok(false);
        }
        if known.is_none() {
            let count = self.count().await?;
            if is_stranger && count >= MAX_STORED {
                return Ok(false);
            }
            self.stored.set(Some(count + 1));
        }
        let mut batch = Batch::relaxed();
        batch.put_json(record_key(server), object);
        self.store.commit(batch).await?;
        self.remember(server, Some(record));
        self.wanted.remove(server);
        Ok(true)
    }

    /// Learns what another server has told of some. That of a stranger, who is none of `friends`, is kept while there is room.
    pub(crate) async fn learn_all(&self, objects: &[CanonicalJsonObject], is_friend: impl Fn(&ServerName) -> bool) -> Result<(), Error> {
        for object in objects {
            let name = object.get("name").and_then(|name| ServerName::parse(name.as_str()?).ok());
            let Some(name) = name.filter(|name| public_key_of(name).is_some()) else { continue };
            if let Err(error @ Error::Storage(_)) = self.learn(&name, object, !is_friend(&name)).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Learns from the header that came with a server's request. What is no record is no reason to refuse the request.
    pub(crate) async fn learn_from_header(&self, server: &ServerName, header: &str, is_stranger: bool) -> Result<(), Error> {
        let object = <Base64>::parse(header).ok().and_then(|bytes| parse::json(bytes.as_bytes()).ok());
        match object {
            Some(object) if public_key_of(server).is_some() => match self.learn(server, &object, is_stranger).await {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_executor::block_on;

    use super::*;
    use crate::{
        identity::{Identity, Name},
        storage::MemoryStore,
        support::SeededEntropy,
    };

    #[test]
    fn strangers_fill_a_bounded_space_and_leave_room_for_friends() {
        let (store, mut kept) = (Rc::new(MemoryStore::new()), 0);
        let records = NodeRecords::new(Rc::clone(&store) as _);
        let learn = |records: &NodeRecords, seed: usize, seq: u64, is_stranger: bool| {
            let identity = Identity::make(&SeededEntropy::new(seed as u64), Name::OfKey).unwrap();
            let name = identity.server_name().clone();
            let record = NodeRecord { name: name.clone(), relays: vec!["https://relay.example".into()], seq }.sign(&identity).unwrap();
            block_on(records.learn(&name, &record, is_stranger)).unwrap()
        };
        for seed in 0..MAX_STORED + 10 {
            kept += usize::from(learn(&records, seed, 1, true));
        }
        assert_eq!(kept, MAX_STORED);
        let again = NodeRecords::new(Rc::clone(&store) as _);
        assert!(!learn(&again, MAX_STORED + 20, 1, true), "what is stored is counted after a restart");
        assert!(learn(&again, MAX_STORED + 20, 1, false), "a friend's is kept");
        assert!(learn(&again, 0, 2, true), "and what is known changes");
        let rows = block_on(store.scan(&Scan::prefix(Key::new(Table::NodeRecords)))).unwrap();
        assert_eq!(rows.len(), MAX_STORED + 1);
    }
}
