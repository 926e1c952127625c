//! `cargo xtask interop`: rooms that a Synapse, a node in a browser and a Node host share, scenario by scenario.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Tools};
use crate::{package, process, relay, workspace};

const SCRIPT: &str = "tests-wasm/interop/run.mjs";
const SDK_TEST: &str = "tests-wasm/interop/sdk.test.mjs";

/// Builds what takes part, and plays all scenarios, or those that the arguments choose.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let tools = setup::packaging()?;
    package::build()?;
    relay::build()?;
    play(&tools, arguments)
}

/// The part that is worth its time on every change, with what is built already.
pub(crate) fn run_short(tools: &Tools) -> Result<()> {
    play(tools, &["--short".into()])
}

/// People with clients of the matrix-js-sdk on homeservers of each two kinds.
pub(crate) fn talk(tools: &Tools) -> Result<()> {
    process::run(node(tools)?.args(["--test", "--test-force-exit", SDK_TEST]))
}

fn play(tools: &Tools, arguments: &[OsString]) -> Result<()> {
    process::run(node(tools)?.arg(SCRIPT).args(arguments))
}

/// Node.js, told where the homeservers are.
fn node(tools: &Tools) -> Result<Command> {
    let mut command = tools.command("node");
    command.current_dir(workspace::root()?).env("SYNAPSE_PYTHON", setup::synapse()?).env("CHROMIUM", setup::chromium()?);
    Ok(command)
}
