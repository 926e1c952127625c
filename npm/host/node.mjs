// Starts the wasm in Node.js: the same that runs in browsers, over this host's store, media and network.

import { readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { compileFunction } from "node:vm";

import { WebSocket } from "ws";

import { hostOf, isPrivate, lookupFor } from "./addresses.mjs";

/** Requests of a client that may come at once, and each second in the long run. */
const RATE_LIMITS = { burst: 100, perSecond: 50 };

/** How long a relay may take to answer a request, and the largest answer that is taken from it. */
const RELAY_MS = 60_000;
const MAX_RELAYED_BYTES = 64 << 20;

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
    baseUrl: options.baseUrl,
    registrationClosed: options.registration === "closed",
    registrationToken: options.registrationToken,
    rateLimits: options.rateLimits ? RATE_LIMITS : undefined,
    relays: options.relays,
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

/** A WebSocket that trusts the operator's authorities, and reports no error beside its end. */
function webSocket({ ca }) {
  return class extends WebSocket {
    constructor(url) {
      super(url, { ca, perMessageDeflate: false });
      this.on("error", () => {});
    }
  };
}

/** As much of fetch as relays are asked with. Other servers name theirs; only the operator's own may have private addresses. */
function relayFetch({ ca, relays, privateAddresses }) {
  const own = new Set(relays.map((url) => new URL(url).origin));
  return async (request) => {
    const url = new URL(request.url);
    const isAllowed = (address) => privateAddresses || own.has(url.origin) || !isPrivate(address);
    const lookup = lookupFor(hostOf(url), isAllowed);
    const body = new Uint8Array(await request.arrayBuffer());
    return new Promise((resolve, reject) => {
      const settings = { method: request.method, headers: Object.fromEntries(request.headers), ca, lookup, signal: AbortSignal.timeout(RELAY_MS) };
      const asked = (url.protocol === "https:" ? https : http).request(url, settings);
      asked.on("error", reject);
      asked.on("response", (response) => gathered(response).then((bytes) => resolve({ arrayBuffer: async () => bytes }), reject));
      asked.end(body);
    });
  };
}

async function gathered(response) {
  const pieces = [];
  let size = 0;
  for await (const piece of response) {
    size += piece.length;
    if (size > MAX_RELAYED_BYTES) throw new Error("the relay's answer is too large");
    pieces.push(piece);
  }
  const bytes = Buffer.concat(pieces);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
}
