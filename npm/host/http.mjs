// The listeners: which requests are whose, bodies in and answers out, each as fast as the other end takes it.

import http from "node:http";
import https from "node:https";
import { pipeline } from "node:stream/promises";

/** The paths of other servers, and those on which files are uploaded. */
const FEDERATION = /^\/(_matrix\/(federation|key)\/|\.well-known\/matrix\/server$|_inglenook\/relay\/v1\/record\/)/;
const UPLOAD = /^\/_matrix\/media\/[^/]+\/upload(\/|$)/;

/** What shows the server's inside, or changes it, to any user: in a browser all users are one person, here they are not. */
const INSPECTION = /^\/_inglenook\/(status|requests|log|relays|record|records|rooms\/[^/]+\/graph)(\/|$)/;

/** What every answer has, so that web pages may read it: https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients */
const CORS = [
  ["access-control-allow-origin", "*"],
  ["access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"],
  ["access-control-allow-headers", "X-Requested-With, Content-Type, Authorization"],
];

const METRICS = "/_inglenook/metrics";
const HEALTH = "/_inglenook/health";

/** The largest bodies that are read into memory; the node refuses what is larger with the same limits. */
const MAX_CLIENT_BODY = 1 << 20;
const MAX_FEDERATION_BODY = 10 << 20;

/** What is still read, and thrown away, of a body that was refused: a client that is cut off sees no answer. */
const MAX_DISCARDED = 64 << 20;

/** How long an idle connection is kept: longer than proxies keep theirs, so that they do not write into a closed one. */
const KEEP_ALIVE_MS = 75_000;
/** How long a client may take for TLS and for a request's head, and for all of it: a large file over a slow line. */
const HEAD_MS = 30_000;
const REQUEST_MS = 30 * 60_000;
/** How long a body may take that is gathered in memory, and how long a reader may take nothing of an answer. */
const PATIENCE = { bodyMs: 60_000, stallMs: 60_000 };

/** So many connections a listener has at most, a few kilobytes each: a host is for thousands of polls. */
const MAX_CONNECTIONS = 20_000;

/** What is counted where the client did not wait for the answer, as nginx does. */
const CLIENT_LEFT = 499;

/** Why a body was not gathered, and what its sender is told. */
const TOO_LARGE = [413, "M_TOO_LARGE", "The body is too large."];
const TOO_SLOW = [408, "M_UNKNOWN", "The body did not come in time."];
const NO_ROOM = [503, "M_LIMIT_EXCEEDED", "The server has too much to do at once; try again."];

/** Serves a node over HTTP and HTTPS. */
export class Front {
  #node;
  #store;
  #blobs;
  #metrics;
  #log;
  #inspection;
  #callers;
  #patience;
  #servers = [];
  #pending = new Set();

  constructor({ node, store, blobs, metrics, log, inspection, callers, patience = PATIENCE }) {
    this.#node = node;
    this.#store = store;
    this.#blobs = blobs;
    this.#metrics = metrics;
    this.#log = log;
    this.#inspection = inspection;
    this.#callers = callers;
    this.#patience = patience;
  }

