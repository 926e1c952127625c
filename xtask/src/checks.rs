//! `cargo xtask test`: all that continuous integration runs, in order, with the time that each step took.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::drivers::{self, Driver};
use crate::setup::{self, Browsers, Tools, WasmToolchain};
use crate::{interop, matrix_sdk, package, process, relay, sizes, workspace};

/// The crate that is nothing but tests for browsers, and has no native build.
const BROWSER_CRATE: &str = "tests-wasm";

/// wasm-bindgen's runner allows a test file 20 s and a driver 5 s; property tests on two busy cores need more.
const RUNNER_LIMIT_SECONDS: &str = "300";
const DRIVER_LIMIT_SECONDS: &str = "60";

/// How long one test of the Node host may take: the longest kills its process three hundred times.
const NODE_TEST_LIMIT: &str = "--test-timeout=1200000";

/// A step: the parts it belongs to, its own name, and what it does.
type Step = (&'static str, &'static str, fn(&mut Machine) -> Result<()>);

const STEPS: [Step; 18] = [
    ("fmt", "fmt", |_| format()),
    ("lint", "clippy", |_| clippy()),
    ("lint", "clippy for wasm", |machine| clippy_for_wasm(machine.tools()?)),
    ("native", "native", |_| cargo(&["test", "--workspace", "--exclude", BROWSER_CRATE])),
    ("wasm", "chromium", |machine| machine.wasm_tests(Engine::Chromium)),
    ("wasm", "firefox", |machine| machine.wasm_tests(Engine::Firefox)),
    ("wasm", "webkit", |machine| machine.wasm_tests(Engine::WebKit)),
    ("node", "node store", |machine| machine.node_store()),
    ("browser node interop", "package", |_| package::build()),
    ("browser node interop", "relay", |_| relay::build()),
    ("node", "node host", |_| node_tests()),
    ("node", "node responses", |_| node_responses()),
    ("interop", "matrix-sdk", |machine| matrix_sdk::test(machine.tools()?)),
    ("interop", "matrix-js-sdk", |machine| interop::talk(machine.tools()?)),
    ("browser", "sizes", |_| sizes::run(sizes::Report::Check)),
    ("browser", "demo", |_| package::build_demo()),
    ("browser", "playwright", Machine::playwright),
    ("interop", "interop", |machine| interop::run_short(machine.tools()?)),
];

/// Runs the steps of the chosen parts, or all, and stops at the first that fails.
pub(crate) fn run(chosen: &[String]) -> Result<()> {
    let steps = select(chosen)?;
    let mut machine = Machine::default();
    let mut times = Vec::new();
    let mut outcome = prepare(&mut machine, &steps, &mut times);
    for (_, name, action) in steps {
        if outcome.is_ok() {
            outcome = timed(name, &mut times, || action(&mut machine));
        }
    }
    print_times(&times);
    outcome
}

fn select(chosen: &[String]) -> Result<Vec<Step>> {
    let belongs = |step: &Step, part: &str| step.1 == part || step.0.split(' ').any(|name| name == part);
    for part in chosen {
        if !STEPS.iter().any(|step| belongs(step, part)) {
            bail!("`{part}` is no part of the tests");
        }
    }
    let is_chosen = |step: &Step| chosen.iter().any(|part| belongs(step, part));
    Ok(STEPS.into_iter().filter(|step| chosen.is_empty() || is_chosen(step)).collect())
}

/// The slow installations get a line of their own in the table.
fn prepare(machine: &mut Machine, steps: &[Step], times: &mut Vec<(&str, Duration)>) -> Result<()> {
    let in_browsers = steps.iter().any(|(part, ..)| matches!(*part, "wasm" | "browser"));
    let in_wasm = in_browsers || steps.iter().any(|(part, name, _)| matches!(*part, "node" | "interop") || *name == "clippy for wasm");
    if !in_wasm {
        return Ok(());
    }
    timed("setup", times, || {
        machine.tools = Some(setup::packaging()?);
        if in_browsers {
            machine.browsers = Some(setup::browsers()?);
        }
        Ok(())
    })
}

fn timed<'a>(name: &'a str, times: &mut Vec<(&'a str, Duration)>, action: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n=== {name} ===");
    let started = Instant::now();
    let outcome = action();
    let took = started.elapsed();
    println!("=== {name}: {} in {} ===", if outcome.is_ok() { "ok" } else { "failed" }, seconds(took));
    times.push((name, took));
    outcome.with_context(|| format!("step `{name}`"))
}

fn print_times(times: &[(&str, Duration)]) {
    println!("\n{:<18}{:>9}", "step", "time");
    for (name, took) in times {
        println!("{name:<18}{:>9}", seconds(*took));
    }
    let total = times.iter().map(|(_, took)| *took).sum();
    println!("{:<18}{:>9}", "total", seconds(total));
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    process::run(Command::new("cargo").current_dir(workspace::root()?).args(arguments))
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    let manifest = workspace::root()?.join(matrix_sdk::FOLDER).join("Cargo.toml");
    cargo(&["fmt", "--check", "--manifest-path", &manifest.to_string_lossy()])
}

fn clippy() -> Result<()> {
    let targets = ["--workspace", "--exclude", BROWSER_CRATE, "--all-targets"];
    cargo(&[&["clippy"], &targets[..], &["--", "--deny", "warnings"]].concat())
}

