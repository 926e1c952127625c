#!/usr/bin/env bash
# Builds the npm package into pkg/: the wasm, its JavaScript, and the hand-written files of npm/.
#
# Usage: ./pkg-build.sh [--dev]
#   --dev   a quick build with little optimisation, for tests while developing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

profile=release
case "${1-}" in
  '') ;;
  --dev) profile=wasm-dev ;;
  *) echo "usage: ./pkg-build.sh [--dev]" >&2; exit 2 ;;
esac

command -v cargo >/dev/null || { echo "error: Rust is missing: see https://rustup.rs" >&2; exit 1; }
assignments=$(cargo xtask setup --env)
eval "$assignments"
with_tools() { PATH="$TOOLS_PATH" "$@"; }

target=${CARGO_TARGET_DIR:-target}
work=$target/pkg
rm -rf "$work"
mkdir -p "$work/bindgen" "$work/out"

# Panic messages name source files: by the crate's name, not by where this machine keeps its sources.
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
remap="\"--remap-path-prefix=$PWD/=\""
for folder in "$registry"/*/; do
  remap+=", \"--remap-path-prefix=$folder=\""
done

echo "pkg: compiling (profile $profile)" >&2
with_tools cargo rustc --profile "$profile" --target wasm32-unknown-unknown --package inglenook --lib \
  --crate-type cdylib --config "target.wasm32-unknown-unknown.rustflags = [$remap]"

echo "pkg: generating bindings" >&2
with_tools wasm-bindgen --target no-modules --no-typescript --out-name inglenook-node --out-dir "$work/bindgen" \
  "$target/wasm32-unknown-unknown/$profile/inglenook.wasm"

# The optimiser gets the features that every browser we support has, one by one: with all of them it would use some
# that browsers refuse. The build with names stays aside, for stack traces and for the sizes by crate.
features=(--enable-bulk-memory --enable-bulk-memory-opt --enable-nontrapping-float-to-int
  --enable-reference-types --enable-multivalue --enable-mutable-globals --enable-sign-ext)
if [ "$profile" = release ]; then
  echo "pkg: optimising" >&2
  # What is inlined for having one caller compresses worse than a call: 7 kB of 597 when this was tried. Control flow that is
  # made anew saves 8 kB of 1,030.
  with_tools wasm-opt "${features[@]}" --flatten --rereloop -Oz --one-caller-inline-max-function-size=0 --debuginfo \
    "$work/bindgen/inglenook-node_bg.wasm" --output "$work/inglenook.names.wasm"
  with_tools wasm-opt "${features[@]}" --strip-debug --strip-producers --strip-target-features \
    "$work/inglenook.names.wasm" --output "$work/out/inglenook-node_bg.wasm"
else
  cp "$work/bindgen/inglenook-node_bg.wasm" "$work/inglenook.names.wasm"
  cp "$work/bindgen/inglenook-node_bg.wasm" "$work/out/"
fi

# The bindings become a function, since each call of it is a fresh instance: a panic ends one for good, and a classic
# service worker cannot load the same script twice.
{
  echo 'self.inglenookNode = () => {'
  cat "$work/bindgen/inglenook-node.js"
  echo 'return wasm_bindgen; };'
} > "$work/out/inglenook-node.js"

# A browser sees an update by the worker's own bytes, so they name what was built together.
cp -R npm/. "$work/out/"
build=$(cd "$work/out" && cat inglenook-node.js inglenook-node_bg.wasm | git hash-object --stdin | cut -c 1-12)
sed -i.bak "s/__BUILD__/$build/" "$work/out/inglenook-sw.js"
rm "$work/out/inglenook-sw.js.bak"
cp LICENSE-* "$work/out/"
if [ -f npm/package.json ]; then
  version=$(cargo pkgid --package inglenook | sed 's/.*[#@]//')
  (cd "$work/out" && npm pkg set "version=$version")
fi

rm -rf pkg
mv "$work/out" pkg
cargo xtask sizes --totals
