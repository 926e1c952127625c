//! What can go wrong, by whose fault it is, and the one place that turns it into a status and an `errcode`.

use thiserror::Error;

use crate::ports::StoreError;

/// Why the server could not do something.
#[derive(Debug, Error)]
pub enum Error {
    /// The storage underneath failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
}
