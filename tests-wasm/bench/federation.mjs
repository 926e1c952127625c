// Two nodes in browsers and the relay between them: how long a message takes, and a backlog. As JSON lines.
//
//   cargo xtask bench federation [--quick]
import { chromium } from "@playwright/test";

import config from "../playwright.config.mjs";
import { Relay } from "../browser/relay.mjs";
import { Site } from "../browser/site.mjs";
import { PlaywrightTab } from "../browser/tab.mjs";

const quick = process.argv.includes("--quick");
const [messages, backlog] = quick ? [30, 500] : [200, 10_000];
const report = (name, figures) => console.log(JSON.stringify({ name, ...figures }));

const relay = new Relay();
await relay.start();
const site = new Site();
await site.start();
const browser = await chromium.launch(config.use.launchOptions);

/** A profile with a node of its own, and an account. */
class Node {
  async start(name) {
    this.context = await browser.newContext();
    this.name = name;
    await this.open();
    Object.assign(this, await this.tab.evaluate(register, name));
    await this.open();
    return this;
  }

  async open() {
    this.tab = new PlaywrightTab(await this.context.newPage());
    await this.tab.goto(site.url);
    await this.tab.evaluate(begin, `?relay=${encodeURIComponent(relay.url)}&burst=1000000&perSecond=1000000`, this.token);
  }

  async close() {
    const killer = await this.tab.workerKiller();
    await this.tab.goto("about:blank");
    await killer.kill();
    await this.tab.close();
  }

  call(method, path, body) {
    return this.tab.evaluate((method, path, body) => window.call(method, path, body), method, path, body);
  }
}

/** Runs in the page. */
async function begin(settings, token) {
  const { startNode } = await import("./inglenook.js");
  window.node = await startNode({ serviceWorker: `inglenook-sw.js${settings}` });
  window.call = async (method, path, body) => {
    const response = await fetch(`${window.node.baseUrl}${path}`, { method, body: body && JSON.stringify(body), headers: token ? { authorization: `Bearer ${token}` } : {} });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  };
  window.now = () => performance.timeOrigin + performance.now();
}

/** Runs in the page. */
async function register(username) {
  const answer = await window.call("POST", "/_matrix/client/v3/register", { username, password: "correct horse battery staple", auth: { type: "m.login.dummy" } });
  return { token: answer.access_token, user: answer.user_id };
}

/** Runs in the page: when the sync after `since` has told of a message. */
async function told(since) {
  for (let from = since; ; ) {
    const sync = await window.call("GET", `/_matrix/client/v3/sync?timeout=25000&since=${from}`);
    const events = Object.values(sync.rooms?.join ?? {}).flatMap(({ timeline }) => timeline?.events ?? []);
    if (events.some(({ type }) => type === "m.room.message")) return { at: window.now(), since: sync.next_batch };
    from = sync.next_batch;
  }
}

/** Runs in the page. */
async function sendAll(room, count, first) {
  for (let sent = 0; sent < count; ) {
    const batch = Array.from({ length: Math.min(8, count - sent) }, (_, index) => first + sent + index);
    await Promise.all(batch.map((number) => window.call("PUT", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/b${number}`, { msgtype: "m.text", body: `Message ${number}` })));
    sent += batch.length;
  }
}

async function until(probe) {
  while (!(await probe().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 20));
}

const attached = (node) => until(async () => (await node.call("GET", "/_inglenook/relays")).relays.every(({ state }) => state === "attached"));

try {
  const [ada, bo] = [await new Node().start("ada"), await new Node().start("bo")];
  await Promise.all([attached(ada), attached(bo)]);
  const { room_id: room } = await ada.call("POST", "/_matrix/client/v3/createRoom", { preset: "public_chat" });
  const name = ada.user.slice(ada.user.indexOf(":") + 1);
  const begun = performance.now();
  await bo.call("POST", `/_matrix/client/v3/join/${encodeURIComponent(room)}?via=${name}`, {});
  report("join of a small room", { unit: "ms", value: Math.round(performance.now() - begun) });

  const times = [];
  let { next_batch: since } = await bo.call("GET", "/_matrix/client/v3/sync");
  for (let number = 0; number < messages; number += 1) {
    const waiting = bo.tab.evaluate(told, since);
    const sent = await ada.tab.evaluate(async (room, number) => {
      const at = window.now();
      await window.call("PUT", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/m${number}`, { msgtype: "m.text", body: "Hello" });
      return at;
    }, room, number);
    const { at, since: next } = await waiting;
    times.push(at - sent);
    since = next;
  }
  times.sort((a, b) => a - b);
  const figure = (share) => Math.round(times[Math.floor((times.length - 1) * share)] * 10) / 10;
  report("from a PUT at one node to the sync of another, through a relay", { unit: "ms", runs: times.length, p50: figure(0.5), p95: figure(0.95), aim: 15 });

  await bo.close();
  const written = performance.now();
  await ada.tab.evaluate(sendAll, room, backlog, 0);
  report(`writing a backlog of ${backlog} events`, { unit: "s", value: Math.round((performance.now() - written) / 100) / 10 });
  const caught = performance.now();
  await bo.open();
  const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=8`;
  await until(async () => (await bo.call("GET", path)).chunk.some(({ content }) => content.body === `Message ${backlog - 1}`));
  const seconds = (performance.now() - caught) / 1000;
  report(`taking in a backlog of ${backlog} events`, { unit: "s", value: Math.round(seconds * 10) / 10, events_per_second: Math.round(backlog / seconds) });
} finally {
  await browser.close();
  await site.stop();
  await relay.remove();
}
