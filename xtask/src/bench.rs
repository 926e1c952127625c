//! The benchmarks: natively, in the service worker of a real browser, and in Node.js.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{package, process, setup, workspace};

/// How the relay is built that is measured.
const RELAY_PROFILE: &str = "relay";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Native,
    Browser,
    Federation,
    Relay,
    Node,
}

/// Runs one benchmark, or all, handing further arguments through.
pub(crate) fn run(target: Option<Target>, arguments: &[OsString]) -> Result<()> {
    let all = [
        (Target::Native, native as fn(&[OsString]) -> Result<()>),
        (Target::Browser, browser),
        (Target::Federation, federation),
        (Target::Relay, relay),
        (Target::Node, node),
    ];
    for (_, bench) in all.into_iter().filter(|(each, _)| target.is_none_or(|target| target == *each)) {
        bench(arguments)?;
    }
    Ok(())
}

fn native(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?).args(["bench", "--bench", "server", "--"]);
    process::run(command.args(arguments))
}

fn browser(arguments: &[OsString]) -> Result<()> {
    in_browsers("tests-wasm/bench/run.mjs", arguments)
}

/// Two nodes and the relay between them, built as it is shipped.
fn federation(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?).args(["build", "--package", "inglenook-relay", "--profile", RELAY_PROFILE]);
    process::run(&mut command)?;
    in_browsers("tests-wasm/bench/federation.mjs", arguments)
}

/// The relay alone, built as it is shipped.
fn relay(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?).args([
        "bench",
        "--package",
        "inglenook-relay",
        "--profile",
        RELAY_PROFILE,
        "--bench",
        "relay",
        "--",
    ]);
    process::run(command.args(arguments))
}

/// The Node host beside Synapse.
fn node(arguments: &[OsString]) -> Result<()> {
    let tools = setup::packaging()?;
    package::build()?;
    let mut command = tools.command("node");
    command.current_dir(workspace::root()?).env("SYNAPSE_PYTHON", setup::synapse()?);
    process::run(command.arg("tests-wasm/bench/node.mjs").args(arguments))
}

fn in_browsers(script: &str, arguments: &[OsString]) -> Result<()> {
    let tools = setup::packaging()?;
    let browsers = setup::browsers()?;
    package::build()?;
    package::build_demo()?;
    let mut command = tools.command("node");
    command.current_dir(workspace::root()?).arg(script).args(arguments);
    process::run(command.env("CHROMIUM", &browsers.chromium).env("RELAY_PROFILE", RELAY_PROFILE))
}
