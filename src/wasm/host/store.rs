//! The store of a host: one ordered map of bytes, in which each table's keys begin with its name.

use std::cell::Cell;

use futures_util::FutureExt;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{Host, code, pair};
use crate::{
    ports::{Answer, Store, StoreError, TableUsage},
    storage::{Batch, Durability, Key, Row, Scan, Table, Write},
    wasm::panic::message,
};

/// Ends a table's name within a key, so that no table's keys run into another's.
const END_OF_NAME: u8 = 0;

/// The store of a host that is no browser.
pub struct HostStore {
    host: Host,
    epoch: Cell<f64>,
}

impl HostStore {
    /// An instance on the host's database.
    pub fn new(host: Host) -> Self {
        Self { host, epoch: Cell::new(0.0) }
    }

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let wanted: Array = keys.iter().map(|key| JsValue::from(whole(key.table, &key.bytes))).collect();
        let values: Array = JsFuture::from(self.host.get_many(wanted)).await.map_err(failed)?.unchecked_into();
        Ok(values.iter().map(|value| (!value.is_undefined()).then(|| bytes(&value))).collect())
    }

    async fn range(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let (start, behind) = (whole(scan.table, &scan.start), scan.end.as_ref().map(|end| whole(scan.table, end)));
        let behind = behind.unwrap_or_else(|| behind_table(scan.table));
        let found: Array =
            JsFuture::from(self.host.scan(start, behind, scan.reverse, scan.limit as f64)).await.map_err(failed)?.unchecked_into();
        let prefix = scan.table.name().len() + 1;
        let row = |at: u32| Row { key: bytes(&found.get(at)).split_off(prefix), value: bytes(&found.get(at + 1)) };
        Ok((0..found.length()).step_by(2).map(row).collect())
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let writes = Array::new();
        for write in &batch.writes {
            let (key, value) = match write {
                Write::Put(key, value) => (key, Uint8Array::from(value.as_slice()).into()),
                Write::Delete(key) => (key, JsValue::UNDEFINED),
            };
            writes.push(&whole(key.table, &key.bytes));
            writes.push(&value);
        }
        let committed = JsFuture::from(self.host.commit(writes, batch.durability == Durability::Strict, self.epoch.get())).await;
        committed.map(drop).map_err(failed)
    }

    async fn measure(&self, table: Table, with_bytes: bool) -> Result<TableUsage, StoreError> {
        let measured = JsFuture::from(self.host.measure(whole(table, &[]), behind_table(table))).await.map_err(failed)?;
        let (rows, bytes) = pair(&measured);
        let rows = rows.as_f64().unwrap_or_default() as u64;
        let names = rows * (table.name().len() as u64 + 1);
        let bytes = (bytes.as_f64().unwrap_or_default() as u64).saturating_sub(names);
        Ok(TableUsage { name: table.name(), rows, bytes: with_bytes.then_some(bytes) })
    }
}

/// A key as the host has it.
fn whole(table: Table, key: &[u8]) -> Uint8Array {
    Uint8Array::from([table.name().as_bytes(), &[END_OF_NAME], key].concat().as_slice())
}

/// The first key behind a table.
fn behind_table(table: Table) -> Uint8Array {
    Uint8Array::from([table.name().as_bytes(), &[END_OF_NAME + 1]].concat().as_slice())
}

fn bytes(value: &JsValue) -> Vec<u8> {
    value.unchecked_ref::<Uint8Array>().to_vec()
}

pub(super) fn failed(thrown: JsValue) -> StoreError {
    match code(&thrown).as_deref() {
        Some("SUPERSEDED") => StoreError::Superseded,
        Some("ENOSPC" | "EDQUOT") => StoreError::QuotaExceeded,
        _ => StoreError::Failed(message(&thrown)),
    }
}

impl Store for HostStore {
    fn get_many<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Vec<Option<Vec<u8>>>, StoreError> {
        self.read(keys).boxed_local()
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> Answer<'a, Vec<Row>, StoreError> {
        self.range(scan).boxed_local()
    }

    fn commit(&self, batch: Batch) -> Answer<'_, (), StoreError> {
        self.write(batch).boxed_local()
    }

    fn claim(&self) -> Answer<'_, (), StoreError> {
        async {
            let epoch = JsFuture::from(self.host.claim()).await.map_err(failed)?;
            self.epoch.set(epoch.as_f64().unwrap_or_default());
            Ok(())
        }
        .boxed_local()
    }

    fn usage(&self, bytes: bool) -> Answer<'_, Vec<TableUsage>, StoreError> {
        async move {
            let mut usage = Vec::new();
            for table in Table::ALL {
                usage.push(self.measure(*table, bytes).await?);
            }
            Ok(usage)
        }
        .boxed_local()
    }
}
