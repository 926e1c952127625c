// The service worker: runs the node, answers its requests, replaces it after a panic, and keeps the page for offline.
//
// A classic script, since module workers are not to be had everywhere. Settings come with its URL, as it must know them
// when it is woken with no page at hand: ?database=…&serverName=…&gateway=gw.example&burst=…&perSecond=…&relay=https://relay.example&notary=one.example&notary=two.example&baseUrl=https://other.example

/* global inglenookNode -- from inglenook-node.js: makes a fresh copy of the wasm's JavaScript, with an instance of its own. */
"use strict";

(() => {
  /** Names what was built together. A new build changes this line, by which the browser sees that there is an update. */
  const BUILD = "__BUILD__";

  importScripts(`inglenook-node.js?${BUILD}`);

  /** How long a page's request that keeps this worker alive is held: browsers end a worker 30 s after its last event. */
  const HOLD_MS = 25_000;
  /** How long requests wait for another instance to give up the database before they are told. */
  const LOCK_MS = 20_000;
  /** How long a worker that is being replaced waits for its last answers. */
  const FAREWELL_MS = 2_000;
  /** How long a worker that was told of an update waits for it to be installed. */
  const DRAIN_MS = 10_000;
  /** How long requests that overlap may put an update off before clients are asked to hold on. */
  const PUT_OFF_MS = 3_000;
  /** How long they are to hold on: the worker needs a moment with nothing to do, and a person should hardly notice. */
  const HOLD_ON_MS = 1_000;
  /** The shortest that one of them is told. */
  const LEAST_HOLD_ON_MS = 300;
  /** How long a relay may take to say whether it is a gateway: a person waits for it, once in the node's life. */
  const OFFER_MS = 2_000;
  /** A user ID has 255 bytes, of which the key takes 52 and the signs between its parts 3; a username is to have 64. */
  const LONGEST_DOMAIN = 136;
  /** How long the network may take for a part of the page that is in the cache. */
  const SHELL_MS = 2_000;
  /** How long a network that took longer is not waited for at all: a page has many parts, and some wait for others. */
  const HANGS_MS = 15_000;
  /** A node that fails this often in a minute is not started again at once: what is wrong does not go away by itself. */
  const FAILURES_A_MINUTE = 5;

  const scope = self.registration.scope;
  const settings = new URL(self.location.href).searchParams;
  const database = settings.get("database") ?? `inglenook ${new URL(scope).pathname}`;
  const wasmUrl = new URL(`inglenook-node_bg.wasm?${BUILD}`, self.location.href).href;
  const coreCache = `inglenook core ${scope} ${BUILD}`;
  const shellCache = `inglenook shell ${scope}`;
  const siblings = new BroadcastChannel(`inglenook ${scope}`);
  const me = crypto.randomUUID();

  /** The domain of a gateway, below which a node that is yet to be made gets its name. What a page says counts before the settings. */
  let gateway = settings.get("gateway") ?? undefined;

  // ---------------------------------------------------------------------------------------------------------------
  // Which requests are the node's

  /** Where the server is reached: under this worker's scope, and under the base URLs that were named explicitly. */
  const bases = [scope, ...settings.getAll("baseUrl").map((url) => url.replace(/\/*$/, "/"))];
  const SERVED = /^\/(_matrix|_inglenook|\.well-known\/matrix)(\/|$)/;
  const STORAGE_FULL = 507;
  const UPLOAD = /^\/_matrix\/media\/[^/]+\/upload(\/|\?|$)/;

  /** The path and query as the server knows them, or undefined where the request is not for it. */
  function targetOf(url) {
    const base = bases.find((base) => url.startsWith(base));
    const target = base && `/${url.slice(base.length).split("#")[0]}`;
    return target && SERVED.test(target.split("?")[0]) ? target : undefined;
  }

  function json(status, value) {
    return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
  }

  function refusal(status, error) {
    return json(status, { errcode: "M_UNKNOWN", error });
  }

  // ---------------------------------------------------------------------------------------------------------------
  // One instance of the node

  /** What pending requests get when their instance is gone. */
  class InstanceLost extends Error {}

  /** Those with a node in them. Only one, but for a moment: each waits until the one before has let go. */
  const alive = new Set();

  class Instance {
    #lose;
    #pending = new Set();
    /** Settles with the instance, or with why it did not start. */
    started;

    constructor() {
      this.lost = new Promise((_, reject) => (this.#lose = reject));
      this.lost.catch(() => {});
    }

    async start() {
      const bindgen = inglenookNode();
      await bindgen({ module_or_path: await compiled() });
      alive.add(this);
      this.node = await this.#unlessLost(bindgen.Node.start(options()));
      return this;
    }

    /** A panic inside a future reaches nobody but the worker's `error` event: without this, its Promise stays open for ever. */
    lose(cause) {
      this.#lose(new InstanceLost(`The node failed: ${cause?.message ?? cause}`));
    }

    async handle(request, target, body) {
      const answer = this.#unlessLost(this.#ask(request, target, body));
      this.#pending.add(answer);
      try {
        return await answer;
      } finally {
        this.#pending.delete(answer);
      }
    }

    /** A node rejects only where it can answer nothing any more. */
    async #ask(request, target, body) {
      try {
        return await this.node.handle(request, target, body);
      } catch (error) {
        if (error instanceof WebAssembly.RuntimeError) failed(this, error);
        else superseded(this);
        throw new InstanceLost(error.message);
      }
    }

    #unlessLost(promise) {
      return Promise.race([promise, this.lost]);
    }

    /** Lets go of the database when the last answers are out, or soon after. */
    async end() {
      await this.started.catch(() => {});
      if (!alive.has(this)) return;
      this.node.stop();
      await Promise.race([Promise.allSettled(this.#pending), sleep(FAREWELL_MS)]);
      if (alive.delete(this)) this.node.free();
    }
  }

  function options() {
    const burst = Number(settings.get("burst"));
    const perSecond = Number(settings.get("perSecond"));
    const rateLimits = burst && perSecond ? { burst, perSecond } : undefined;
    const [relays, notaries] = ["relay", "notary"].map((name) => settings.getAll(name));
    return { database, serverName: settings.get("serverName") ?? undefined, gateway, relays, notaries, rateLimits };
  }

  let module;

  function compiled() {
    module ??= compile().catch((error) => {
      module = undefined;
      throw error;
    });
    return module;
  }

  async function compile() {
    const cache = await caches.open(coreCache);
    const kept = await cache.match(wasmUrl);
    if (kept) return WebAssembly.compile(await kept.arrayBuffer());
    const fetched = await fetch(wasmUrl);
    if (!fetched.ok) throw new Error(`${wasmUrl} answers ${fetched.status}`);
    await cache.put(wasmUrl, fetched.clone());
    return WebAssembly.compile(await fetched.arrayBuffer());
  }

  const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

  // ---------------------------------------------------------------------------------------------------------------
  // The database's lock: held here and not in the wasm, so that it outlives a panic

  let lock;

  /** Waits until no other instance has the database. */
  function locked() {
    lock ??= acquire().catch((error) => {
      lock = undefined;
      throw error;
    });
    return lock;
  }

  async function acquire() {
    const name = `inglenook ${database}`;
    const free = await request(name, { ifAvailable: true });
    if (free) return free;
    siblings.postMessage({ type: "release", from: me });
    try {
      return await request(name, { signal: AbortSignal.timeout(LOCK_MS) });
    } catch {
      throw new Error("Another instance of this server is running on the same database.");
    }
  }

  /** Resolves with a function that releases the lock, or with undefined where it was wanted at once and is taken. */
  function request(name, how) {
    return new Promise((resolve, reject) => {
      const held = navigator.locks.request(name, how, (lock) => lock && new Promise((release) => resolve(release)));
      held.then(() => resolve(undefined), reject);
    });
  }

  /** The next instance has to ask for it anew. */
  async function unlock() {
    const held = lock;
    lock = undefined;
    (await held?.catch(() => undefined))?.();
  }

  // ---------------------------------------------------------------------------------------------------------------
  // What may be chosen before there is a node

  /** Whether the node's name is settled, as it is for ever once there is a database; and else the gateway that a relay offers. */
  async function naming() {
    if (await isMade()) return json(200, { settled: true });
    const offers = await Promise.all(settings.getAll("relay").map((relay) => gatewayOf(relay).catch(() => undefined)));
    return json(200, { settled: false, gateway: offers.find(Boolean) });
  }

  /** A browser that does not tell is taken to have it: a question that changes nothing must not be asked. */
  async function isMade() {
    const databases = await indexedDB.databases?.().catch(() => undefined);
    return databases?.some(({ name }) => name === database) ?? true;
  }

  /** The domain of a relay that is a gateway for whoever attaches. A node that has no key yet is on nobody's list. */
  async function gatewayOf(relay) {
    const response = await fetch(`${relay.replace(/\/+$/, "")}/_inglenook/relay/v1/limits`, { signal: AbortSignal.timeout(OFFER_MS) });
    const { gateway: domain, allow_list: isForListed } = await response.json();
    const isDomain = typeof domain === "string" && domain.length <= LONGEST_DOMAIN && /^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(domain);
    return isDomain && !isForListed ? domain : undefined;
  }

  // ---------------------------------------------------------------------------------------------------------------
  // The one that runs

  /** The one that is asked: starting, or running. */
  let current;
  /** Settles when the one before it has let go of the database: two would supersede each other. */
  let leaving = Promise.resolve();
  let state = "stopped";
  let failures = [];

  /** The node, started where it is not running yet. Requests that come meanwhile wait for the same start. */
  function node() {
    current ??= begun();
    return current.started;
  }

  function begun() {
    const instance = new Instance();
    instance.started = start(instance).catch((error) => {
      alive.delete(instance);
      if (instance === current) {
        current = undefined;
        announce("failed", error.message);
      }
      throw error;
    });
    return instance;
  }

  async function start(instance) {
    failures = failures.filter((time) => time > Date.now() - 60_000);
    if (failures.length >= FAILURES_A_MINUTE) throw new Error("The server failed several times and rests for a minute.");
    announce(failures.length ? "restarting" : "starting");
    // Compiling does not need the database, and so need not wait for it.
    compiled().catch(() => {});
    await leaving;
    await locked();
    await instance.start();
    if (isUpdateWaiting()) {
      drain();
      isInsisting = true;
      // Heeded once in the newer worker's life, and so not asked by the worker that ran when the update was installed: there
      // Chromium looks out for a moment with nothing to do by itself. A request that came in that very moment started this one.
      self.registration.waiting.postMessage({ type: "inglenook activate" });
    }
    if (instance === current) announce("running");
    return instance;
  }

  /** Nothing more can be asked of an instance after a trap. */
  function failed(instance, cause) {
    if (!alive.delete(instance)) return;
    if (instance === current) {
      console.error("inglenook: the node is replaced:", cause);
      current = undefined;
      failures.push(Date.now());
    }
    instance.lose(cause);
  }

  /** Another instance has claimed the database, and this one can write no more. The next one starts where the lock can be had. */
  function superseded(instance) {
    if (instance !== current) return;
    failures.push(Date.now());
    leave();
  }

  /** Lets the instance go, and then does what must come before another one starts. */
  function leave(then) {
    const [instance, before] = [current, leaving];
    current = undefined;
    leaving = before.then(() => instance?.end()).catch(() => {}).then(then);
    return leaving;
  }

  /** Only a trap in the wasm ends up here; the server's own failures are answers. */
  function isTrap(error) {
    return error instanceof WebAssembly.RuntimeError || /wasm/.test(error?.stack ?? "");
  }

  self.addEventListener("error", (event) => {
    if (isTrap(event.error)) trapped(event.error);
  });

  self.addEventListener("unhandledrejection", (event) => {
    if (isTrap(event.reason)) trapped(event.reason);
  });

  function trapped(cause) {
    for (const instance of alive) failed(instance, cause);
  }

  function announce(next, reason) {
    state = next;
    tellPages({ type: "inglenook", state, reason });
  }

  async function tellPages(message) {
    for (const client of await self.clients.matchAll({ type: "window", includeUncontrolled: true })) client.postMessage(message);
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Answers

  async function answer(request, target) {
    try {
      const body = await bodyOf(request, target);
      const response = await withRetry(request.method, body, async () => (await node()).handle(request, target, body));
      if (response.status === STORAGE_FULL) tellPages({ type: "inglenook storage" });
      return response;
    } catch (error) {
      return refusal(error instanceof InstanceLost ? 500 : 503, error.message);
    }
  }

  /** The body, unless the node is to stream it. */
  async function bodyOf(request, target) {
    if (request.method === "GET" || request.method === "HEAD" || UPLOAD.test(target)) return undefined;
    return new Uint8Array(await request.arrayBuffer());
  }

  /** What may be asked twice is asked again when its instance was lost. A PUT may: it carries its transaction id or replaces. */
  async function withRetry(method, body, ask) {
    try {
      return await ask();
    } catch (error) {
      const repeatable = method === "GET" || method === "HEAD" || (method === "PUT" && body);
      if (error instanceof InstanceLost && repeatable) return ask();
      throw error;
    }
  }

  let holdsEnd;
  let resolveHolds;

  function endHolds() {
    resolveHolds?.();
    holdsEnd = new Promise((resolve) => (resolveHolds = resolve));
  }

  endHolds();

  /** Keeps this worker alive without a timer in the page, which a hidden page would not get. */
  async function hold() {
    node().catch(() => {});
    if (!isDraining) await Promise.race([sleep(HOLD_MS), holdsEnd]);
    return new Response(null, { status: 204 });
  }

  /** Starts the node where it does not run yet. `chosen` names the gateway of a new one, or is empty for none. */
  async function status(chosen) {
    if (chosen !== null) gateway = chosen || undefined;
    try {
      const instance = await node();
      return json(200, { state, serverName: instance.node.name(), build: BUILD });
    } catch (error) {
      return refusal(503, error.message);
    }
  }

  /**
   * A browser activates an update when the worker before it has had nothing to do for a moment. A client that asks again at
   * once whenever its poll is answered would put that off for ever; after an error it takes a breath.
   */
  const POLL = /^\/_matrix\/client\/[^?]*\/(sync|events)\?(.*&)?timeout=[1-9]/;

  /** Whether requests that overlap, as those of a busy client do, have kept an update waiting for long. */
  function isPutOff() {
    return isInsisting && isUpdateWaiting();
  }

  /** Until when clients hold on: all until the same moment, or there would be none without any. */
  let quietUntil = 0;

  /** Clients repeat by themselves what is answered so. */
  function holdOn() {
    const now = Date.now();
    if (quietUntil < now + LEAST_HOLD_ON_MS) quietUntil = now + HOLD_ON_MS;
    const response = json(429, { errcode: "M_LIMIT_EXCEEDED", error: "This server is being updated.", retry_after_ms: quietUntil - now });
    response.headers.set("retry-after", "1");
    return response;
  }

  function respond(request, target) {
    if (isUpdateWaiting() && POLL.test(target)) return refusal(503, "This server is being updated.");
    if (isPutOff() && target.startsWith("/_matrix/")) return holdOn();
    if (target === "/_inglenook/hold") return hold();
    const [path, query] = target.split("?");
    if (path === "/_inglenook/worker") return status(new URLSearchParams(query).get("gateway"));
    if (path === "/_inglenook/naming") return naming();
    return answer(request, target);
  }

  /** Relays that could not be reached are dialled at once when the network is back. */
  function online() {
    current?.node?.online();
  }

  // Not all browsers tell workers: pages pass it on.
  self.addEventListener("online", online);

  self.addEventListener("fetch", (event) => {
    const { request } = event;
    const target = targetOf(request.url);
    if (target) event.respondWith(respond(request, target));
    else if (isShell(request)) event.respondWith(shell(event));
  });

  // ---------------------------------------------------------------------------------------------------------------
  // The application's shell: from the network, and where there is none, as it came last

  function isShell(request) {
    return request.method === "GET" && request.url.startsWith(scope) && !request.headers.has("range");
  }

  /** When the network last took too long. */
  let hungAt = -Infinity;

  async function shell(event) {
    const fetched = fresh(event);
    fetched.catch(() => {});
    try {
      return (await inTime(fetched)) ?? (await kept(event.request)) ?? (await fetched);
    } catch (error) {
      return (await kept(event.request)) ?? Response.error();
    }
  }

  async function fresh(event) {
    const response = await fetch(event.request);
    if (isKept(response)) alongside(event, keep(event.request.url, response.clone()));
    return response;
  }

  /** The network's answer, or undefined where it takes too long. */
  async function inTime(fetched) {
    const hangs = Date.now() - hungAt < HANGS_MS;
    const response = await Promise.race([fetched, sleep(hangs ? 0 : SHELL_MS)]);
    if (!response && !hangs) hungAt = Date.now();
    return response;
  }

  /** Keeps the worker for it where the event is not over yet; what came late has no claim to that. */
  function alongside(event, promise) {
    try {
      event.waitUntil(promise);
    } catch {
      promise.catch(() => {});
    }
  }

  function isKept(response) {
    return response.ok && response.type === "basic" && !response.redirected && !/no-store/.test(response.headers.get("cache-control") ?? "");
  }

  async function keep(url, response) {
    await (await caches.open(shellCache)).put(url, response);
  }

  async function kept(request) {
    const cache = await caches.open(shellCache);
    const navigates = request.mode === "navigate";
    return (await cache.match(request.url, { ignoreSearch: navigates })) ?? (navigates ? cache.match(scope) : undefined);
  }

  /** Fetches what a page names and what it had loaded before this worker saw its requests. */
  async function fetchShell(urls) {
    const cache = await caches.open(shellCache);
    const wanted = urls.filter((url) => url.startsWith(scope) && !targetOf(url));
    await Promise.allSettled(wanted.map(async (url) => {
      if (await cache.match(url)) return;
      const response = await fetch(url);
      if (isKept(response)) await cache.put(url, response);
    }));
  }

  // ---------------------------------------------------------------------------------------------------------------
  // Coming, and giving way

  self.addEventListener("install", (event) => {
    event.waitUntil(install());
  });

  async function install() {
    await compiled();
    await self.skipWaiting();
    // A browser does not activate this worker while the one before it has requests under way.
    siblings.postMessage({ type: "drain", from: me });
  }

  self.addEventListener("activate", (event) => {
    event.waitUntil(activate());
  });

  async function activate() {
    await self.clients.claim();
    const names = await caches.keys();
    const outdated = names.filter((name) => name.startsWith(`inglenook core ${scope} `) && name !== coreCache);
    await Promise.all(outdated.map((name) => caches.delete(name)));
  }

  siblings.addEventListener("message", ({ data }) => {
    if (data.from === me) return;
    if (data.type === "drain") drain();
    if (data.type === "release") giveWay();
  });

  /** A browser may end this worker and start it again while a newer one waits: so it is looked up, not remembered. */
  function isUpdateWaiting() {
    return self.registration.waiting !== null;
  }

  /** Whether an update is waited for, which may still be about to be installed; and whether clients are to hold on for it. */
  let isDraining = false;
  let isInsisting = false;

  /** Ends what waits, at once; all else is served until the next worker asks for the database. */
  async function drain() {
    const [instance, begun] = [current, Date.now()];
    isDraining = true;
    instance?.node?.stop();
    endHolds();
    do {
      await sleep(PUT_OFF_MS);
      isInsisting = true;
    } while (isUpdateWaiting() || Date.now() - begun < DRAIN_MS);
    isDraining = isInsisting = false;
    // The update did not come: a fresh instance, whose polls wait again.
    if (instance === current) await leave();
  }

  async function giveWay() {
    endHolds();
    await leave(unlock);
  }

  self.addEventListener("message", (event) => {
    const { type, urls } = event.data ?? {};
    if (type === "inglenook activate") event.waitUntil(self.skipWaiting());
    if (type === "inglenook claim") event.waitUntil(self.clients.claim());
    if (type === "inglenook shell") event.waitUntil(fetchShell(urls));
    if (type === "inglenook online") online();
    if (type === "inglenook stop") event.waitUntil(giveWay());
  });
})();
