// The two homeservers that are compared, each a process with a folder of its own, without limits on rates.

import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Synapse } from "../../interop/synapse.mjs";

const COMMAND = fileURLToPath(new URL("../../../pkg/bin/inglenook.mjs", import.meta.url));

/** A folder for all servers of this run, and how to be rid of it. */
export async function workspace() {
  const dir = await mkdtemp(join(tmpdir(), "inglenook-bench-"));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** The Node host, as its command starts it. */
export class Inglenook {
  #child;
  #exit;

  constructor(dir) {
    this.dir = join(dir, "inglenook");
  }

  async start() {
    const args = ["serve", "--listen", "127.0.0.1:0", "--data", this.dir, "--registration", "open", "--rate-limits", "off", "--log", "error"];
    this.#child = spawn(process.execPath, [COMMAND, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    this.#exit = new Promise((resolve) => this.#child.once("exit", resolve));
    const ready = new Promise((resolve) => createInterface(this.#child.stdout).once("line", resolve));
    const line = await Promise.race([ready, this.#exit]);
    this.url = /^inglenook: ready: \S+ at (\S+)$/.exec(line)[1];
    await answers(this.url);
  }

  get pid() {
    return this.#child.pid;
  }

  async stop() {
    this.#child.kill();
    await this.#exit;
  }
}

/** Synapse on SQLite. Passwords are hashed as quickly as it can: nobody's login is measured. */
export async function synapse(dir) {
  const own = join(dir, "synapse");
  await mkdir(own);
  const server = new Synapse({ name: "localhost", dir: own, ports: { client: await freePort() } });
  server.settings.bcrypt_rounds = 4;
  return server;
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(url) {
  const { ok, status } = await fetch(`${url}/_matrix/client/versions`);
  if (!ok) throw new Error(`${url} answers ${status}`);
}

/** The memory that a process has in use, in megabytes. */
export async function residentMegabytes(pid) {
  const child = spawn("ps", ["-o", "rss=", "-p", String(pid)], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const piece of child.stdout) text += piece;
  return Number(text) / 1024;
}
