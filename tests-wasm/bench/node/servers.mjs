// The two homeservers that are compared, and a third that has rooms for them: each a process with a folder of its own, without
// limits on rates. They find each other by names under .test, over TLS with certificates of an authority made for the occasion.

import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Synapse } from "../../interop/synapse.mjs";
import { makeAuthority } from "../../node/authority.mjs";
import { folder } from "../../node/support.mjs";
import { freePort } from "../../port.mjs";

const COMMAND = fileURLToPath(new URL("../../../pkg/bin/inglenook.mjs", import.meta.url));

const [INGLENOOK, SYNAPSE, ELSEWHERE] = ["inglenook.test", "synapse.test", "elsewhere.test"];

/** The three, not yet started: the two that are compared are `compared`, the third is `elsewhere`. `t.after` is told what is to be removed. */
export async function threeServers(t) {
  const authority = await makeAuthority(t);
  const places = {};
  for (const name of [INGLENOOK, SYNAPSE, ELSEWHERE]) places[name] = await freePort();
  const place = async (name) => ({ name, places, dir: await folder(t), tls: await authority.certify(name), ca: authority.ca });
  return {
    compared: [new Inglenook(await place(INGLENOOK)), await synapse(await place(SYNAPSE))],
    elsewhere: new Inglenook(await place(ELSEWHERE)),
  };
}

/** The Node host, as its command starts it. */
class Inglenook {
  #child;
  #exit;
  #args;

  constructor({ name, places, dir, tls, ca }) {
    const own = ["--server-name", name, "--data", dir, "--registration", "open", "--rate-limits", "off", "--log", "error"];
    const listen = ["--listen", "127.0.0.1:0", "--listen-tls", `127.0.0.1:${places[name]}`, "--tls-cert", tls.cert, "--tls-key", tls.key, "--ca", ca];
    const resolve = Object.entries(places).flatMap(([other, port]) => ["--federation-resolve", `${other}=127.0.0.1:${port}`]);
    this.name = name;
    this.#args = ["serve", ...own, ...listen, ...resolve];
  }

  async start() {
    this.#child = spawn(process.execPath, [COMMAND, ...this.#args], { stdio: ["ignore", "pipe", "inherit"] });
    this.#exit = new Promise((resolve) => this.#child.once("exit", resolve));
    const ready = new Promise((resolve) => createInterface(this.#child.stdout).once("line", resolve));
    const line = await Promise.race([ready, this.#exit]);
    this.url = /^inglenook: ready: \S+ at (http:\S+)/.exec(line)[1];
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
async function synapse({ name, places, dir, tls, ca }) {
  const server = new Synapse({ name, dir, ports: { client: await freePort(), federation: places[name] }, tls, ca, places });
  server.settings.bcrypt_rounds = 4;
  return server;
}

async function answers(url) {
  const { ok, status } = await fetch(`${url}/_matrix/client/versions`);
  if (!ok) throw new Error(`${url} answers ${status}`);
}

/**
 * The memory of a process and of those that it has started, in megabytes: `resident` is all that is in use, with the files that are
 * its program, which others of the same program share; `own` is what nobody else has. From Linux's /proc.
 */
export async function memory(pid) {
  const figures = { resident: 0, own: 0 };
  for (const each of await family(pid)) {
    const status = await readFile(`/proc/${each}/status`, "utf8");
    const megabytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)[1]) / 1024;
    figures.resident += megabytes("VmRSS");
    figures.own += megabytes("RssAnon") + megabytes("VmSwap");
  }
  return figures;
}

/** A process and all below it. */
async function family(pid) {
  const threads = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, "utf8")));
  const children = lists.flatMap((list) => list.split(" ").filter(Boolean));
  return [pid, ...(await Promise.all(children.map(family))).flat()];
}
