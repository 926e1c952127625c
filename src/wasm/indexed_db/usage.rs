//! How many rows each table has, which IndexedDB counts by itself, and how many bytes, which are counted page by page.

use indexed_db_futures::{Build, BuildPrimitive, KeyRange, database::Database, prelude::QuerySource};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{failure::failed, read::forwards};
use crate::{
    ports::{StoreError, TableUsage},
    storage::{Row, Table},
};

/// Rows in memory at once while counting bytes.
const PAGE: usize = 1_000;

pub(super) async fn of_tables(database: &Database, bytes: bool) -> Result<Vec<TableUsage>, StoreError> {
    let mut usage = rows(database).await?;
    if bytes {
        for table in &mut usage {
            table.bytes = Some(bytes_of(database, table.name).await?);
        }
    }
    Ok(usage)
}

/// All requests leave at once.
async fn rows(database: &Database) -> Result<Vec<TableUsage>, StoreError> {
    let names: Vec<_> = Table::ALL.iter().map(|table| table.name()).collect();
    let transaction = database.transaction(names.as_slice()).build().map_err(failed)?;
    let mut requests = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        let store = transaction.object_store(table.name()).map_err(failed)?;
        requests.push((table.name(), store.count().primitive().map_err(failed)?));
    }
    let mut usage = Vec::with_capacity(requests.len());
    for (name, request) in requests {
        usage.push(TableUsage { name, rows: request.await.map_err(failed)?.into(), bytes: None });
    }
    Ok(usage)
}

async fn bytes_of(database: &Database, table: &str) -> Result<u64, StoreError> {
    let transaction = database.transaction(table).build().map_err(failed)?;
    let store = transaction.object_store(table).map_err(failed)?;
    let mut bytes = 0;
    let mut range = KeyRange::LowerBound(Uint8Array::new_with_length(0).into(), false);
    loop {
        let page = forwards(&store, range, PAGE).await.map_err(failed)?;
        bytes += page.iter().map(size).sum::<u64>();
        match page.last() {
            Some(last) if page.len() == PAGE => range = KeyRange::LowerBound(JsValue::from(Uint8Array::from(last.key.as_slice())), true),
            _ => return Ok(bytes),
        }
    }
}

fn size(row: &Row) -> u64 {
    (row.key.len() + row.value.len()) as u64
}
