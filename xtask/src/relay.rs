//! A relay on loopback for the demo: built, started, and ended with this process.

use std::io::{BufRead, BufReader};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, Leashed};
use crate::{static_server, workspace};

const PACKAGE: &str = "inglenook-relay";

/// The port that is tried first: browsers remember the relay by its URL, so it should be the same the next time.
const PORT: u16 = 8470;

/// How many ports after that one are tried when it is taken.
const FURTHER_PORTS: u16 = 20;

/// Builds the relay, quickly rather than fast: it will have a handful of nodes.
pub(crate) fn build() -> Result<()> {
    process::run(Command::new("cargo").args(["build", "--package", PACKAGE]).current_dir(workspace::root()?))
}

/// A relay that ends when this value is dropped.
pub(crate) struct Relay {
    /// Where nodes find it.
    pub(crate) url: String,
    _program: Leashed,
}

/// Starts a relay, with its data under Cargo's output folder, and waits until it listens.
pub(crate) fn start() -> Result<Relay> {
    let target = workspace::target()?;
    let program = target.join("debug").join(PACKAGE);
    if !program.is_file() {
        bail!("{} is missing: build it with `cargo xtask demo`", program.display());
    }
    let mut command = Command::new(program);
    command.arg("--listen").arg(format!("127.0.0.1:{}", free_port()?));
    command.arg("--data").arg(target.join("demo-relay"));
    command.args(["--log", "warn"]);
    let mut program = Leashed::start(&command)?;
    let url = url_told_by(&mut program)?;
    Ok(Relay { url, _program: program })
}

fn free_port() -> Result<u16> {
    let last = PORT.saturating_add(FURTHER_PORTS);
    let (listener, port) = static_server::listen(PORT..=last).with_context(|| format!("all ports from {PORT} to {last} are taken"))?;
    drop(listener);
    Ok(port)
}

/// The relay prints one line when it is ready, which ends with its URL.
fn url_told_by(program: &mut Leashed) -> Result<String> {
    let mut line = String::new();
    let stdout = program.stdout().context("the relay has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    match line.split_whitespace().last() {
        Some(url) if url.starts_with("http") => Ok(url.to_owned()),
        _ => bail!("the relay did not start: is another one using its data folder?"),
    }
}
