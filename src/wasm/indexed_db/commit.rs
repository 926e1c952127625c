//! Writing: one transaction for a batch, which first checks that no other instance has claimed the database.

use indexed_db_futures::{
    Build, BuildPrimitive,
    database::Database,
    future::BasicRequest,
    internals::SystemRepr,
    object_store::ObjectStore,
    prelude::QuerySource,
    transaction::{Transaction, TransactionDurability, TransactionMode, TransactionOptions},
};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::{Completion, failure::failed};
use crate::{
    gather::Gather,
    ordered::OrderedSet,
    ports::StoreError,
    storage::{Batch, Durability, Key, Table, Write},
};

/// A write whose bytes have been handed to JavaScript, so that nothing is left to prepare while the transaction is open.
struct Prepared {
    table: Table,
    key: JsValue,
    value: Option<JsValue>,
}

/// Writes the batch, all of it or nothing, provided that the database's epoch is still `epoch`.
pub(super) async fn batch(database: &Database, batch: Batch, epoch: u64) -> Result<(), StoreError> {
    let durability = batch.durability;
    let writes: Vec<_> = batch.writes.into_iter().map(prepared).collect();
    let tables: OrderedSet<_> = writes.iter().map(|write| write.table).chain([Table::Meta]).gather();
    let transaction = open(database, tables, durability)?;
    let completion = Completion::of(&transaction);
    let current = request_epoch(&transaction)?;
    issue(&transaction, &writes)?;
    // A request that failed has aborted the transaction, and the completion knows why.
    if let Ok(row) = current.await
        && read_epoch(row) != epoch
    {
        let _ = transaction.as_sys().abort();
        return Err(StoreError::Superseded);
    }
    completion.await
}

/// Claims the database: every commit with a lower epoch fails from now on.
pub(super) async fn raise_epoch(database: &Database) -> Result<u64, StoreError> {
    let transaction = open(database, [Table::Meta], Durability::Strict)?;
    let completion = Completion::of(&transaction);
    let epoch = match request_epoch(&transaction)?.await {
        Ok(row) => read_epoch(row) + 1,
        Err(error) => return Err(failed(error)),
    };
    let mut raised = Batch::new();
    raised.put(epoch_key(), epoch.to_be_bytes());
    issue(&transaction, &raised.writes.into_iter().map(prepared).collect::<Vec<_>>())?;
    completion.await.map(|()| epoch)
}

fn prepared(write: Write) -> Prepared {
    match write {
        Write::Put(key, value) => Prepared { table: key.table, key: bytes(&key.bytes), value: Some(bytes(&value)) },
        Write::Delete(key) => Prepared { table: key.table, key: bytes(&key.bytes), value: None },
    }
}

fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

fn open(database: &Database, tables: impl IntoIterator<Item = Table>, durability: Durability) -> Result<Transaction<'_>, StoreError> {
    let names: Vec<_> = tables.into_iter().map(Table::name).collect();
    let durability = match durability {
        Durability::Relaxed => TransactionDurability::Relaxed,
        Durability::Strict => TransactionDurability::Strict,
    };
    let options = TransactionOptions::new().with_durability(durability);
    database.transaction(names.as_slice()).with_mode(TransactionMode::Readwrite).with_options(options).build().map_err(failed)
}

/// The row that counts claims, the only one that this store writes by itself.
fn epoch_key() -> Key {
    Key::new(Table::Meta).text("epoch")
}

fn request_epoch(transaction: &Transaction<'_>) -> Result<BasicRequest<Option<JsValue>>, StoreError> {
    let meta = transaction.object_store(Table::Meta.name()).map_err(failed)?;
    meta.get::<JsValue, JsValue, _>(bytes(&epoch_key().bytes)).primitive().map_err(failed)
}

fn read_epoch(row: Option<JsValue>) -> u64 {
    let bytes = row.map(|row| Uint8Array::new(&row).to_vec()).unwrap_or_default();
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Sends every write and waits for none: the transaction's end tells how they went.
fn issue(transaction: &Transaction<'_>, writes: &[Prepared]) -> Result<(), StoreError> {
    for same_table in writes.chunk_by(|a, b| a.table == b.table) {
        let Some(first) = same_table.first() else { continue };
        let store = transaction.object_store(first.table.name()).map_err(failed)?;
        same_table.iter().try_for_each(|write| issue_one(&store, write)).map_err(failed)?;
    }
    Ok(())
}

fn issue_one(store: &ObjectStore<'_>, write: &Prepared) -> Result<(), indexed_db_futures::error::Error> {
    match &write.value {
        Some(value) => drop(store.put(value).with_key(&write.key).without_key_type().primitive()?),
        None => drop(store.delete(write.key.clone()).primitive()?),
    }
    Ok(())
}
