//! Brings a machine to the point where the project builds and its tests run; does nothing where that is so already.

mod apt;
mod cache;
mod cargo_tool;
mod npm;
mod synapse;
mod wasm_std;
mod wasm_target;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, workspace};
use cargo_tool::CargoTool;
pub(crate) use synapse::provide as synapse;
pub(crate) use wasm_target::WasmToolchain;

/// 0.15 is the first that builds with the `wasm-bindgen` we use without asking the network for anything.
const WASM_PACK: CargoTool = CargoTool { package: "wasm-pack", binary: "wasm-pack", version: "0.15.0" };
const GECKODRIVER: CargoTool = CargoTool { package: "geckodriver", binary: "geckodriver", version: "0.37.0" };

/// What builds the package: compiler, binding generator and optimiser, each found through one search path.
pub(crate) struct Tools {
    search_path: OsString,
    pub(crate) toolchain: WasmToolchain,
}

impl Tools {
    /// A command that finds the project's tools before anything else of the same name.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.search_path);
        command
    }

    /// The same for shell scripts, to be evaluated by them.
    pub(crate) fn shell_assignments(&self) -> String {
        let quoted = self.search_path.to_string_lossy().replace('\'', r"'\''");
        format!("TOOLS_PATH='{quoted}'")
    }
}

/// Installs what it takes to build `pkg/` and the demo.
pub(crate) fn packaging() -> Result<Tools> {
    npm::install()?;
    let toolchain = wasm_target::provide()?;
    let version = workspace::locked_version("wasm-bindgen")?;
    let wasm_bindgen = CargoTool { package: "wasm-bindgen-cli", binary: "wasm-bindgen", version: &version };
    let mut folders = vec![wasm_bindgen.folder()?, workspace::root()?.join("node_modules/.bin")];
    folders.extend(toolchain.folder());
    Ok(Tools { search_path: search_path(&folders)?, toolchain })
}

/// Installs what the tests in browsers need on top of [`packaging`].
pub(crate) fn browsers() -> Result<Browsers> {
    let wasm_pack = WASM_PACK.folder()?.join(WASM_PACK.binary);
    apt::provide(&[(CHROMIUM, &["chromium"]), (CHROMEDRIVER, &["chromium-driver"]), (FIREFOX, &["firefox-esr"])])?;
    let webkit = cfg!(target_os = "linux");
    if webkit {
        apt::provide(&[(&["WebKitWebDriver"], &["webkit2gtk-driver"]), (&["Xvfb"], &["xvfb"]), (&["dbus-run-session"], &["dbus-x11"])])?;
    } else {
        eprintln!("setup: WebKit's driver is WebKitGTK's, on Linux only; its tests are left out here");
    }
    Ok(Browsers {
        wasm_pack,
        chromium: found(CHROMIUM)?,
        chromedriver: found(CHROMEDRIVER)?,
        firefox: found(FIREFOX)?,
        geckodriver: GECKODRIVER.folder()?.join(GECKODRIVER.binary),
        webkit,
    })
}

/// Installs Chromium alone.
pub(crate) fn chromium() -> Result<PathBuf> {
    apt::provide(&[(CHROMIUM, &["chromium"])])?;
    found(CHROMIUM)
}

/// The browsers of this machine and what drives them.
pub(crate) struct Browsers {
    pub(crate) wasm_pack: PathBuf,
    pub(crate) chromium: PathBuf,
    pub(crate) chromedriver: PathBuf,
    pub(crate) firefox: PathBuf,
    pub(crate) geckodriver: PathBuf,
    pub(crate) webkit: bool,
}

const CHROMIUM: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const CHROMEDRIVER: &[&str] = &["chromedriver", "/usr/lib/chromium-browser/chromedriver"];
const FIREFOX: &[&str] = &["firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"];

fn found(programs: &[&str]) -> Result<PathBuf> {
    process::find_any(programs).with_context(|| format!("cannot find {}", programs.join(" or ")))
}

fn search_path(in_front: &[PathBuf]) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = in_front.iter().cloned().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}
