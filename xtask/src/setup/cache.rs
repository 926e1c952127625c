//! The folder for what is slow to install, shared by all clones of the project and safe to delete.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// A folder of that name in the cache, which need not exist yet.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => std::env::home_dir().context("this user has no home folder")?.join(".cache"),
    };
    Ok(cache.join("inglenook").join(name))
}
