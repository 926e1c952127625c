//! Reading: rows by their keys and ranges in either direction, with as few round trips as it takes.

use indexed_db_futures::{
    BuildPrimitive, KeyRange,
    cursor::CursorDirection,
    error::Error,
    future::{BasicRequest, GetAllPrimitiveRequest},
    internals::SystemRepr,
    object_store::ObjectStore,
    prelude::QuerySource,
    transaction::Transaction,
};
use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbRequest;

use crate::storage::{Key, Row, Scan};

/// Reads each key's value. All requests leave at once, and as they are answered in order, the last is waited for first.
pub(super) async fn rows(transaction: &Transaction<'_>, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let mut requests = Vec::with_capacity(keys.len());
    for same_table in keys.chunk_by(|a, b| a.table == b.table) {
        let Some(first) = same_table.first() else { continue };
        let store = transaction.object_store(first.table.name())?;
        for run in same_table.chunk_by(|a, b| is_next(&a.bytes, &b.bytes)) {
            match run {
                [first, _, .., last] => requests.push(Request::run(&store, first, last, run)?),
                _ => requests.extend(run.iter().map(|key| Request::row(&store, key)).collect::<Result<Vec<_>, _>>()?),
            }
        }
    }
    let mut values = Vec::with_capacity(keys.len());
    for request in requests.into_iter().rev() {
        request.answer(&mut values).await?;
    }
    values.reverse();
    Ok(values)
}

/// A request for one row, or for a run of rows whose keys are numbers that follow one another: that is two requests for a range,
/// and each costs more than a row.
enum Request<'a> {
    Row(BasicRequest<Option<JsValue>>),
    Run(&'a [Key], Range),
}

impl<'a> Request<'a> {
    fn row(store: &ObjectStore<'_>, key: &Key) -> Result<Self, Error> {
        Ok(Self::Row(store.get::<JsValue, JsValue, _>(to_js(&key.bytes)).primitive()?))
    }

    fn run(store: &ObjectStore<'_>, first: &Key, last: &Key, keys: &'a [Key]) -> Result<Self, Error> {
        let range = KeyRange::Bound(to_js(&first.bytes), false, to_js(&last.bytes), false);
        Ok(Self::Run(keys, Range::request(store, range, keys.len())?))
    }

    /// Adds the values, those of the last keys first.
    async fn answer(self, values: &mut Vec<Option<Vec<u8>>>) -> Result<(), Error> {
        match self {
            Self::Row(request) => values.push(request.await?.as_ref().map(from_js)),
            Self::Run(keys, range) => {
                let mut rows = range.answer().await?.into_iter().rev().peekable();
                values.extend(keys.iter().rev().map(|key| Some(rows.next_if(|row| row.key == key.bytes)?.value)));
            }
        }
        Ok(())
    }
}

/// Whether a key is the next one behind another: they differ in a number at their end, by one.
fn is_next(key: &[u8], next: &[u8]) -> bool {
    let (Some((before, number)), Some((before_next, next))) = (key.split_last_chunk(), next.split_last_chunk()) else { return false };
    before == before_next && u64::from_be_bytes(*number).checked_add(1) == Some(u64::from_be_bytes(*next))
}

/// Reads a range.
pub(super) async fn range(transaction: &Transaction<'_>, scan: &Scan) -> Result<Vec<Row>, Error> {
    let store = transaction.object_store(scan.table.name())?;
    if scan.reverse { backwards(&store, scan).await } else { forwards(&store, bounds(scan), scan.limit).await }
}

/// Two requests at once, for keys and values: `getAllRecords`, which gives both, is missing in WebKit.
pub(super) async fn forwards(store: &ObjectStore<'_>, range: KeyRange<JsValue>, limit: usize) -> Result<Vec<Row>, Error> {
    Range::request(store, range, limit)?.answer().await
}

/// A range that was asked for: its keys and its values.
struct Range(GetAllPrimitiveRequest<JsValue>, GetAllPrimitiveRequest<JsValue>);

impl Range {
    fn request(store: &ObjectStore<'_>, range: KeyRange<JsValue>, limit: usize) -> Result<Self, Error> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let keys = store.get_all_keys::<JsValue>().with_query::<JsValue, _>(range.clone()).with_limit(limit).primitive()?;
        let values = store.get_all::<JsValue>().with_query::<JsValue, _>(range).with_limit(limit).primitive()?;
        Ok(Self(keys, values))
    }

    async fn answer(self) -> Result<Vec<Row>, Error> {
        let Self(keys, values) = self;
        let (values, keys) = (values.await?, keys.await?);
        keys.zip(values).map(|(key, value)| Ok(Row { key: from_js(&key?), value: from_js(&value?) })).collect()
    }
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
