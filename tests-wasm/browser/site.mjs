// Plain static hosting on a port of its own, so that each test has an origin, and so storage, to itself.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";

import { freePort } from "../port.mjs";

const PKG = new URL("../../pkg/", import.meta.url);
const TYPES = {
  ".js": "text/javascript",
  ".wasm": "application/wasm",
  ".html": "text/html",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};
const PAGE = "<!doctype html><meta charset=utf-8><title>Test page</title><p>A page.</p>";

/** Serves a page and the package under `folder`. */
export class Site {
  #server;
  #port;
  /** What the worker's script says it was built as; another name makes an update. */
  build = "first";
  /** A script of the test's own that runs in the worker before anything else. */
  preface = "";
  /** A built application to serve instead, as a URL of a folder. */
  application;
  /** Further files of the test's own, by name. */
  files = {};
  /** Whether requests are taken and never answered, as by a network that is about to go. */
  hangs = false;
  /** Paths as they were asked for. */
  requested = [];

  constructor(folder = "/") {
    this.folder = folder;
  }

  get url() {
    return `http://localhost:${this.#port}${this.folder}`;
  }

  async start() {
    this.#port ??= await freePort();
    this.#server = createServer((request, response) => void this.#answer(request, response));
    await new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
  }

  /** From now on the network is gone. */
  async stop() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request, response) {
    const path = request.url.split("?")[0];
    this.requested.push(path);
    if (this.hangs) return;
    const body = path.startsWith(this.folder) ? await this.#body(path.slice(this.folder.length)) : undefined;
    response.writeHead(body === undefined ? 404 : 200, { "content-type": TYPES[extname(path)] ?? "text/html" });
    response.end(body);
  }

  async #body(name) {
    if (Object.hasOwn(this.files, name)) return this.files[name];
    if (this.application) return readFile(new URL(name || "index.html", this.application)).catch(() => undefined);
    if (name === "" || name === "index.html") return PAGE;
    if (!/^inglenook[\w-]*\.(js|wasm)$/.test(name)) return undefined;
    const file = await readFile(new URL(name, PKG));
    return name === "inglenook-sw.js" ? this.preface + String(file).replace(/const BUILD = ".*"/, `const BUILD = "${this.build}"`) : file;
  }
}
