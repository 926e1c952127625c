// The package as people install it: packed by npm, unpacked elsewhere, and started by its name.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, rename, symlink } from "node:fs/promises";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { call, folder } from "./support.mjs";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PACKAGE = join(ROOT, "pkg");

/** A folder in which the package is installed, as npm does it but for the network: what it depends on is what is installed here. */
async function installed(t) {
  const dir = await folder(t);
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", dir], { cwd: PACKAGE });
  await run("tar", ["-xzf", stdout.trim()], { cwd: dir });
  const modules = join(dir, "node_modules");
  const home = join(modules, "inglenook");
  await mkdir(join(modules, ".bin"), { recursive: true });
  await rename(join(dir, "package"), home);
  const about = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
  for (const name of Object.keys(about.dependencies)) await symlink(join(ROOT, "node_modules", name), join(modules, name));
  const command = join(home, about.bin.inglenook);
  await chmod(command, 0o755);
  await symlink(command, join(modules, ".bin/inglenook"));
  return { dir, home, about };
}

test("the package that npm packs runs by its name, wherever it is", async (t) => {
  const { dir, home, about } = await installed(t);
  const version = await run("npx", ["--offline", "inglenook", "--version"], { cwd: dir });
  assert.equal(version.stdout, `${about.version}\n`);
  assert.match(await readFile(join(home, "README.md"), "utf8"), /npx inglenook serve/);
  for (const file of [about.exports["."].default, about.exports["."].types, about.exports["./inglenook-sw.js"], "LICENSE-MIT", "LICENSE-APACHE"]) await readFile(join(home, file));

  const child = spawn(join(dir, "node_modules/.bin/inglenook"), ["serve", "--data", "data", "--listen", "127.0.0.1:0"], {
    cwd: dir,
    env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const [line] = await once(createInterface(child.stdout), "line");
  const url = /^inglenook: ready: \S+ at (\S+)$/.exec(line)[1];
  assert.equal((await call(url, "GET", "/_matrix/client/versions")).status, 200);
  child.kill();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
