//! Reading: rows by their keys and ranges in either direction, each in one transaction with as few round trips as it takes.

use std::collections::BTreeSet;

use indexed_db_futures::{
    Build, BuildPrimitive, KeyRange, cursor::CursorDirection, database::Database, error::Error, internals::SystemRepr,
    object_store::ObjectStore, prelude::QuerySource,
};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbRequest;

use super::failure::failed;
use crate::{
    gather::Gather,
    ports::StoreError,
    storage::{Key, Row, Scan},
};

/// Reads each key's value. All requests leave at once, and as they are answered in order, the last is waited for first.
pub(super) async fn rows(database: &Database, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let tables: BTreeSet<_> = keys.iter().map(|key| key.table).gather();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<_> = tables.into_iter().map(|table| table.name()).collect();
    let transaction = database.transaction(names.as_slice()).build().map_err(failed)?;
    let mut requests = Vec::with_capacity(keys.len());
    for same_table in keys.chunk_by(|a, b| a.table == b.table) {
        let Some(first) = same_table.first() else { continue };
        let store = transaction.object_store(first.table.name()).map_err(failed)?;
        for key in same_table {
            requests.push(store.get::<JsValue, JsValue, _>(to_js(&key.bytes)).primitive().map_err(failed)?);
        }
    }
    let mut values = Vec::with_capacity(keys.len());
    for request in requests.into_iter().rev() {
        values.push(request.await.map_err(failed)?.as_ref().map(from_js));
    }
    values.reverse();
    Ok(values)
}

/// Reads a range.
pub(super) async fn range(database: &Database, scan: &Scan) -> Result<Vec<Row>, StoreError> {
    if scan.limit == 0 || scan.end.as_ref().is_some_and(|end| *end <= scan.start) {
        return Ok(Vec::new());
    }
    let transaction = database.transaction(scan.table.name()).build().map_err(failed)?;
    let store = transaction.object_store(scan.table.name()).map_err(failed)?;
    let rows = if scan.reverse { backwards(&store, scan).await } else { forwards(&store, bounds(scan), scan.limit).await };
    rows.map_err(failed)
}

/// Two requests at once, for keys and values: `getAllRecords`, which gives both, is missing in WebKit.
pub(super) async fn forwards(store: &ObjectStore<'_>, range: KeyRange<JsValue>, limit: usize) -> Result<Vec<Row>, Error> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let keys = store.get_all_keys::<JsValue>().with_query::<JsValue, _>(range.clone()).with_limit(limit).primitive()?;
    let values = store.get_all::<JsValue>().with_query::<JsValue, _>(range).with_limit(limit).primitive()?;
    let (values, keys) = (values.await?, keys.await?);
    keys.zip(values).map(|(key, value)| Ok(Row { key: from_js(&key?), value: from_js(&value?) })).collect()
}

/// There is no `getAll` from the end (WebKit lacks its `direction`), and a cursor costs a round trip a row: so a cursor
/// jumps to the first row that is wanted, and `getAll` reads from there to the end.
async fn backwards(store: &ObjectStore<'_>, scan: &Scan) -> Result<Vec<Row>, Error> {
    let Some(range) = last_rows(store, scan).await? else { return Ok(Vec::new()) };
    let mut rows = forwards(store, range, usize::MAX).await?;
    rows.reverse();
    Ok(rows)
}

async fn last_rows(store: &ObjectStore<'_>, scan: &Scan) -> Result<Option<KeyRange<JsValue>>, Error> {
    let Some(jump) = u32::try_from(scan.limit - 1).ok().filter(|jump| *jump < u32::MAX - 1) else { return Ok(Some(bounds(scan))) };
    let opening = store.open_key_cursor().with_query::<JsValue, _>(bounds(scan)).with_direction(CursorDirection::Prev);
    let Some(mut cursor) = opening.await? else { return Ok(None) };
    if jump > 0 {
        cursor.advance_by(jump).await?;
    }
    // A cursor that ran past the range answers null, and in Chromium keeps its last key: all rows are wanted then.
    let request: IdbRequest = Reflect::get(cursor.as_sys(), &"request".into())?.unchecked_into();
    if request.result()?.is_null() {
        return Ok(Some(bounds(scan)));
    }
    Ok(Some(from(cursor.as_sys().key()?, scan)))
}

fn bounds(scan: &Scan) -> KeyRange<JsValue> {
    from(to_js(&scan.start), scan)
}

fn from(start: JsValue, scan: &Scan) -> KeyRange<JsValue> {
    match &scan.end {
        Some(end) => KeyRange::Bound(start, false, to_js(end), true),
        None => KeyRange::LowerBound(start, false),
    }
}

fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// Values are `Uint8Array`s; keys come back as `ArrayBuffer`s.
fn from_js(value: &JsValue) -> Vec<u8> {
    Uint8Array::new(value).to_vec()
}
