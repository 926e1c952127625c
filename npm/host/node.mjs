// Starts the wasm in Node.js: the same that runs in browsers, over this host's store, media and network.

import { readFile } from "node:fs/promises";
import { compileFunction } from "node:vm";

import { relayFetch, webSocket } from "./sockets.mjs";

/** Requests of a client that may come at once, and each second in the long run. */
const RATE_LIMITS = { burst: 100, perSecond: 50 };

/** Starts a node. `store`, `blobs` and `federation` are what it runs on. */
export async function startNode(options, { store, blobs, federation }) {
  const bindgen = await loadBindings(options);
  return bindgen.Node.start({
    host: {
      getMany: (keys) => store.getMany(keys),
      scan: (start, end, reverse, limit) => store.scan(start, end, reverse, limit),
      commit: (writes, strict, epoch) => store.commit(writes, strict, epoch),
      claim: () => store.claim(),
      measure: (start, end) => store.measure(start, end),
      putBlob: (id, body, limit) => blobs.put(id, body, limit),
      blobSize: (id) => blobs.size(id),
      readBlob: (id, start, end) => blobs.read(id, start, end),
      makeThumbnail: (id, thumbnail, width, height, crop) => blobs.makeThumbnail(id, thumbnail, { width, height, crop }),
      removeBlob: (id) => blobs.remove(id),
      reaches: (name) => federation.reaches(name),
      send: (name, method, target, headers, body) => federation.send(name, method, target, headers, body),
    },
    serverName: options.serverName,
    gateway: options.gateway,
    baseUrl: options.baseUrl,
    registrationClosed: options.registration === "closed",
    registrationToken: options.registrationToken,
    rateLimits: options.rateLimits ? RATE_LIMITS : undefined,
    relays: options.relays,
    notaries: options.notaries,
  });
}

/** The bindings are a classic script. They are given the sockets to relays as if these were the browser's. */
async function loadBindings(options) {
  const script = new URL("../inglenook-node.js", import.meta.url);
  const [source, wasm] = await Promise.all([readFile(script, "utf8"), readFile(new URL("../inglenook-node_bg.wasm", import.meta.url))]);
  const parameters = { self: globalThis, WebSocket: webSocket(options), fetch: relayFetch(options) };
  compileFunction(source, Object.keys(parameters), { filename: script.pathname })(...Object.values(parameters));
  const bindgen = globalThis.inglenookNode();
  bindgen.initSync({ module: await WebAssembly.compile(wasm) });
  return bindgen;
}
