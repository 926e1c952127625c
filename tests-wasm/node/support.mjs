// What the tests of the Node host share: hosts as processes of their own, and the client-server API without a library.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const COMMAND = fileURLToPath(new URL("../../pkg/bin/inglenook.mjs", import.meta.url));

/** Runs the command to its end: its exit code and what it said. */
export async function run(args, env = {}) {
  const child = spawn(process.execPath, [COMMAND, ...args], { env: { PATH: process.env.PATH, ...env } });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const code = child.exitCode ?? (await new Promise((resolve) => child.once("exit", resolve)));
  return { code, stdout, stderr };
}

async function text(stream) {
  let all = "";
  for await (const piece of stream.setEncoding("utf8")) all += piece;
  return all;
}

/** A folder that is gone after the test. */
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "inglenook-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Starts a host and waits for its ready line; it is stopped after the test. It listens at a port of its own unless told where. */
export async function startHost(t, args = [], { env = {} } = {}) {
  const listen = args.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const child = spawn(process.execPath, [COMMAND, "serve", ...listen, "--registration", "open", "--rate-limits", "off", ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const errors = [];
  child.stderr.setEncoding("utf8").on("data", (piece) => errors.push(piece));
  const stop = async (signal = "SIGTERM") => {
    child.kill(signal);
    return exit;
  };
  t.after(() => stop("SIGKILL"));
  const lines = [];
  const ready = new Promise((resolve) => createInterface(child.stdout).on("line", (line) => resolve(lines.push(line))));
  await Promise.race([ready, exit]);
  const found = /^inglenook: ready: (\S+) at (.+)$/.exec(lines[0] ?? "");
  if (!found) throw new Error(`the host did not start: ${errors.join("")}`);
  const urls = found[2].split(" ");
  const stderr = () => errors.join("");
  const url = urls.find((url) => url.startsWith("http:"));
  return { name: found[1], urls, url, call: (...request) => call(url, ...request), child, exit, stop, lines, stderr };
}

/** A request of the client-server API: its status and body. */
export async function call(url, method, path, { token, body, headers = {} } = {}) {
  const json = body !== undefined && !(body instanceof Uint8Array);
  const response = await fetch(url + path, {
    method,
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...(json && { "content-type": "application/json" }), ...headers },
    body: json ? JSON.stringify(body) : body,
  });
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return { status: response.status, headers: response.headers, body: isJson ? await response.json() : Buffer.from(await response.arrayBuffer()) };
}

/** A person on a host, which is whatever has a `call`. Requests that are refused throw. */
export class User {
  constructor(host, account) {
    this.host = host;
    this.id = account.user_id;
    this.token = account.access_token;
    this.transactions = 0;
  }

  static async register(host, username) {
    const body = { username, password: "correct horse", auth: { type: "m.login.dummy" } };
    const { status, body: account } = await host.call("POST", "/_matrix/client/v3/register", { body });
    if (status !== 200) throw new Error(JSON.stringify(account));
    return new User(host, account);
  }

  async ask(method, path, body, headers) {
    const answer = await this.host.call(method, path, { token: this.token, body, headers });
    if (answer.status >= 300) throw Object.assign(new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`), answer);
    return answer.body;
  }

  get(path) {
    return this.ask("GET", `/_matrix/client/v3${path}`);
  }

  post(path, body = {}) {
    return this.ask("POST", `/_matrix/client/v3${path}`, body);
  }

  put(path, body = {}) {
    return this.ask("PUT", `/_matrix/client/v3${path}`, body);
  }

  async say(room, body) {
    this.transactions += 1;
    const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/t${this.transactions}`;
    return (await this.put(path, { msgtype: "m.text", body })).event_id;
  }

  /** Every event of a room, oldest first. */
  async history(room) {
    const events = [];
    for (let from = ""; ; ) {
      const page = await this.get(`/rooms/${encodeURIComponent(room)}/messages?dir=f&limit=100${from && `&from=${encodeURIComponent(from)}`}`);
      events.push(...page.chunk);
      if (!page.end) return events;
      from = page.end;
    }
  }

  /** Syncs until something was told that fits. */
  async hear(fits, { since } = {}) {
    for (;;) {
      const answer = await this.get(`/sync?timeout=10000${since ? `&since=${since}` : ""}`);
      since = answer.next_batch;
      const found = fits(answer);
      if (found) return found;
    }
  }

  /** Waits for a message with that text in a room. */
  hearMessage(room, body) {
    return this.hear((sync) => sync.rooms?.join?.[room]?.timeline.events.find((event) => event.content?.body === body));
  }
}
