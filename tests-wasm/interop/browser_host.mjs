// A homeserver in a Chromium of its own, behind a relay that is a gateway: seen from here, a host like the others.

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "@playwright/test";

import { Site } from "../browser/site.mjs";
import { PlaywrightTab } from "../browser/tab.mjs";
import config from "../playwright.config.mjs";

const { launchOptions } = config.use;

export class BrowserHost {
  #site = new Site();
  #context;
  #profile;
  #settings;

  #place;

  /** Attaches to the relay at this URL, with a name below this domain; the port is the gateway's, certified by `ca`. */
  constructor({ relay, gateway, port, ca }) {
    this.#place = { host: "127.0.0.1", port, ca };
    this.#settings = `?relay=${encodeURIComponent(relay)}&gateway=${gateway}&burst=1000000&perSecond=1000000`;
  }

  async start() {
    if (!this.#profile) {
      this.#profile = await mkdtemp(join(tmpdir(), "inglenook-profile-"));
      await this.#site.start();
    }
    // The gateway's certificate is of an authority that this machine's browsers do not know.
    const args = [...launchOptions.args, "--ignore-certificate-errors"];
    this.#context = await chromium.launchPersistentContext(this.#profile, { ...launchOptions, args });
    this.tab = new PlaywrightTab(this.#context.pages()[0] ?? (await this.#context.newPage()));
    await this.tab.goto(this.#site.url);
    this.name = await this.tab.evaluate(startInPage, this.#settings);
  }

  /** Closes the browser, and with it the worker. */
  async stop() {
    await this.#context?.close();
  }

  async remove() {
    await this.stop();
    await this.#site.stop();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** A request to the node, made in its page. Bodies of bytes travel as base64. */
  async call(method, path, { token, body, headers } = {}) {
    const bytes = body instanceof Uint8Array ? Buffer.from(body).toString("base64") : undefined;
    const json = bytes === undefined && body !== undefined ? JSON.stringify(body) : undefined;
    const answer = await this.tab.evaluate(callInPage, { method, path, token, json, bytes, headers });
    const isJson = answer.headers["content-type"]?.startsWith("application/json");
    const content = Buffer.from(answer.body, "base64");
    return { status: answer.status, headers: new Headers(answer.headers), body: isJson ? JSON.parse(content) : content };
  }

  /** A request as anybody on the network makes it, who comes to the gateway. */
  async reach(method, path, { body }) {
    const request = https.request({ ...this.#place, method, path, servername: this.name, headers: { host: this.name, "content-type": "application/json" } });
    request.end(JSON.stringify(body));
    const [response] = await once(request, "response");
    const pieces = await response.toArray();
    return { status: response.statusCode, body: JSON.parse(Buffer.concat(pieces)) };
  }
}

/** Runs in the page. */
async function startInPage(settings) {
  const { startNode } = await import("./inglenook.js");
  window.node = await startNode({ serviceWorker: `inglenook-sw.js${settings}` });
  return window.node.serverName;
}

/** Runs in the page. */
async function callInPage({ method, path, token, json, bytes, headers }) {
  const body = bytes === undefined ? json : Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
  const response = await fetch(window.node.baseUrl + path, {
    method,
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...(json !== undefined && { "content-type": "application/json" }), ...headers },
    body,
  });
  const content = await response.blob();
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(content);
  });
  return { status: response.status, headers: Object.fromEntries(response.headers), body: url.slice(url.indexOf(",") + 1) };
}
