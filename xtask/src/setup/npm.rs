//! The npm packages of the repository's lock file.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

/// The oldest Node.js that our build scripts and tests run on.
const OLDEST_NODE: u32 = 20;

/// Runs `npm ci`, unless what is installed is what the lock file asks for.
pub(crate) fn install() -> Result<()> {
    check_node()?;
    let root = workspace::root()?;
    let lock = root.join("package-lock.json");
    // npm empties the folder before it installs, so the copy stands for a finished installation.
    let installed = root.join("node_modules/.installed-package-lock.json");
    if same_content(&lock, &installed) {
        return Ok(());
    }
    eprintln!("setup: installing npm packages");
    process::run_aside(Command::new("npm").current_dir(&root).args(["ci", "--no-audit", "--no-fund"]))
        .context("npm packages could not be installed; after a change of a package.json run `npm install`")?;
    std::fs::copy(&lock, &installed).context("cannot note what npm installed")?;
    Ok(())
}

fn check_node() -> Result<()> {
    let version = process::output(Command::new("node").arg("--version")).unwrap_or_default();
    let new_enough = major(&version).is_some_and(|major| major >= OLDEST_NODE);
    if !new_enough || process::find("npm").is_none() {
        let found = if version.is_empty() { "nothing" } else { version.as_str() };
        bail!("Node.js {OLDEST_NODE} or newer with npm is needed and {found} was found: see https://nodejs.org");
    }
    Ok(())
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn same_content(one: &Path, other: &Path) -> bool {
    matches!((std::fs::read(one), std::fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major(""), None);
    }
}
