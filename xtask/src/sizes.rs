//! `cargo xtask sizes`: what the package weighs, which crates the bytes belong to, and whether the budget holds.

mod attribution;
mod budget;
mod compressed;
mod wasm;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;
use attribution::CrateSize;
use budget::Budget;
use compressed::Weight;
use wasm::Module;

/// How much to tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Sizes alone.
    Totals,
    /// Sizes, and a failure where the budget is broken.
    Check,
    /// The same with the crates that the bytes belong to.
    Full,
}

/// Reports on `pkg/`, which must have been built.
pub(crate) fn run(report: Report) -> Result<()> {
    let package = workspace::root()?.join("pkg");
    let mut files = Vec::new();
    collect(&package, &mut files).context("pkg/ cannot be read: build it with ./pkg-build.sh")?;
    files.sort();
    let weights = compressed::weigh(&files)?;
    print_weights(&package, &weights);
    if report == Report::Totals {
        return Ok(());
    }
    let named = Module::read(&workspace::target()?.join("pkg/inglenook.names.wasm"))
        .context("the build with names cannot be read: build it with ./pkg-build.sh")?;
    let crates = attribution::by_crate(&named.functions);
    if report == Report::Full {
        print_crates(&named, &crates);
    }
    verdict(&Budget::read()?, &weights, &crates, &named)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "wasm" || extension == "js") {
            files.push(path);
        }
    }
    Ok(())
}

fn print_weights(package: &Path, weights: &[Weight]) {
    println!("{:<32}{:>11}{:>11}{:>11}", "file", "raw", "gzip -9", "brotli -11");
    for weight in weights {
        let name = weight.file.strip_prefix(package).unwrap_or(&weight.file).display().to_string();
        println!("{name:<32}{:>11}{:>11}{:>11}", weight.raw, weight.gzip, weight.brotli);
    }
}

fn print_crates(module: &Module, crates: &[CrateSize]) {
    let rest = module.size.saturating_sub(module.code + module.data);
    println!("\n{:<32}{:>11}{:>11}{:>11}", "crate", "raw", "of code", "functions");
    for part in crates {
        let share = permille(part.bytes, module.code);
        println!("{:<32}{:>11}{:>9}.{} %{:>10}", part.name, part.bytes, share / 10, share % 10, part.functions);
    }
    println!("{:<32}{:>11}\n{:<32}{rest:>11}", "(data)", module.data, "(types, tables, names)");
}

fn permille(part: u64, whole: u64) -> u64 {
    (part * 1000).checked_div(whole).unwrap_or_default()
}

fn verdict(budget: &Budget, weights: &[Weight], crates: &[CrateSize], named: &Module) -> Result<()> {
    let wasm = weights.iter().filter(|weight| weight.file.extension().is_some_and(|it| it == "wasm"));
    let brotli = wasm.map(|weight| weight.brotli).sum();
    let names: Vec<&str> = crates.iter().map(|part| part.name.as_str()).collect();
    let faults = budget.faults(brotli, &names, &named.import_modules);
    if !faults.is_empty() {
        bail!("the package breaks its budget (xtask/size-budget.json):\n  {}", faults.join("\n  "));
    }
    println!("\nwithin the budget: {brotli} of {} bytes of wasm (brotli)", budget.wasm_brotli_bytes);
    Ok(())
}
