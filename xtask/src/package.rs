//! Builds what is served to browsers: the package, and the demo on top of it.

use std::process::Command;

use anyhow::Result;

use crate::{process, workspace};

/// Builds `pkg/` as it is published.
pub(crate) fn build() -> Result<()> {
    let root = workspace::root()?;
    process::run(Command::new(root.join("pkg-build.sh")).current_dir(root))
}

/// Builds `www/dist` from `www` and `pkg/`.
pub(crate) fn build_demo() -> Result<()> {
    let root = workspace::root()?;
    process::run(Command::new("npm").args(["run", "build", "--workspace", "www"]).current_dir(root))
}
