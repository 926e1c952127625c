//! `cargo xtask demo`: set-up, build, and the demo in a browser on this machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::static_server::{self, Site};
use crate::{package, process, relay, setup, workspace};

/// What tells the page the relays that a node uses until its owner chooses others.
const RELAYS: &str = "relays.json";

/// How many ports after the wished-for one are tried when it is taken.
const FURTHER_PORTS: u16 = 20;

pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) base: String,
    pub(crate) open: bool,
    pub(crate) build: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 8090, base: "/".to_owned(), open: true, build: true }
    }
}

/// Builds the demo and a relay, and runs both until the process is ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.build {
        setup::packaging()?;
        package::build()?;
        package::build_demo()?;
        relay::build()?;
    }
    let folder = workspace::root()?.join("www/dist");
    if !folder.join("index.html").is_file() {
        bail!("{} is missing: build it with `cargo xtask demo`", folder.join("index.html").display());
    }
    let relay = relay::start()?;
    let relays = serde_json::to_string(&[&relay.url])?;
    std::fs::write(folder.join(RELAYS), relays).with_context(|| format!("cannot write {RELAYS}"))?;
    let site = Site::new(folder, &options.base);
    let last = options.port.saturating_add(FURTHER_PORTS);
    let (listener, port) = static_server::listen(options.port..=last)
        .with_context(|| format!("all ports from {} to {last} are taken: choose another with --port", options.port))?;
    let url = format!("http://localhost:{port}{}", site.base());
    println!("Inglenook demo: {url}\nIts relay:      {}", relay.url);
    if options.open {
        open(&url);
    }
    static_server::serve(&listener, &site);
    Ok(())
}

/// A machine without a screen has the printed line.
fn open(url: &str) {
    let Some(opener) = process::find_any(&["xdg-open", "open"]) else {
        return;
    };
    if cfg!(target_os = "linux") && std::env::var_os("DISPLAY").or(std::env::var_os("WAYLAND_DISPLAY")).is_none() {
        return;
    }
    let mut command = Command::new(opener);
    // Whether it worked can be seen.
    let _ = command.arg(url).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}
