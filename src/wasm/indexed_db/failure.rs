//! What IndexedDB's exceptions mean to the server.

use indexed_db_futures::error::{DomException, Error, OpenDbError};

use crate::ports::StoreError;

/// Turns a failed request or call into the store's own error.
pub(in crate::wasm) fn failed(error: Error) -> StoreError {
    match error {
        Error::DomException(exception) => of_exception(&web_sys::DomException::from(exception)),
        other => StoreError::Failed(other.to_string()),
    }
}

pub(super) fn of_exception(exception: &web_sys::DomException) -> StoreError {
    match exception.name().as_str() {
        "QuotaExceededError" => StoreError::QuotaExceeded,
        name => StoreError::Failed(format!("{name}: {}", exception.message())),
    }
}

/// Says in words that can be shown why a database does not open.
pub(super) fn not_opened(error: OpenDbError) -> StoreError {
    match error {
        OpenDbError::UnsupportedEnvironment | OpenDbError::NullFactory => {
            StoreError::Failed("this browser offers no IndexedDB here (a private window?)".into())
        }
        OpenDbError::Base(Error::DomException(exception)) => not_opened_because(exception),
        OpenDbError::Base(error) => failed(error),
        OpenDbError::VersionZero => StoreError::Failed(error.to_string()),
    }
}

fn not_opened_because(exception: DomException) -> StoreError {
    let exception = web_sys::DomException::from(exception);
    match exception.name().as_str() {
        "VersionError" => StoreError::Failed("this database was written by a newer version of Inglenook; load that version".into()),
        "SecurityError" => StoreError::Failed("this browser is set to allow no storage here".into()),
        _ => of_exception(&exception),
    }
}