  /** Listens; over TLS with a certificate and its key. Returns the URL, with the port that was given. */
  async listen({ host, port }, identity) {
    const settings = { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEAD_MS, requestTimeout: REQUEST_MS, handshakeTimeout: HEAD_MS, noDelay: true };
    const listener = (request, response) => this.#track(this.#receive(request, response));
    const server = identity ? https.createServer({ ...settings, ...identity }, listener) : http.createServer(settings, listener);
    server.maxConnections = MAX_CONNECTIONS;
    server.on("connection", (socket) => this.#callers.connect(socket) || socket.destroy());
    // A handshake that fails, or bytes that are no HTTP, are the other end's affair.
    server.on("tlsClientError", (error) => this.#log.debug(`TLS: ${error.message}`));
    await new Promise((resolve, reject) => {
      server.once("error", (error) => reject(new Error(`cannot listen on ${host}:${port}: ${error.message}`)));
      server.listen({ host, port }, resolve);
    });
    server.on("error", (error) => this.#log.error(`a listener failed: ${error.message}`));
    this.#servers.push(server);
    const shown = host.includes(":") ? `[${host}]` : host;
    return `${identity ? "https" : "http"}://${shown}:${server.address().port}`;
  }

  /** Takes another certificate for connections that come from now on. */
  renew(identity) {
    for (const server of this.#servers) server.setSecureContext?.(identity);
  }

  /** Takes no more connections, and waits for the answers that are under way, for so long at most. */
  async close(millis) {
    for (const server of this.#servers) {
      server.close();
      server.closeIdleConnections();
    }
    let timer;
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, millis)));
    await Promise.race([Promise.allSettled(this.#pending), patience]);
    clearTimeout(timer);
    for (const server of this.#servers) server.closeAllConnections();
  }

  #track(answering) {
    this.#pending.add(answering);
    answering.finally(() => this.#pending.delete(answering));
  }

  async #receive(request, response) {
    const began = performance.now();
    this.#metrics.asked();
    const [path] = request.url.split("?");
    const api = FEDERATION.test(path) ? "federation" : "client";
    try {
      await this.#respond(request, response, path, api);
    } catch (error) {
      this.#failed(response, error);
    }
    const seconds = (performance.now() - began) / 1000;
    const status = response.destroyed && !response.writableEnded ? CLIENT_LEFT : response.statusCode;
    this.#metrics.answered({ api, method: request.method, status, seconds, isPoll: isPoll(request.url) });
    this.#log.debug(`${request.method} ${path} ${status} ${(seconds * 1000).toFixed(1)} ms`);
  }

  async #respond(request, response, path, api) {
    if (!this.#callers.ask(request, response)) return this.#refuse(request, response, 429, "M_LIMIT_EXCEEDED", "Too many requests of your address are being answered.");
    if (path === METRICS) return this.#send(response, await this.#metrics.page());
    if (!this.#inspection && INSPECTION.test(path)) return this.#refuse(request, response, 403, "M_FORBIDDEN", "This server shows its inside to nobody.");
    const illness = path === HEALTH ? await this.#illness() : undefined;
    if (illness) return this.#refuse(request, response, 503, "M_UNKNOWN", illness);
    const head = { method: request.method, headers: headers(request), stream: request };
    // A poll whose client is gone need not wait any longer.
    if (isPoll(request.url)) head.gone = new Promise((resolve) => response.once("close", resolve));
    const isUpload = UPLOAD.test(path) && (request.method === "POST" || request.method === "PUT");
    const answer = isUpload ? await this.#node.handle(head, request.url) : await this.#answer(request, response, head, api);
    if (Array.isArray(answer)) return this.#refuse(request, response, ...answer);
    if (!answer) return;
    await this.#send(response, answer);
    discard(request);
  }

  /** The node's answer to a request whose body is gathered first, or why it was not; nothing where the client has gone. */
  async #answer(request, response, head, api) {
    const held = this.#callers.hold();
    try {
      const body = await this.#bodyOf(request, api, held);
      if (Array.isArray(body)) return body;
      if (request.errored || response.destroyed) return undefined;
      return await (api === "federation" ? this.#node.federation(head, request.url, body) : this.#node.handle(head, request.url, body));
    } finally {
      held.release();
    }
  }

  /** The whole body, or why it is not taken. */
  async #bodyOf(request, api, held) {
    let timer;
    const tooLate = new Promise((resolve) => (timer = setTimeout(() => resolve(TOO_SLOW), this.#patience.bodyMs)));
    const gathering = gathered(request, api === "federation" ? MAX_FEDERATION_BODY : MAX_CLIENT_BODY, held);
    // After the time is over nobody waits for it any more.
    gathering.catch(() => {});
    try {
      return await Promise.race([gathering, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What is wrong with what the node stands on. */
  async #illness() {
    try {
      await this.#store.check();
      return undefined;
    } catch (error) {
      return error.message;
    }
  }

  async #send(response, { status, headers, body }) {
    if (response.destroyed) return;
    // Time counts where nothing is taken, and not where it is taken slowly.
    response.setTimeout(this.#patience.stallMs, () => response.destroy());
    response.writeHead(status, headers.flat());
    for (const part of body) {
      if (part instanceof Uint8Array) await this.#write(response, part);
      else await pipeline(this.#blobs.stream(...part), response, { end: false });
    }
    if (!response.destroyed) response.end();
  }

  /** Waits where the other end does not take it as fast as it comes. */
  async #write(response, bytes) {
    if (response.write(bytes) || response.destroyed) return;
    await new Promise((resolve) => {
      response.once("drain", resolve);
      response.once("close", resolve);
    });
  }

  async #refuse(request, response, status, errcode, error) {
    const body = Buffer.from(JSON.stringify({ errcode, error }));
    const headers = [["content-type", "application/json"], ["content-length", String(body.length)], ...CORS];
    // Who does not send what was announced need not keep a connection.
    if (status === TOO_SLOW[0]) headers.push(["connection", "close"]);
    await this.#send(response, { status, headers, body: [body] });
    discard(request);
  }

  /** A client that has gone away is no failure of ours. */
  #failed(response, error) {
    if (response.destroyed || error.code === "ECONNRESET" || error.code === "ERR_STREAM_PREMATURE_CLOSE") {
      response.destroy();
      return;
    }
    this.#log.error(`a request could not be answered: ${error.stack ?? error}`);
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ errcode: "M_UNKNOWN", error: "The server failed." }));
  }
}

/** The headers as the node reads them from a request of fetch. */
function headers(request) {
  return new Map(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
}

/** The whole body, or why it is not taken. */
async function gathered(request, limit, held) {
  if (Number(request.headers["content-length"]) > limit) return TOO_LARGE;
  const pieces = [];
  let size = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    size += piece.length;
    if (size > limit) return TOO_LARGE;
    if (!held.take(piece.length)) return NO_ROOM;
    pieces.push(piece);
  }
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}

/** Reads the rest of a body that nobody wants, so that the connection can go on; up to a limit. */
function discard(request) {
  if (request.complete) return;
  let size = 0;
  request.on("data", (piece) => {
    size += piece.length;
    if (size > MAX_DISCARDED) request.destroy();
  });
  request.on("error", () => {});
  request.resume();
}

function isPoll(url) {
  return /^\/(_matrix\/client\/[^?]*\/(sync|events)|_inglenook\/rooms\/[^/?]+\/delivery)\?/.test(url);
}
