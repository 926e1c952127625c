// A relay as people run it, on a port of its own; it may be killed at any moment and started again where it was.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { freePort } from "../port.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Tests use the quick build, benchmarks the one that is shipped. */
const PROGRAM = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target", process.env.RELAY_PROFILE ?? "debug", "inglenook-relay");

export class Relay {
  #program;
  #folder;
  #listen;
  #settings;
  /** Where nodes find it, the same after every start. */
  url;

  /** Listens at a port of its own unless told, with further settings of the command. */
  constructor({ listen, settings = [] } = {}) {
    this.#listen = listen;
    this.#settings = settings;
  }

  async start() {
    if (!existsSync(PROGRAM)) throw new Error("the relay is not there: run `cargo build --package inglenook-relay`");
    this.#folder ??= await mkdtemp(join(tmpdir(), "inglenook-relay-"));
    this.#listen ??= `127.0.0.1:${await freePort()}`;
    const settings = ["--listen", this.#listen, "--data", this.#folder, "--log", process.env.RELAY_LOG ?? "warn", "--allow-private-addresses", ...this.#settings];
    this.#program = spawn(PROGRAM, settings, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await once(createInterface(this.#program.stdout), "line");
    this.url = line.split(" ").at(-1);
  }

  /** Without a warning, as a power cut does. */
  async kill() {
    const ended = once(this.#program, "exit");
    this.#program.kill("SIGKILL");
    await ended;
  }

  async remove() {
    if (this.#program.exitCode === null && this.#program.signalCode === null) await this.kill();
    await rm(this.#folder, { recursive: true });
  }
}
