//! A compiler for `wasm32-unknown-unknown`: the machine's own, or one from the distribution's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, cache, wasm_std};
use crate::process;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const FIX: &str = "Rust's wasm32-unknown-unknown target is missing and could not be installed. Run `rustup target add \
    wasm32-unknown-unknown` where rustup reaches its servers, or use Debian 12 or newer, whose packages bring it";

/// Where the wasm build's compiler comes from.
pub(crate) enum WasmToolchain {
    /// The `cargo` and `rustc` that are on the search path anyway.
    Default,
    /// Those of the distribution, by way of links in this folder.
    Distribution(PathBuf),
}

impl WasmToolchain {
    /// The folder that has to come first on the search path.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Default => None,
            Self::Distribution(folder) => Some(folder.clone()),
        }
    }
}

/// Finds a compiler with the target's standard library, or installs one: by rustup, else from the distribution, whose
/// packages are reachable on machines where rustup's servers are not.
pub(crate) fn provide() -> Result<WasmToolchain> {
    if has_std(Path::new("rustc")) {
        return Ok(WasmToolchain::Default);
    }
    if wasm_std::is_built() {
        return distribution();
    }
    if process::find("rustup").is_some() {
        eprintln!("setup: rustup target add {TARGET}");
        if process::run_aside(Command::new("rustup").args(["target", "add", TARGET])).is_ok() {
            return Ok(WasmToolchain::Default);
        }
        eprintln!("setup: rustup cannot add it; trying the distribution's compiler");
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) || !apt::is_here() {
        bail!(FIX);
    }
    wasm_std::install().context(FIX)?;
    distribution()
}

/// Whether a compiler has the target's standard library.
pub(crate) fn has_std(rustc: &Path) -> bool {
    library_folder(rustc).is_ok_and(|folder| holds_std(&folder))
}

/// Where a compiler looks for the target's standard library.
pub(crate) fn library_folder(rustc: &Path) -> Result<PathBuf> {
    let mut command = Command::new(rustc);
    let folder = process::output(command.args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(PathBuf::from(folder))
}

fn holds_std(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Links to the distribution's tools, so that nothing else of `/usr/bin` is put before the user's own.
fn distribution() -> Result<WasmToolchain> {
    let folder = cache::folder("distribution-rust")?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for program in ["cargo", "rustc", "rustdoc"] {
        let link = folder.join(program);
        if !link.exists() {
            std::os::unix::fs::symlink(Path::new("/usr/bin").join(program), &link)
                .with_context(|| format!("cannot create {}", link.display()))?;
        }
    }
    Ok(WasmToolchain::Distribution(folder))
}
