//! The project's own commands: reads the command line and hands over to the file that does the work.

mod bench;
mod checks;
mod demo;
mod drivers;
mod interop;
mod matrix_sdk;
mod package;
mod process;
mod relay;
mod setup;
mod sizes;
mod static_server;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

const USAGE: &str = "\
Usage: cargo xtask <command>

  demo [--port N] [--base /PATH/] [--no-open] [--no-build]
                          build the demo and serve it on this machine until Ctrl-C
  test [PART...]          run what continuous integration runs; parts: fmt, lint, native,
                          wasm (or chromium, firefox, webkit alone), node, browser,
                          interop; all by default
  sizes [--check | --totals]
                          sizes of pkg/, the crates the bytes belong to, and the budget;
                          --check leaves the crates out, --totals the budget too
  interop [--short] [--pair ONE-OTHER] [--version N] [--only WORDS]
                          rooms shared with Synapse, which is installed from PyPI
  bench [native | browser | federation | relay | node] [ARGUMENT...]
                          run the benchmarks, all by default
  setup [--browsers] [--env]
                          install what building needs (and testing, with --browsers);
                          --env prints shell assignments for scripts";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = lexopt::Parser::from_env();
    match arguments.next()? {
        Some(Value(command)) => dispatch(&command.string()?, arguments),
        Some(Long("help") | Short('h')) => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(other.unexpected().into()),
        None => bail!("no command given\n\n{USAGE}"),
    }
}

fn dispatch(command: &str, mut arguments: lexopt::Parser) -> Result<()> {
    match command {
        "demo" => demo::run(&demo_options(arguments)?),
        "test" => checks::run(&test_parts(arguments)?),
        "sizes" => sizes::run(sizes_report(arguments)?),
        "interop" => interop::run(&arguments.raw_args()?.collect::<Vec<_>>()),
        "bench" => run_bench(arguments),
        "setup" => run_setup(arguments),
        _ => bail!("unknown command `{command}`\n\n{USAGE}"),
    }
}

fn demo_options(mut arguments: lexopt::Parser) -> Result<demo::Options> {
    let mut options = demo::Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => options.port = arguments.value()?.parse()?,
            Long("base") => options.base = arguments.value()?.parse()?,
            Long("no-open") => options.open = false,
            Long("no-build") => options.build = false,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(options)
}

fn test_parts(mut arguments: lexopt::Parser) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(part) => parts.push(part.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(parts)
}

fn sizes_report(mut arguments: lexopt::Parser) -> Result<sizes::Report> {
    let mut report = sizes::Report::Full;
    while let Some(argument) = arguments.next()? {
        report = match argument {
            Long("check") => sizes::Report::Check,
            Long("totals") => sizes::Report::Totals,
            other => return Err(other.unexpected().into()),
        };
    }
    Ok(report)
}

fn run_bench(mut arguments: lexopt::Parser) -> Result<()> {
    let mut words: Vec<OsString> = arguments.raw_args()?.collect();
    let target = match words.first().and_then(|word| word.to_str()) {
        Some("native") => Some(bench::Target::Native),
        Some("browser") => Some(bench::Target::Browser),
        Some("federation") => Some(bench::Target::Federation),
        Some("relay") => Some(bench::Target::Relay),
        Some("node") => Some(bench::Target::Node),
        _ => None,
    };
    if target.is_some() {
        words.remove(0);
    }
    bench::run(target, &words)
}

fn run_setup(mut arguments: lexopt::Parser) -> Result<()> {
    let (mut browsers, mut env) = (false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("browsers") => browsers = true,
            Long("env") => env = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let tools = setup::packaging()?;
    if browsers {
        setup::browsers()?;
    }
    if env {
        println!("{}", tools.shell_assignments());
    }
    Ok(())
}
