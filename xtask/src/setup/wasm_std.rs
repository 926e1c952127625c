//! Debian's compiler for the web, and the wasm32 standard library that it comes without.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::wasm_target::{TARGET, library_folder};
use super::{apt, cache};
use crate::{process, workspace};

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// Debian keeps this compiler new enough for its browsers, beside the one that the release came with.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The file beside the library that says which compiler built it: no other can read it.
const BUILT_BY: &str = "built-by.txt";

/// Whether the library is here and was built by the compiler that is here.
pub(crate) fn is_built() -> bool {
    let noted = library_folder(Path::new(RUSTC)).map(|folder| folder.join(BUILT_BY));
    let noted = noted.ok().and_then(|file| std::fs::read_to_string(file).ok());
    noted.is_some() && noted == compiler_version().ok()
}

/// Installs compiler and linker, builds the library from the compiler's own source and puts it in place.
pub(crate) fn install() -> Result<()> {
    let linker = newest_lld(&apt::search("^lld-[0-9]+$")?).context("the package lists offer no lld-N, whose wasm linker is needed")?;
    apt::install(&[&PACKAGES[..], &[linker.as_str()]].concat())?;
    link_lld(&linker)?;
    eprintln!("setup: building the standard library for {TARGET} (once, under a minute)");
    let folder = cache::folder("wasm-std")?;
    build(&folder)?;
    place(&folder)?;
    forget_old_output()?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

fn newest_lld(packages: &[String]) -> Option<String> {
    let number = |name: &str| name.strip_prefix("lld-")?.parse::<u32>().ok();
    let newest = packages.iter().filter_map(|name| number(name)).max()?;
    Some(format!("lld-{newest}"))
}

/// rustc calls its linker `rust-lld` and looks for it in its own folder.
fn link_lld(linker: &str) -> Result<()> {
    let host = Path::new("lib/rustlib/x86_64-unknown-linux-gnu/bin");
    let folder = sysroot()?.join(host);
    process::run_aside(process::as_root("mkdir")?.arg("-p").arg(&folder))?;
    let target = Path::new("/usr/bin").join(linker);
    process::run_aside(process::as_root("ln")?.arg("-sfn").arg(target).arg(folder.join("rust-lld")))
}

/// An empty crate makes cargo build the whole library. Its bitcode is embedded, since our release build optimises
/// across the border between the library and the program.
fn build(folder: &Path) -> Result<()> {
    let source = folder.join("src");
    std::fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    let manifest = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::write(source.join("lib.rs"), "#![no_std]\n")?;
    let mut command = Command::new(CARGO);
    command.current_dir(folder).args(["build", "--quiet", "--release", "--target", TARGET]);
    command.arg("-Zbuild-std=std,panic_abort,panic_unwind,test");
    command.env("RUSTC", RUSTC).env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Cembed-bitcode=yes");
    command.env("CARGO_TARGET_DIR", folder.join("target")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run_aside(&mut command)
}

/// The libraries appear under their name all at once, so that an interrupted set-up is not taken for a finished one.
fn place(folder: &Path) -> Result<()> {
    let built = folder.join("target").join(TARGET).join("release/deps");
    let note = folder.join(BUILT_BY);
    std::fs::write(&note, compiler_version()?)?;
    let library = library_folder(Path::new(RUSTC))?;
    let unfinished = library.with_extension("unfinished");
    process::run_aside(process::as_root("rm")?.arg("-rf").args([&unfinished, &library]))?;
    process::run_aside(process::as_root("mkdir")?.arg("-p").arg(&unfinished))?;
    process::run_aside(process::as_root("cp")?.args(libraries(&built)?).arg(&note).arg(&unfinished))?;
    process::run_aside(process::as_root("mv")?.args([&unfinished, &library]))
}

fn libraries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let wanted: Vec<_> = files.filter(|file| is_library(file)).collect();
    if wanted.is_empty() {
        bail!("no libraries were built in {}", folder.display());
    }
    Ok(wanted)
}

fn is_library(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".rlib") && !name.starts_with("libempty-")
}

/// What was compiled against a library that is gone would be reported as crates that cannot be found.
fn forget_old_output() -> Result<()> {
    let output = workspace::target()?.join(TARGET);
    if output.exists() {
        std::fs::remove_dir_all(&output).with_context(|| format!("cannot remove {}", output.display()))?;
    }
    Ok(())
}

fn compiler_version() -> Result<String> {
    process::output(Command::new(RUSTC).arg("-vV"))
}

fn sysroot() -> Result<PathBuf> {
    Ok(PathBuf::from(process::output(Command::new(RUSTC).args(["--print", "sysroot"]))?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_library, newest_lld};

    #[test]
    fn the_newest_linker_is_the_one_with_the_highest_number() {
        let offered = ["lld-9", "lld-22", "lld-16", "lld"].map(str::to_owned);
        assert_eq!(newest_lld(&offered).as_deref(), Some("lld-22"));
        assert_eq!(newest_lld(&[]), None);
    }

    #[test]
    fn the_empty_crate_is_no_part_of_the_library() {
        assert!(is_library(Path::new("deps/libstd-0a1b.rlib")));
        assert!(!is_library(Path::new("deps/libstd-0a1b.rmeta")));
        assert!(!is_library(Path::new("deps/libempty-0a1b.rlib")));
    }
}
