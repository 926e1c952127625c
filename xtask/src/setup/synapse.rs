//! Synapse, the other homeserver of the interoperability tests, from PyPI in a virtual environment of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::apt;
use crate::{process, workspace};

/// The version that the tables of the README were made with.
const VERSION: &str = "1.163.2";
const PYTHON: &str = "python3";

/// Installs Synapse, unless that version is there, and returns the Python that has it.
pub(crate) fn provide() -> Result<PathBuf> {
    let environment = workspace::target()?.join("synapse");
    let python = environment.join("bin/python");
    // Written last, so that it stands for a finished installation.
    let mark = environment.join(format!("is-{VERSION}"));
    if mark.exists() {
        return Ok(python);
    }
    eprintln!("setup: installing Synapse {VERSION}");
    make_environment(&environment)?;
    let package = format!("matrix-synapse=={VERSION}");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package]);
    process::run_aside(&mut install).context("Synapse could not be installed from PyPI; it needs Python 3.10 or newer")?;
    std::fs::write(&mark, "").context("cannot note that Synapse is installed")?;
    Ok(python)
}

/// Debian's Python comes without what makes environments.
fn make_environment(environment: &std::path::Path) -> Result<()> {
    let make = || process::output(Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(environment));
    if make().is_err() && apt::is_here() {
        apt::install(&["python3-venv"])?;
    }
    make().map(drop).context("cannot make a virtual environment for Synapse: install Python 3 with its module venv")
}
