//! The committed budget, and what breaks it.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// How large the wasm may be, and what may not be in it.
pub(crate) struct Budget {
    pub(crate) wasm_brotli_bytes: u64,
    forbidden_crates: Vec<String>,
    forbidden_import_modules: Vec<String>,
}

impl Budget {
    pub(crate) fn read() -> Result<Self> {
        let file = workspace::root()?.join("xtask/size-budget.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let json = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
        Self::parse(&json).with_context(|| format!("{} is no budget", file.display()))
    }

    fn parse(json: &Value) -> Option<Self> {
        let strings = |name: &str| {
            let items = json.get(name)?.as_array()?;
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Some(Self {
            wasm_brotli_bytes: json.get("wasm_brotli_bytes")?.as_u64()?,
            forbidden_crates: strings("forbidden_crates")?,
            forbidden_import_modules: strings("forbidden_import_modules")?,
        })
    }

    /// Each thing that breaks the budget, in a sentence.
    pub(crate) fn faults(&self, brotli: u64, crates: &[&str], import_modules: &BTreeSet<String>) -> Vec<String> {
        let limit = self.wasm_brotli_bytes;
        let size = (brotli > limit).then(|| format!("the wasm has {brotli} bytes (brotli), {limit} are allowed"));
        let forbidden = |name: &&&str| self.forbidden_crates.iter().any(|pattern| matches(pattern, name));
        let crates = crates.iter().filter(forbidden).map(|name| format!("code of `{name}` is in the wasm"));
        let modules = import_modules.iter().filter(|name| self.forbidden_import_modules.contains(name));
        let modules = modules.map(|name| format!("the wasm imports from `{name}`, which no browser provides"));
        size.into_iter().chain(crates).chain(modules).collect()
    }
}

/// A name, or the beginning of one followed by `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Budget;

    fn budget() -> Budget {
        Budget::parse(&serde_json::json!({
            "wasm_brotli_bytes": 100,
            "forbidden_crates": ["regex", "icu_*"],
            "forbidden_import_modules": ["env"],
        }))
        .unwrap()
    }

    fn modules(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_keeps_to_it_has_no_faults() {
        let faults = budget().faults(100, &["inglenook", "regex_lite", "icu"], &modules(&["./inglenook_bg.js"]));
        assert_eq!(faults, [""; 0]);
    }

    #[test]
    fn every_fault_is_named() {
        let faults = budget().faults(101, &["regex", "icu_normalizer"], &modules(&["env"]));
        assert_eq!(faults.len(), 4, "{faults:?}");
        for (fault, word) in faults.iter().zip(["101 bytes", "`regex`", "`icu_normalizer`", "`env`"]) {
            assert!(fault.contains(word), "{fault}");
        }
    }

    #[test]
    fn a_budget_with_a_hole_is_refused() {
        assert!(Budget::parse(&serde_json::json!({ "wasm_brotli_bytes": 100 })).is_none());
    }

    #[test]
    fn the_committed_budget_is_one() {
        Budget::read().unwrap();
    }
}
