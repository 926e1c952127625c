// Requests to other servers over HTTPS: where each is found, over which certificate, and within which bounds.
//
// https://spec.matrix.org/v1.19/server-server-api/#server-discovery

import https from "node:https";
import { isIP } from "node:net";
import tls from "node:tls";

import { lookupFor, isPrivate } from "./addresses.mjs";
import { Discovery } from "./discovery.mjs";

/** How long a server may take to accept a connection. */
const CONNECT_MS = 10_000;
/** How long it may take in all; the server above gives up after this as well. */
const WHOLE_MS = 60_000;
/** The largest answer: what the server above takes, which is the state of a room with tens of thousands of members. */
const MAX_ANSWER_BYTES = 64 << 20;
/** So many connections to one server at a time, each of which is kept for so long when nothing is to be sent. */
const MAX_SOCKETS = 16;
const KEPT_MS = 60_000;

/** A server's name that is nothing but its key: found by its relays, and not in the DNS. */
const BARE_KEY = /^[a-z2-7]{52}$/;

/** Failures after which the next place is tried, beside those of connecting itself: nobody has received the request. */
const NOT_CONNECTED = new Set(["NO_ADDRESS", "CONNECT_TIMEOUT", "PRIVATE_ADDRESS"]);

/** How a connection fails that the other end has closed. */
const CLOSED = new Set(["ECONNRESET", "EPIPE"]);

/** Sends requests to other servers. */
export class Federation {
  #resolve;
  #secureContext;
  #isAllowed;
  #agent = new https.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, timeout: KEPT_MS });
  #discovery;

  /** How many requests were answered and how many were not, for the metrics. */
  counts = { answered: 0, failed: 0 };

  /** `resolve` says where some names lead; `ca` are certificates of authorities to trust. `discovery` stands for the network in tests. */
  constructor({ resolve, ca, privateAddresses, discovery }) {
    this.#resolve = resolve;
    // Made once: reading all authorities takes more time than anything else about a connection.
    this.#secureContext = ca && tls.createSecureContext({ ca });
    this.#isAllowed = (address) => privateAddresses || !isPrivate(address);
    this.#discovery = discovery ?? new Discovery({ ca, isAllowed: this.#isAllowed });
  }

  /** Whether a server of that name can be looked up. */
  reaches(name) {
    return this.#resolve.has(name.toLowerCase()) || !BARE_KEY.test(name);
  }

  /** Sends a request and returns `{ status, headers, body }`. A file's body is a function that gives the next piece. */
  async send(name, method, target, headers, body) {
    const abort = new AbortController();
    const { signal } = abort;
    const timer = setTimeout(() => abort.abort(), WHOLE_MS);
    try {
      const answer = await this.#tryPlaces(await this.#places(name), { method, target, headers, body, signal });
      this.counts.answered += 1;
      return answer;
    } catch (error) {
      this.counts.failed += 1;
      throw signal.aborted ? Object.assign(new Error("no answer in time"), { code: "TIMED_OUT" }) : error;
    } finally {
      // From here on it is the server above that watches how a file comes.
      clearTimeout(timer);
    }
  }

  close() {
    this.#agent.destroy();
    this.#discovery.close();
  }

  /** Where to connect to, the best place first: `{ host, port, header, certificate }`. */
  async #places(name) {
    const configured = this.#resolve.get(name.toLowerCase());
    if (!configured) return this.#discovery.places(name);
    return [{ ...configured, header: name, certificate: name.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""), isConfigured: true }];
  }

  async #tryPlaces(places, request) {
    let failure = new Error("it has no address");
    for (const place of places) {
      try {
        return await this.#request(place, request);
      } catch (error) {
        failure = error;
        if (!isNotConnected(error)) throw error;
      }
    }
    throw failure;
  }

  /** A connection that was kept may have been closed by the other end just now: then the request goes over a new one. */
  async #request(place, request) {
    try {
      return await this.#once(place, request);
    } catch (error) {
      if (error.onKept && CLOSED.has(error.code) && request.method !== "POST") return this.#once(place, request);
      throw error;
    }
  }

  async #once(place, { method, target, headers, body, signal }) {
    const { host, port, header, certificate, isConfigured } = place;
    const lookup = isConfigured ? undefined : lookupFor(host, this.#isAllowed);
    return new Promise((resolve, reject) => {
      const request = https.request({
        host,
        port,
        method,
        path: target,
        headers: { ...Object.fromEntries(headers), host: header, "content-length": body?.length ?? 0 },
        agent: this.#agent,
        secureContext: this.#secureContext,
        servername: isIP(certificate) ? "" : certificate,
        checkServerIdentity: (_, peer) => tls.checkServerIdentity(certificate, peer),
        lookup,
        signal,
      });
      connectInTime(request);
      request.on("error", (error) => reject(Object.assign(error, { onKept: request.reusedSocket })));
      request.on("response", (response) => answered(response, target).then(resolve, reject));
      request.end(body);
    });
  }
}

/** Where a host has several addresses, the error holds one for each of them. */
function isNotConnected(error) {
  return error instanceof AggregateError || error.syscall === "connect" || NOT_CONNECTED.has(error.code);
}

/** Gives a new connection up that is not there in time; while a request waits for one of the connections, no time counts. */
function connectInTime(request) {
  request.on("socket", (socket) => {
    if (request.reusedSocket) return;
    const tooLate = () => request.destroy(Object.assign(new Error("nobody accepts the connection"), { code: "CONNECT_TIMEOUT" }));
    const timer = setTimeout(tooLate, CONNECT_MS);
    for (const event of ["secureConnect", "close"]) socket.once(event, () => clearTimeout(timer));
  });
}

/** Files, of whatever size, are read as they are stored. */
const FILE = /^\/_matrix\/(federation\/v1\/)?media\//;

async function answered(response, target) {
  const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  const isFile = response.statusCode === 200 && FILE.test(target);
  return { status: response.statusCode, headers, body: isFile ? nextOf(response) : await gather(response) };
}

/** Gives a response's pieces one after the other, and `undefined` behind the last. */
function nextOf(response) {
  const pieces = response[Symbol.asyncIterator]();
  // A file that nobody reads any more keeps no connection.
  response.setTimeout(WHOLE_MS, () => response.destroy(new Error("the file stands still")));
  return async () => (await pieces.next()).value;
}

async function gather(response) {
  const pieces = [];
  let size = 0;
  for await (const piece of response) {
    size += piece.length;
    if (size > MAX_ANSWER_BYTES) throw new Error("its answer is too large");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
