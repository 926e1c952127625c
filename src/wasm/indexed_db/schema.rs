//! Opens the database and brings an older one up to date, by adding what its version lacks.

use indexed_db_futures::{Build, database::Database};

use super::failure::not_opened;
use crate::{ports::StoreError, storage::Migration};

/// The object store of media, which are Blobs under their ids and no rows of the store.
pub(in crate::wasm) const BLOBS: &str = "blobs";

/// The schema version that brought [`BLOBS`].
const BLOBS_SINCE: u32 = 1;

pub(super) async fn open(name: &str, migrations: &'static [Migration]) -> Result<Database, StoreError> {
    let version = migrations.iter().map(|migration| migration.version).max().unwrap_or(1);
    let opening = Database::open(name)
        .with_version(version)
        .with_on_upgrade_needed(move |event, database| migrate(&database, event.old_version(), migrations));
    opening.await.map_err(not_opened)
}

fn migrate(database: &Database, old_version: f64, migrations: &[Migration]) -> Result<(), indexed_db_futures::error::Error> {
    if old_version < f64::from(BLOBS_SINCE) {
        database.create_object_store(BLOBS).build()?;
    }
    let missing = migrations.iter().filter(|migration| f64::from(migration.version) > old_version);
    for table in missing.flat_map(|migration| migration.adds) {
        database.create_object_store(table.name()).build()?;
    }
    Ok(())
}
