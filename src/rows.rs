//! Rows whose value is JSON, read as what they hold.

use serde::de::DeserializeOwned;

use crate::{
    error::Error,
    parse,
    ports::Store,
    storage::{Key, Row, Scan},
};

/// One row.
pub(crate) async fn one<T: DeserializeOwned>(store: &dyn Store, key: Key) -> Result<Option<T>, Error> {
    let row = store.get_many(&[key]).await?.pop().flatten();
    row.map(|row| decode(&row)).transpose()
}

/// Several rows, in the order of their keys.
pub(crate) async fn many<T: DeserializeOwned>(store: &dyn Store, keys: &[Key]) -> Result<Vec<Option<T>>, Error> {
    let rows = store.get_many(keys).await?;
    rows.into_iter().map(|row| row.map(|row| decode(&row)).transpose()).collect()
}

/// A range of rows: each one's key and what it holds.
pub(crate) async fn range<T: DeserializeOwned>(store: &dyn Store, scan: &Scan) -> Result<Vec<(Vec<u8>, T)>, Error> {
    let rows = store.scan(scan).await?;
    rows.into_iter().map(|Row { key, value }| Ok((key, decode(&value)?))).collect()
}

/// What a row's value holds.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    parse::json(value).map_err(|error| Error::bug(format!("a stored row: {error}")))
}
