// Node hosts for the table of cases that holds responses against the specification (`tests/spec`): each begins with the same
// rows, and answers on a port of its own.
//
//   node scenes.mjs ROWS      for each line on stdin it starts a host anew and prints its address
//
// ROWS is a file with a row on each line: the hexadecimal key, as the store has it, and value.

import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { ClassicLevel } from "classic-level";

import { readCommand } from "../../pkg/host/options.mjs";
import { serve } from "../../pkg/host/serve.mjs";

const dir = await mkdtemp(join(tmpdir(), "inglenook-scenes-"));
const template = join(dir, "template");
await fill(process.argv[2]);

let count = 0;
let host;
for await (const _ of createInterface(process.stdin)) {
  await host?.stop();
  const data = join(dir, String((count += 1)));
  await cp(template, data, { recursive: true });
  const args = ["--server-name", "example.org", "--listen", "127.0.0.1:0", "--data", data, "--registration", "open", "--rate-limits", "off", "--inspection", "on", "--log", "error"];
  host = await serve(readCommand(["serve", ...args], {}).options);
  process.stdout.write(`${new URL(host.urls[0]).host}\n`);
}
await host?.stop();
await rm(dir, { recursive: true });
process.exit(0);

async function fill(file) {
  const rows = (await readFile(file, "utf8")).split("\n").filter(Boolean);
  const level = new ClassicLevel(join(template, "db"), { keyEncoding: "hex", valueEncoding: "hex" });
  await level.open();
  const put = (row) => {
    const [key, value] = row.split(" ");
    return { type: "put", key, value };
  };
  await level.batch(rows.map(put));
  await level.close();
}
