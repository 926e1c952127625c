// What the wasm reaches relays with, in the shape that browsers have it: WebSockets, and as much of fetch as it uses.

import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

import { hostOf, isPrivate, lookupFor } from "./addresses.mjs";

/** How long a relay may take to answer, and how long its answer may stand still: files come as fast as they are stored. */
const RELAY_MS = 60_000;

/** Loaded for the first relay, and as it is: what Node.js does to import it as a module would stay in memory, 4 MB of it. */
const require = createRequire(import.meta.url);

/** What `new` makes a WebSocket of that trusts the operator's authorities, and reports no error beside its end. */
export function webSocket({ ca }) {
  return function (url) {
    const { WebSocket } = require("ws");
    const socket = new WebSocket(url, { ca, perMessageDeflate: false });
    socket.on("error", () => {});
    return socket;
  };
}

/** As much of fetch as relays are asked with. Other servers name theirs; only the operator's own may have private addresses. */
export function relayFetch({ ca, relays, privateAddresses }) {
  const own = new Set(relays.map((url) => new URL(url).origin));
  return async (request) => {
    const url = new URL(request.url);
    // The operator's own are found as the system finds them.
    const lookup = own.has(url.origin) ? undefined : lookupFor(hostOf(url), (address) => privateAddresses || !isPrivate(address));
    const body = new Uint8Array(await request.arrayBuffer());
    return new Promise((resolve, reject) => {
      const settings = { method: request.method, headers: Object.fromEntries(request.headers), ca, lookup };
      const asked = (url.protocol === "https:" ? https : http).request(url, settings);
      const timer = setTimeout(() => asked.destroy(new Error("the relay does not answer")), RELAY_MS);
      asked.on("close", () => clearTimeout(timer));
      asked.on("error", reject);
      asked.on("response", (response) => {
        clearTimeout(timer);
        resolve(new Response(streamed(response)));
      });
      asked.end(body);
    });
  };
}

/** An answer's body as it comes. One that nobody reads, or that does not come, keeps no connection. */
function streamed(response) {
  response.setTimeout(RELAY_MS, () => response.destroy(new Error("the relay's answer stands still")));
  return Readable.toWeb(response);
}
