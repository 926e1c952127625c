//! Reads what a wasm file says about itself: its functions with their names and sizes, its data, its imports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// A function of the code section: its symbol, and the bytes of its body.
pub(crate) struct Function {
    pub(crate) symbol: String,
    pub(crate) bytes: u64,
}

#[derive(Default)]
pub(crate) struct Module {
    pub(crate) size: u64,
    pub(crate) code: u64,
    pub(crate) data: u64,
    pub(crate) functions: Vec<Function>,
    pub(crate) import_modules: BTreeSet<String>,
}

impl Module {
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        parse(&bytes).with_context(|| format!("{} is no wasm module", file.display()))
    }
}

fn parse(bytes: &[u8]) -> Result<Module> {
    let mut module = Module { size: u64::try_from(bytes.len())?, ..Module::default() };
    let mut names = BTreeMap::new();
    let mut imported = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    imported += u32::from(matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                    module.import_modules.insert(import.module.to_owned());
                }
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = length(&body.range());
                module.code += bytes;
                module.functions.push(Function { symbol: String::new(), bytes });
            }
            Payload::DataSection(data) => module.data = length(&data.range()),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(sections) = section.as_known() {
                    names.extend(function_names(sections)?);
                }
            }
            _ => {}
        }
    }
    // Imported functions come first in the numbering that names use.
    for (index, function) in (imported..).zip(&mut module.functions) {
        function.symbol = names.remove(&index).unwrap_or_default();
    }
    Ok(module)
}

fn length(range: &std::ops::Range<u64>) -> u64 {
    range.end - range.start
}

fn function_names(sections: wasmparser::NameSectionReader) -> Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    for section in sections {
        if let Name::Function(map) = section? {
            for naming in map {
                let naming = naming?;
                names.insert(naming.index, naming.name.to_owned());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// A module with an imported function `env.f`, two functions of 2 and 4 bytes named `one` and `two`, and a memory
    /// with 3 bytes of data.
    const MODULE: &[u8] = b"\0asm\x01\0\0\0\
        \x01\x04\x01\x60\0\0\
        \x02\x09\x01\x03env\x01f\0\0\
        \x03\x03\x02\0\0\
        \x05\x03\x01\0\x01\
        \x0a\x09\x02\x02\0\x0b\x04\0\x01\x01\x0b\
        \x0b\x09\x01\0\x41\0\x0b\x03abc\
        \0\x15\x04name\x01\x0e\x03\0\x01f\x01\x03one\x02\x03two";

    #[test]
    fn pairs_functions_with_their_names_past_the_imports() {
        let module = parse(MODULE).unwrap();
        let functions: Vec<_> = module.functions.iter().map(|it| (it.symbol.as_str(), it.bytes)).collect();
        assert_eq!(functions, [("one", 2), ("two", 4)]);
        assert_eq!((module.size, module.code, module.data), (MODULE.len() as u64, 6, 9));
        assert!(module.import_modules.iter().eq(["env"]));
    }

    #[test]
    fn refuses_what_is_no_module() {
        assert!(parse(b"<html>").is_err());
    }
}
