//! The benchmarks: natively, and in the service worker of a real browser.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{package, process, setup, workspace};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Native,
    Browser,
}

/// Runs one benchmark, or both, handing further arguments through.
pub(crate) fn run(target: Option<Target>, arguments: &[OsString]) -> Result<()> {
    if target != Some(Target::Browser) {
        native(arguments)?;
    }
    if target != Some(Target::Native) {
        browser(arguments)?;
    }
    Ok(())
}

fn native(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?).args(["bench", "--bench", "server", "--"]);
    process::run(command.args(arguments))
}

fn browser(arguments: &[OsString]) -> Result<()> {
    let tools = setup::packaging()?;
    let browsers = setup::browsers()?;
    package::build()?;
    package::build_demo()?;
    let mut command = tools.command("node");
    command.current_dir(workspace::root()?).arg("tests-wasm/bench/run.mjs").args(arguments);
    process::run(command.env("CHROMIUM", &browsers.chromium))
}
