//! What files weigh on the way to a browser.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// Node.js, which the build needs anyway, carries the compressors that web servers use.
const COMPRESS: &str = include_str!("compress.mjs");

/// A file's bytes as they are, by `gzip -9` and by `brotli -11`.
pub(crate) struct Weight {
    pub(crate) file: PathBuf,
    pub(crate) raw: u64,
    pub(crate) gzip: u64,
    pub(crate) brotli: u64,
}

/// Weighs files, in their order.
pub(crate) fn weigh(files: &[PathBuf]) -> Result<Vec<Weight>> {
    let mut command = Command::new("node");
    command.args(["--input-type=module", "--eval", COMPRESS, "--"]).args(files);
    let sizes: Vec<Value> = serde_json::from_str(&process::output(&mut command)?)?;
    let weight = |(file, sizes): (&PathBuf, Value)| {
        let size = |at: usize| sizes.get(at)?.as_u64();
        Some(Weight { file: file.clone(), raw: size(0)?, gzip: size(1)?, brotli: size(2)? })
    };
    let weights: Option<Vec<_>> = files.iter().zip(sizes).map(weight).collect();
    weights.context("Node.js printed something else than sizes")
}

#[cfg(test)]
mod tests {
    use super::weigh;

    #[test]
    fn what_repeats_itself_weighs_little() {
        let file = std::env::temp_dir().join(format!("inglenook-xtask-weigh-{}", std::process::id()));
        std::fs::write(&file, "ab".repeat(5000)).unwrap();
        let weights = weigh(std::slice::from_ref(&file)).unwrap();
        let weight = &weights[0];
        assert_eq!((&weight.file, weight.raw), (&file, 10_000));
        assert!(weight.brotli < weight.gzip && weight.gzip < 100, "{} {}", weight.gzip, weight.brotli);
    }
}
