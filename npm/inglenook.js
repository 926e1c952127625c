// The page's side: registers the service worker, waits for the node, keeps it alive while the page is open, and says how it is.

/** Why there is no node here, in words that can be shown. */
const REASONS = {
  "insecure-context": "This page was not loaded over https, and browsers run servers of this kind only on secure pages.",
  "no-service-worker": "This browser offers no service workers here. A private window may be the reason.",
  "no-indexeddb": "This browser offers no storage here. A private window may be the reason.",
  blocked: "This browser is set to block the storage that the server needs.",
};

/** How soon a request that should have been held is made again when it failed or came back early. */
const RETRY_MS = 1_000;

/** The node cannot run here. `reason` says why, `message` says it to people. */
export class NodeUnavailableError extends Error {
  constructor(reason, cause) {
    super(REASONS[reason], { cause });
    this.name = "NodeUnavailableError";
    this.reason = reason;
  }
}

/** The node could not be started, though all it needs is there. */
export class NodeFailedError extends Error {
  name = "NodeFailedError";
}

/**
 * Starts the node, or finds it running, and resolves when it answers.
 *
 * @param {{ serviceWorker: string | URL, scope?: string | URL, shell?: (string | URL)[], gateway?: string | null }} options
 * @returns {Promise<InglenookNode>}
 */
export async function startNode(options) {
  const node = await installNode(options);
  await node.start(options);
  return node;
}

/**
 * The first half of that: all is here that a node needs, and none is started. For whoever wants to ask first how a new one is
 * to be named.
 *
 * @param {{ serviceWorker: string | URL, scope?: string | URL, shell?: (string | URL)[] }} options
 * @returns {Promise<InglenookNode>}
 */
export async function installNode({ serviceWorker, scope, shell = [] }) {
  checkEnvironment();
  const registration = await register(serviceWorker, scope);
  const node = new InglenookNode(registration);
  await controlled(registration);
  keepShell(registration, shell);
  return node;
}

function checkEnvironment() {
  if (!globalThis.isSecureContext) throw new NodeUnavailableError("insecure-context");
  if (!navigator.serviceWorker) throw new NodeUnavailableError("no-service-worker");
  if (!hasIndexedDb()) throw new NodeUnavailableError("no-indexeddb");
}

/** Where it is blocked, even looking at it may throw. */
function hasIndexedDb() {
  try {
    return Boolean(globalThis.indexedDB);
  } catch {
    return false;
  }
}

async function register(serviceWorker, scope) {
  const options = { updateViaCache: "none", ...(scope && { scope: String(scope) }) };
  try {
    return await navigator.serviceWorker.register(serviceWorker, options);
  } catch (error) {
    throw error.name === "SecurityError" ? new NodeUnavailableError("blocked", error) : error;
  }
}

/** A page's requests reach the worker only once it controls the page; after a forced reload it must be asked to. */
async function controlled(registration) {
  const active = await activated(registration);
  if (navigator.serviceWorker.controller) return;
  const taken = new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
  active.postMessage({ type: "inglenook claim" });
  await taken;
}

/** Not `navigator.serviceWorker.ready`, which never comes when the first install fails. */
async function activated(registration) {
  if (registration.active) return registration.active;
  const worker = registration.installing ?? registration.waiting;
  await new Promise((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activating" || worker.state === "activated") resolve();
      if (worker.state === "redundant") reject(new NodeFailedError("The server could not be installed. Is the network there, and is the page up to date?"));
    });
  });
  return worker;
}

/** The page opens without network once the worker has all that it is made of. */
function keepShell(registration, shell) {
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const named = shell.map((url) => new URL(url, document.baseURI).href);
  const urls = [registration.scope, location.href.split("#")[0], ...named, ...loaded];
  registration.active?.postMessage({ type: "inglenook shell", urls: [...new Set(urls)] });
}

/** A node that this page talks to. Fires `statechange` and `storage`. */
export class InglenookNode extends EventTarget {
  #registration;
  #stopped = new AbortController();
  #endPause = () => {};

