//! System packages on Debian and its relatives.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs the packages of those programs that this machine has under none of their names.
pub(crate) fn provide(wanted: &[(&[&str], &[&str])]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|(programs, _)| process::find_any(programs).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(_, packages)| *packages).copied().collect();
    let programs: Vec<&str> = missing.iter().filter_map(|(programs, _)| programs.first()).copied().collect();
    install(&packages).with_context(|| format!("{} missing: install what provides it and put it on the PATH", programs.join(", ")))
}

/// Whether this machine has the tools of the package manager.
pub(crate) fn is_here() -> bool {
    process::find("apt-get").is_some() && process::find("apt-cache").is_some()
}

/// Installs packages, whether or not they are here.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !is_here() {
        bail!("cannot install {} by itself: this system has no apt-get", packages.join(", "));
    }
    refresh_lists()?;
    eprintln!("setup: installing the system packages {}", packages.join(", "));
    let mut command = apt_get()?;
    command.args(["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(packages);
    process::output(&mut command).map(drop)
}

/// The names of the packages that match a pattern.
pub(crate) fn search(pattern: &str) -> Result<Vec<String>> {
    refresh_lists()?;
    let found = process::output(Command::new("apt-cache").args(["search", "--names-only", pattern]))?;
    Ok(found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn refresh_lists() -> Result<()> {
    static REFRESHED: OnceLock<()> = OnceLock::new();
    if REFRESHED.get().is_none() {
        eprintln!("setup: refreshing the lists of system packages");
        process::output(apt_get()?.args(["update", "--quiet=2"]))?;
        REFRESHED.get_or_init(|| ());
    }
    Ok(())
}

fn apt_get() -> Result<Command> {
    let mut command = process::as_root("env")?;
    // Another installation may be under way, as on a machine that has just been started.
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}
