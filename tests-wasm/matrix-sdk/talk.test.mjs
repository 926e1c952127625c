// The unmodified matrix-sdk, as the program of this folder uses it, on homeservers of every kind, which are killed in the middle.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { startTown } from "../interop/town.mjs";
import { bridge } from "./bridge.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAM = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/inglenook-matrix-sdk");

/** Whose users meet: those of one server, or of two, of which the first one's makes the room and has a second device later. */
const MEETINGS = [["node"], ["browser"], ["synapse"], ["node", "synapse"], ["synapse", "browser"], ["browser", "node"]];

/** Those that can be chosen while developing: `KINDS=node` for what needs neither a browser nor Synapse. */
const KINDS = process.env.KINDS?.split(",") ?? ["browser", "node", "synapse"];

/** When one meeting has gone on for so long, it waits for what does not come. What it has done until then it has said. */
const LIMIT_MILLIS = 120_000;

/** Without a warning where the host is a process of its own; a browser is closed. */
async function restart(host) {
  await host.stop("SIGKILL");
  await host.start();
}

let town;
const ends = [];
before(async () => {
  town = await startTown({ after: (end) => ends.unshift(end) }, KINDS);
  if (town.browser) town.browser.url = await bridge({ after: (end) => ends.unshift(end) }, town.browser);
});
test.after(async () => {
  for (const end of ends) await end();
});

for (const kinds of MEETINGS.filter((kinds) => kinds.every((kind) => KINDS.includes(kind)))) {
  test(`matrix-sdk talks encrypted, before and after a restart: ${kinds.join("–")}`, { timeout: LIMIT_MILLIS }, async (t) => {
    const hosts = kinds.map((kind) => town[kind]);
    const program = spawn(PROGRAM, hosts.map(({ url }) => url), { stdio: ["pipe", "pipe", "inherit"] });
    t.after(() => program.kill("SIGKILL"));
    const ended = once(program, "exit");
    const asked = once(createInterface(program.stdout), "line");
    const [first] = await Promise.race([asked, ended]);
    assert.equal(first, "restart", "the program ended before the restart");
    await Promise.all(hosts.map(restart));
    program.stdin.end("\n");
    const [code] = await ended;
    assert.equal(code, 0);
  });
}
