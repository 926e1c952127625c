//! Command-line tools that are Rust packages, built once per version into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use crate::process;

/// A binary of a package at one version.
pub(crate) struct CargoTool<'a> {
    pub(crate) package: &'a str,
    pub(crate) binary: &'a str,
    pub(crate) version: &'a str,
}

impl CargoTool<'_> {
    /// The folder that holds the binary: the cache, or where this machine has the same version already.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        let cached = cache::folder("tools")?.join(format!("{}-{}", self.package, self.version));
        let folder = cached.join("bin");
        if folder.join(self.binary).is_file() {
            return Ok(folder);
        }
        if let Some(folder) = self.folder_on_search_path() {
            return Ok(folder);
        }
        self.install(&cached)?;
        Ok(folder)
    }

    fn folder_on_search_path(&self) -> Option<PathBuf> {
        let file = process::find(self.binary)?;
        let said = process::output(Command::new(&file).arg("--version")).ok()?;
        said.split_whitespace().any(|word| word == self.version).then(|| file.parent())?.map(Path::to_owned)
    }

    /// The lock file that a package was published with is tried first; a registry mirror may lack one of its versions.
    fn install(&self, root: &Path) -> Result<()> {
        eprintln!("setup: building {} {} (once, a minute or two)", self.package, self.version);
        let build = root.join("build");
        std::fs::create_dir_all(&build).with_context(|| format!("cannot create {}", build.display()))?;
        let locked = process::output(self.cargo_install(root, &build).arg("--locked"));
        if locked.is_err() {
            eprintln!("setup: building {} with current versions of its dependencies instead", self.package);
            process::run_aside(&mut self.cargo_install(root, &build)).with_context(|| self.fix(root))?;
        }
        std::fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
    }

    /// Builds outside the repository, so that its settings do not apply, and with little optimisation: building these
    /// tools takes longer than all that they will ever do for us.
    fn cargo_install(&self, root: &Path, build: &Path) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(build).arg("install").arg("--quiet").arg("--root").arg(root);
        command.arg(format!("{}@{}", self.package, self.version));
        command.env("CARGO_TARGET_DIR", build).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    fn fix(&self, root: &Path) -> String {
        format!(
            "{} {} could not be installed; install it yourself with `cargo install --root {} {}@{}`",
            self.package,
            self.version,
            root.display(),
            self.package,
            self.version
        )
    }
}
