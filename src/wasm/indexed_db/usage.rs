//! How many rows and bytes each table has, counted page by page.

use indexed_db_futures::{Build, KeyRange, database::Database};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{failure::failed, read::forwards};
use crate::{
    ports::{StoreError, TableUsage},
    storage::{Row, Table},
};

/// Rows in memory at once while counting.
const PAGE: usize = 1_000;

pub(super) async fn of_tables(database: &Database) -> Result<Vec<TableUsage>, StoreError> {
    let mut usage = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        usage.push(of_table(database, *table).await?);
    }
    Ok(usage)
}

async fn of_table(database: &Database, table: Table) -> Result<TableUsage, StoreError> {
    let transaction = database.transaction(table.name()).build().map_err(failed)?;
    let store = transaction.object_store(table.name()).map_err(failed)?;
    let mut usage = TableUsage { name: table.name(), rows: 0, bytes: 0 };
    let mut range = KeyRange::LowerBound(Uint8Array::new_with_length(0).into(), false);
    loop {
        let page = forwards(&store, range, PAGE).await.map_err(failed)?;
        usage.rows += page.len() as u64;
        usage.bytes += page.iter().map(size).sum::<u64>();
        match page.last() {
            Some(last) if page.len() == PAGE => range = KeyRange::LowerBound(JsValue::from(Uint8Array::from(last.key.as_slice())), true),
            _ => return Ok(usage),
        }
    }
}

fn size(row: &Row) -> u64 {
    (row.key.len() + row.value.len()) as u64
}