/// The distribution's compiler has no clippy of its own: there the compiler's warnings have to do.
fn clippy_for_wasm(tools: &Tools) -> Result<()> {
    let server = ["--package", "inglenook", "--lib"];
    match tools.toolchain {
        WasmToolchain::Default => {
            lint_for_wasm(tools, &["clippy"], &server)?;
            lint_for_wasm(tools, &["clippy"], &["--package", BROWSER_CRATE, "--tests"])
        }
        WasmToolchain::Distribution(_) => lint_for_wasm(tools, &["rustc", "--profile", "check"], &server),
    }
}

fn lint_for_wasm(tools: &Tools, lint: &[&str], what: &[&str]) -> Result<()> {
    let mut command = tools.command("cargo");
    command.current_dir(workspace::root()?).args(lint).args(["--target", "wasm32-unknown-unknown"]);
    process::run(command.args(what).args(["--", "--deny", "warnings"]))
}

/// The tests of the built package in Node.js. One file at a time, since each starts processes of its own; and each ends with its
/// last test, whatever timers a client library has left.
fn node_tests() -> Result<()> {
    let folder = workspace::root()?.join(BROWSER_CRATE).join("node");
    let arguments = ["--test", "--test-concurrency=1", "--test-force-exit", NODE_TEST_LIMIT];
    process::run(Command::new("node").current_dir(folder).args(arguments))
}

/// The table of cases that holds responses against the specification, played on Node hosts.
fn node_responses() -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()?).env("NODE_HOST_CASES", "1");
    process::run(command.args(["test", "--package", "inglenook", "--test", "spec"]))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Chromium,
    Firefox,
    WebKit,
}

/// What the set-up found on this machine.
#[derive(Default)]
struct Machine {
    tools: Option<Tools>,
    browsers: Option<Browsers>,
}

impl Machine {
    fn tools(&self) -> Result<&Tools> {
        self.tools.as_ref().context("the set-up has not run")
    }

    fn browsers(&self) -> Result<&Browsers> {
        self.browsers.as_ref().context("the set-up has not run")
    }

    /// Runs every test of the browser crate in one engine, in pages and in service workers as each file asks.
    fn wasm_tests(&mut self, engine: Engine) -> Result<()> {
        let browsers = self.browsers()?;
        let mut command = self.tools()?.command(&browsers.wasm_pack.to_string_lossy());
        command.current_dir(workspace::root()?.join(BROWSER_CRATE));
        command.args(["test", "--headless", "--mode", "no-install"]);
        command.env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", drivers::write_capabilities(browsers)?);
        command.env("WASM_BINDGEN_TEST_TIMEOUT", RUNNER_LIMIT_SECONDS);
        command.env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", DRIVER_LIMIT_SECONDS);
        match engine {
            Engine::Chromium => run_with(&mut command, ["--chrome", "--chromedriver"], &browsers.chromedriver),
            Engine::Firefox => run_with(&mut command, ["--firefox", "--geckodriver"], &browsers.geckodriver),
            Engine::WebKit if !browsers.webkit => skip("WebKit's driver is for Linux only"),
            Engine::WebKit => {
                // The runner knows the protocol under Safari's name, and starts no driver where it is given one.
                let driver = Driver::webkit()?;
                command.env("SAFARIDRIVER_REMOTE", &driver.url);
                run_with(&mut command, ["--safari", "--safaridriver"], Path::new("remote"))
            }
        }
    }

    /// Runs the store's contract on the Node host's adapters.
    fn node_store(&self) -> Result<()> {
        let mut command = self.tools()?.command("cargo");
        command.current_dir(workspace::root()?).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", "wasm-bindgen-test-runner");
        command.env("WASM_BINDGEN_TEST_ONLY_NODE", "1");
        process::run(command.args(["test", "--package", BROWSER_CRATE, "--target", "wasm32-unknown-unknown", "--test", "node_host"]))
    }

    /// Runs the tests of the built demo and package. Playwright drives Chromium; for the other engines it is told
    /// where their drivers listen.
    fn playwright(&mut self) -> Result<()> {
        let browsers = self.browsers()?;
        let firefox = Driver::firefox(browsers)?;
        let webkit = if browsers.webkit { Some(Driver::webkit()?) } else { None };
        let mut command = self.tools()?.command("npx");
        command.current_dir(workspace::root()?.join(BROWSER_CRATE)).args(["playwright", "test"]);
        command.env("CHROMIUM", &browsers.chromium).env("FIREFOX_DRIVER_URL", &firefox.url);
        if let Some(webkit) = &webkit {
            command.env("WEBKIT_DRIVER_URL", &webkit.url);
        }
        process::run(&mut command)
    }
}

fn run_with(command: &mut Command, flags: [&str; 2], driver: &Path) -> Result<()> {
    process::run(command.args(flags).arg(driver))
}

fn skip(reason: &str) -> Result<()> {
    println!("skipped: {reason}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{STEPS, select};

    fn selected(parts: &[&str]) -> Vec<&'static str> {
        let parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
        select(&parts).unwrap().into_iter().map(|(_, name, _)| name).collect()
    }

    #[test]
    fn a_part_stands_for_its_steps_and_nothing_for_all() {
        assert_eq!(selected(&["lint"]), ["clippy", "clippy for wasm"]);
        assert_eq!(selected(&["webkit", "fmt"]), ["fmt", "webkit"]);
        assert_eq!(selected(&["node"]), ["node store", "package", "relay", "node host", "node responses"]);
        assert_eq!(selected(&[]).len(), STEPS.len());
    }

    #[test]
    fn an_unknown_part_is_refused() {
        assert!(select(&["wsam".to_owned()]).is_err());
    }
}
