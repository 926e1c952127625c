// The life of a host: opens what is kept, starts the node, listens, and lets go of everything in the other order.

import { readFile } from "node:fs/promises";
import tls from "node:tls";

import { openBlobs } from "./blobs.mjs";
import { Callers } from "./callers.mjs";
import { Federation } from "./federation.mjs";
import { Front } from "./http.mjs";
import { openLog } from "./log.mjs";
import { Metrics } from "./metrics.mjs";
import { startNode } from "./node.mjs";
import { openStore } from "./store.mjs";

/** How long answers that are under way are waited for when the host stops. */
const FAREWELL_MS = 10_000;

/** Starts a host. Returns it with its name and URLs, or throws an error that says why it cannot start. */
export async function serve(options) {
  const host = new Host(options);
  try {
    await host.start();
    return host;
  } catch (error) {
    await host.stop();
    throw error;
  }
}

class Host {
  #options;
  #log;
  #store;
  #federation;
  #node;
  #front;

  /** Where it listens. */
  urls = [];

  constructor(options) {
    this.#options = options;
    this.#log = openLog(options.log);
  }

  /** The server's name. */
  get name() {
    return this.#node.name();
  }

  get log() {
    return this.#log;
  }

  async start() {
    const options = { ...this.#options, ca: await authorities(this.#options.ca) };
    // Read before anything is opened: what is wrong with them is said at once.
    const identity = await tlsIdentity(options);
    this.#store = await openStore(options.data, this.#log);
    const blobs = await openBlobs(options.data);
    this.#federation = new Federation(options);
    this.#node = await startNode(options, { store: this.#store, blobs, federation: this.#federation });
    this.#checkName();
    const metrics = new Metrics({ store: this.#store, federation: this.#federation });
    this.#front = new Front({ node: this.#node, store: this.#store, blobs, metrics, log: this.#log, inspection: options.inspection, callers: new Callers(options.callers) });
    for (const address of options.listen) this.urls.push(await this.#front.listen(address));
    for (const address of options.listenTls) this.urls.push(await this.#front.listen(address, identity));
    this.#log.info(`${this.name} serves on ${this.urls.join(" and ")}; its data is in ${options.data}`);
  }

  /** Reads certificate and key again. One that cannot be used leaves the old one in place. */
  async renew() {
    try {
      const identity = await tlsIdentity(this.#options);
      if (identity) this.#front.renew(identity);
      this.#log.info("the certificate was read again");
    } catch (error) {
      this.#log.error(error.message);
    }
  }

  /** Ends waiting polls at once, lets other answers be finished, and closes the database. */
  async stop() {
    this.#node?.stop();
    await this.#front?.close(FAREWELL_MS);
    this.#federation?.close();
    await this.#store?.close();
  }

  #checkName() {
    const { serverName, gateway, data } = this.#options;
    const isAsked = (serverName === undefined || serverName === this.name) && (gateway === undefined || this.name.endsWith(`.${gateway}`));
    if (isAsked) return;
    throw new Error(`the data folder ${data} belongs to ${this.name}, and a server's name cannot be changed to ${serverName ?? `one below ${gateway}`}`);
  }
}

/** The usual authorities and the operator's own, or undefined for the usual ones alone. */
async function authorities(file) {
  return file === undefined ? undefined : [...tls.rootCertificates, await readPem(file)];
}

async function tlsIdentity({ tlsCert, tlsKey }) {
  if (tlsCert === undefined) return undefined;
  const identity = { cert: await readPem(tlsCert), key: await readPem(tlsKey) };
  try {
    tls.createSecureContext(identity);
  } catch (error) {
    throw new Error(`${tlsCert} and ${tlsKey} are no certificate and its key: ${error.message}`);
  }
  return identity;
}

async function readPem(file) {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`the file ${file} cannot be read: ${error.message}`);
  }
}
