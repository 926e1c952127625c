//! Two people who talk through the unmodified matrix-sdk: a program outside the workspace, since nothing else needs the SDK.

use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Tools};
use crate::{process, workspace};

pub(crate) const FOLDER: &str = "tests-wasm/matrix-sdk";

/// The SDK needs a newer compiler than we do.
pub(crate) fn test(tools: &Tools) -> Result<()> {
    let (needed, found) = (needed_rust()?, process::output(Command::new("rustc").arg("--version"))?);
    if version(&found).is_none_or(|found| Some(found) < version(&needed)) {
        println!("skipped: matrix-sdk needs Rust {needed}, and this is {found}");
        return Ok(());
    }
    build()?;
    let mut command = tools.command("node");
    command.current_dir(workspace::root()?.join(FOLDER)).env("SYNAPSE_PYTHON", setup::synapse()?).env("CHROMIUM", setup::chromium()?);
    process::run(command.args(["--test", "--test-force-exit"]))
}

fn build() -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?.join(FOLDER)).args(["build", "--locked", "--target-dir"]);
    process::run(command.arg(workspace::target()?))
}

/// The oldest Rust that the program's manifest allows.
fn needed_rust() -> Result<String> {
    let path = workspace::root()?.join(FOLDER).join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = manifest.lines().find(|line| line.starts_with("rust-version"));
    let value = line.and_then(|line| line.split('"').nth(1));
    Ok(value.with_context(|| format!("{} names no rust-version", path.display()))?.to_owned())
}

/// The first two numbers of `1.93`, or of `rustc 1.93.0 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.split(' ').find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::{needed_rust, version};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(version("rustc 1.95.0-nightly (59807616e 2026-04-14)"), Some((1, 95)));
        assert!(version("1.100") > version("1.93"));
        assert_eq!(version("rustc"), None);
    }

    #[test]
    fn the_manifest_says_what_it_needs() {
        assert!(version(&needed_rust().unwrap()).is_some());
    }
}