  constructor(registration) {
    super();
    this.#registration = registration;
    /** Where clients find the server. */
    this.baseUrl = registration.scope.replace(/\/$/, "");
    /** The server's name, as in user ids, once it was started. */
    this.serverName = undefined;
    /** "starting", "running", "restarting" or "failed". */
    this.state = "starting";
    /** Why it failed. */
    this.reason = undefined;
    /** What `storage()` told last, and whether that was because nothing more could be stored. */
    this.stored = undefined;
    navigator.serviceWorker.addEventListener("message", (event) => this.#hear(event.data), this.#untilStopped);
    navigator.serviceWorker.addEventListener("controllerchange", () => this.#endPause(), this.#untilStopped);
  }

  get #untilStopped() {
    return { signal: this.#stopped.signal };
  }

  /** Whether the server's name is settled, and the gateway that a relay offers for a new one. Starts nothing. */
  async naming() {
    const response = await fetch(`${this.baseUrl}/_inglenook/naming`);
    return response.json();
  }

  /**
   * Waits until the node answers, and then keeps it alive. A new one is named below the domain of `gateway`, or, for null, after
   * its key alone.
   */
  async start({ gateway } = {}) {
    const query = gateway === undefined ? "" : `?gateway=${encodeURIComponent(gateway ?? "")}`;
    const response = await askTwice(`${this.baseUrl}/_inglenook/worker${query}`);
    const answer = await response.json();
    if (!response.ok) {
      this.#change("failed", answer.error);
      throw new NodeFailedError(answer.error);
    }
    this.serverName = answer.serverName;
    this.#change("running");
    this.#keepAlive();
    this.#passOnNetwork();
    // A browser that does not tell stops nobody.
    this.storage().catch(() => {});
  }

  /** How much is stored, how much may be, and whether the browser may throw it away. */
  async storage() {
    return this.#lookAtStorage(false);
  }

  async #lookAtStorage(full) {
    // WebKit's port for Linux tells nothing of it.
    const { storage } = navigator;
    const [persisted = false, { usage, quota } = {}] = await Promise.all([storage?.persisted(), storage?.estimate()]);
    this.stored = { persisted, usage, quota, full };
    this.dispatchEvent(new Event("storage"));
    return this.stored;
  }

  /** Asks the browser never to throw the data away. Some ask the user. */
  async requestPersistence() {
    const granted = (await navigator.storage?.persist()) ?? false;
    await this.storage();
    return granted;
  }

  /** Stops the node, until the next request for it, and stops keeping it alive from this page. */
  async stop() {
    this.#stopped.abort();
    this.#registration.active?.postMessage({ type: "inglenook stop" });
  }

  #hear(message) {
    if (message?.type === "inglenook storage") this.#lookAtStorage(true).catch(() => {});
    if (message?.type === "inglenook" && message.state !== "stopped") this.#change(message.state, message.reason);
  }

  #change(state, reason) {
    if (this.state === state && this.reason === reason) return;
    this.state = state;
    this.reason = reason;
    this.dispatchEvent(new Event("statechange"));
  }

  /**
   * Requests that the worker holds: a hidden page gets its answers on time, but its timers once a minute. So one that failed, as it
   * does when the worker is ended, is made again at once. What comes back early tells of an update, and is made again when that is there.
   */
  async #keepAlive() {
    const { signal } = this.#stopped;
    let failures = 0;
    while (!signal.aborted) {
      const begun = performance.now();
      const failed = await fetch(`${this.baseUrl}/_inglenook/hold`, { signal }).then(() => false, () => true);
      failures = failed ? failures + 1 : 0;
      if (failures !== 1 && performance.now() - begun < RETRY_MS) await this.#pause();
    }
  }

  #pause() {
    return new Promise((resolve) => {
      this.#endPause = resolve;
      setTimeout(resolve, RETRY_MS);
    });
  }

  /** Workers are not told by all browsers that the network is back, nor by any that somebody looks again. */
  #passOnNetwork() {
    const tell = () => this.#registration.active?.postMessage({ type: "inglenook online" });
    addEventListener("online", tell, this.#untilStopped);
    addEventListener("pageshow", tell, this.#untilStopped);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && tell(), this.#untilStopped);
  }
}

/** A worker that was ended in the middle of the question is woken up by the next one. */
async function askTwice(url) {
  return fetch(url).catch(() => fetch(url));
}
