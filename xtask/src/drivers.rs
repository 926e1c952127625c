//! WebDriver programs for the tests in browsers: started on a free port, ended with what they started.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::process::Leashed;
use crate::setup::Browsers;
use crate::{static_server, workspace};

/// Flags for a headless Chromium that talks to nobody by itself and needs neither sandbox nor graphics.
const CHROMIUM_FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Below what systems give to outgoing connections, of which one could take a port between the look and the start.
const DRIVER_PORTS: RangeInclusive<u16> = 19_000..=19_999;

/// A cold start on a busy machine of two cores takes a few seconds.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running WebDriver program.
pub(crate) struct Driver {
    pub(crate) url: String,
    // Fields are dropped in this order: the browser goes before its screen.
    _program: Leashed,
    _screen: Option<Leashed>,
}

impl Driver {
    /// Firefox's driver.
    pub(crate) fn firefox(browsers: &Browsers) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&browsers.geckodriver);
        command.arg(format!("--port={port}")).arg("--binary").arg(&browsers.firefox);
        Self::start("geckodriver", port, &command, None)
    }

    /// WebKitGTK's driver, with the screen and the message bus that its browser cannot do without.
    pub(crate) fn webkit() -> Result<Self> {
        let (screen, display) = screen()?;
        let port = free_port()?;
        let mut command = Command::new("dbus-run-session");
        command.args(["--", "WebKitWebDriver", "--host=127.0.0.1"]).arg(format!("--port={port}"));
        command.env("DISPLAY", display).env("NO_AT_BRIDGE", "1");
        // The sandbox needs rights that containers lack; what is opened here is the project's own pages alone.
        command.env("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1");
        Self::start("WebKitWebDriver", port, &command, Some(screen))
    }

    fn start(name: &str, port: u16, command: &Command, screen: Option<Leashed>) -> Result<Self> {
        let program = Leashed::start(command)?;
        wait_for(name, port)?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), _program: program, _screen: screen })
    }
}

/// A screen in memory, and the name under which programs find it.
fn screen() -> Result<(Leashed, String)> {
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
    let mut screen = Leashed::start(&command)?;
    let stdout = screen.stdout().context("Xvfb has no standard output")?;
    let mut number = String::new();
    BufReader::new(stdout).read_line(&mut number)?;
    if number.trim().is_empty() {
        bail!("Xvfb did not start");
    }
    Ok((screen, format!(":{}", number.trim())))
}

fn free_port() -> Result<u16> {
    let (_, port) = static_server::listen(DRIVER_PORTS)?;
    Ok(port)
}

fn wait_for(name: &str, port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{name} did not answer within {} s", START_LIMIT.as_secs())
}

/// Writes what wasm-bindgen's test runner asks of the browsers; it adds nothing for WebKit.
pub(crate) fn write_capabilities(browsers: &Browsers) -> Result<PathBuf> {
    let capabilities = json!({
        "goog:chromeOptions": { "binary": browsers.chromium, "args": CHROMIUM_FLAGS },
        "moz:firefoxOptions": { "binary": browsers.firefox, "args": ["-headless"] },
    });
    let file = workspace::target()?.join("webdriver.json");
    std::fs::write(&file, capabilities.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
