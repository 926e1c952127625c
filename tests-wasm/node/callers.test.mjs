// What strangers may take of a host: connections, memory and time.
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import http from "node:http";
import net from "node:net";
import { test } from "node:test";

import { Callers } from "../../pkg/host/callers.mjs";
import { Front } from "../../pkg/host/http.mjs";
import { User, call, startHost } from "./support.mjs";

const from = (remoteAddress) => Object.assign(new EventEmitter(), { remoteAddress });
const asking = (headers, remoteAddress = "10.0.0.1") => ({ headers, socket: { remoteAddress } });

/** Asks until the answer is true. */
async function until(ask) {
  while (!(await ask())) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("an address has so many connections at a time, a household of IPv6 as many, and a private network any number", () => {
  const callers = new Callers({ connections: 2 });
  const [first, second] = [from("1.1.1.1"), from("::ffff:1.1.1.1")];
  assert.deepEqual([callers.connect(first), callers.connect(second)], [true, true]);
  assert.equal(callers.connect(from("1.1.1.1")), false);
  assert.equal(callers.connect(from("1.1.1.2")), true);
  first.emit("close");
  assert.equal(callers.connect(from("1.1.1.1")), true);
  const household = ["2a00:1450:1:2::1", "2a00:1450:1:2:ffff::9", "2a00:1450:1:2:3:4:5:6"].map((address) => callers.connect(from(address)));
  assert.deepEqual(household, [true, true, false]);
  assert.deepEqual(["2a00:1450:1:3::1", "2a00:1450::", "2a00:1450::2"].map((address) => callers.connect(from(address))), [true, true, true]);
  for (const address of ["127.0.0.1", "::1", "192.168.0.1", "fd00::1"]) {
    for (let count = 0; count < 9; count += 1) assert.equal(callers.connect(from(address)), true);
  }
  const unlimited = new Callers({ connections: 0 });
  for (let count = 0; count < 999; count += 1) assert.equal(unlimited.connect(from("1.1.1.1")), true);
});

test("a proxy is believed where the operator says so, and counted nowhere", () => {
  const callers = new Callers({ connections: 1, forwarded: "X-Forwarded-For" });
  for (let count = 0; count < 9; count += 1) assert.equal(callers.connect(from("1.1.1.1")), true);
  const answer = new EventEmitter();
  const ask = (list, response = new EventEmitter()) => callers.ask(asking({ "x-forwarded-for": list }), response);
  assert.equal(ask("9.9.9.9, 1.1.1.1", answer), true);
  assert.equal(ask("8.8.8.8,1.1.1.1"), false, "what came before the last is anybody's word");
  assert.equal(ask("9.9.9.9"), true);
  assert.equal(ask("[2a00::1]"), true);
  assert.equal(ask("2a00::2"), false);
  answer.emit("close");
  assert.equal(ask("1.1.1.1"), true);
  for (let count = 0; count < 9; count += 1) assert.equal(ask("unknown"), true);
  const without = new Callers({ connections: 1 });
  for (let count = 0; count < 9; count += 1) assert.equal(without.ask(asking({ "x-forwarded-for": "1.1.1.1" }), new EventEmitter()), true);
});

test("bytes are counted until they are let go", () => {
  const callers = new Callers({ connections: 0, bytes: 10 });
  const [first, second] = [callers.hold(), callers.hold()];
  assert.deepEqual([first.take(4), first.take(4), second.take(1), second.take(2)], [true, true, true, false]);
  first.release();
  assert.equal(first.take(1), false, "what comes afterwards is nobody's");
  assert.deepEqual([second.take(9), second.take(1)], [true, false]);
});

/** A listener over a node that answers as it is told, and what was counted. */
async function front(t, { answer = {}, bytes, patience } = {}) {
  const counted = [];
  const handle = async () => ({ status: 200, headers: [], body: [Buffer.from("{}")], ...answer });
  const metrics = { asked() {}, answered: (request) => counted.push(request) };
  const log = { debug() {}, error() {} };
  const front = new Front({ node: { handle, federation: handle }, metrics, log, callers: new Callers({ connections: 0, bytes }), patience });
  t.after(() => front.close(0));
  return { url: await front.listen({ host: "127.0.0.1", port: 0 }), counted };
}

/** A transaction of that size, of which half is sent. */
function half(url, size) {
  const request = http.request(`${url}/_matrix/federation/v1/send/1`, { method: "PUT", agent: false, headers: { "content-length": size } });
  request.on("error", () => {});
  request.write(Buffer.alloc(size / 2));
  return request;
}

test("where there is no more room for bodies, requests are refused until there is", async (t) => {
  const { url } = await front(t, { bytes: 1 << 20 });
  const held = [half(url, 1 << 20), half(url, 1 << 20)];
  const whole = () => call(url, "PUT", "/_matrix/federation/v1/send/2", { body: Buffer.alloc(600 << 10) });
  let refused;
  await until(async () => (refused = await whole()).status === 503);
  assert.equal(refused.body.errcode, "M_LIMIT_EXCEEDED");
  assert.equal((await call(url, "GET", "/_matrix/client/versions")).status, 200, "what has no body needs no room");
  for (const request of held) request.destroy();
  await until(async () => (await whole()).status === 200);
});

test("a body that does not come is not waited for, unless it is a file", async (t) => {
  const { url } = await front(t, { patience: { bodyMs: 20, stallMs: 60_000 } });
  const request = half(url, 1000);
  const [response] = await once(request, "response");
  assert.equal(response.statusCode, 408);
  response.resume();
  await once(request, "close");

  const upload = http.request(`${url}/_matrix/media/v3/upload`, { method: "POST", agent: false, headers: { "content-length": 1000 } });
  upload.on("error", () => {});
  upload.flushHeaders();
  assert.equal((await once(upload, "response"))[0].statusCode, 200, "the node reads it");
  upload.destroy();
});

test("a reader who takes nothing is cut off, and counted as one who has left", async (t) => {
  const part = Buffer.alloc(8 << 20);
  const { url, counted } = await front(t, { answer: { body: [part, part, part, part] }, patience: { bodyMs: 60_000, stallMs: 50 } });
  const socket = net.connect(new URL(url).port, "127.0.0.1");
  socket.on("error", () => {});
  socket.pause();
  socket.write("GET /_matrix/client/versions HTTP/1.1\r\nhost: a\r\n\r\n");
  await until(() => counted.length > 0);
  assert.equal(counted[0].status, 499);
  socket.destroy();
});

test("requests that wait on purpose are told apart", async (t) => {
  const { url, counted } = await front(t);
  for (const [path, isPoll] of [
    ["/_matrix/client/v3/sync?timeout=1", true],
    ["/_matrix/client/v3/events?from=1", true],
    ["/_inglenook/rooms/!a:b/delivery?event_id=$a&timeout=1", true],
    ["/_inglenook/pending_joins?limit=1", false],
    ["/_matrix/client/v3/rooms/!a:b/messages?dir=b", false],
  ]) {
    await call(url, "GET", path);
    assert.equal(counted.at(-1).isPoll, isPoll, path);
  }
});

test("transactions of strangers that never end cost a bounded amount of memory", async (t) => {
  const host = await startHost(t, ["--data", ":memory:", "--server-name", "example.org"]);
  const resident = async () => Number(/^process_resident_memory_bytes (\d+)$/m.exec((await call(host.url, "GET", "/_inglenook/metrics")).body)[1]);
  const before = await resident();
  const requests = Array.from({ length: 40 }, () => half(host.url, 10 << 20));
  let refused = 0;
  for (const request of requests) request.on("response", (response) => (refused += response.statusCode === 503 ? 1 : 0));
  await until(() => refused >= 40 - 13);
  const grown = (await resident()) - before;
  assert.ok(grown < 200 << 20, `40 halves of 10 MB cost ${grown >> 20} MB`);
  await User.register(host, "alice").catch((error) => assert.match(error.message, /M_LIMIT_EXCEEDED/));
  for (const request of requests) request.destroy();
  await until(() => User.register(host, "bob").then(() => true, () => false));
});

test("behind a proxy each address has so many requests at a time", async (t) => {
  const host = await startHost(t, ["--data", ":memory:", "--forwarded-header", "X-Forwarded-For", "--address-connections", "2"]);
  const alice = await User.register(host, "alice");
  const { next_batch: since } = await alice.get("/sync");
  const asked = (address, path) => alice.ask("GET", path, undefined, { "x-forwarded-for": address });
  const polls = [1, 2].map(() => asked("1.1.1.1", `/_matrix/client/v3/sync?since=${since}&timeout=25000`));
  const waiting = async () => / 3$/m.test(/^inglenook_http_requests_waiting .*$/m.exec((await call(host.url, "GET", "/_inglenook/metrics")).body)[0]);
  await until(waiting);
  await assert.rejects(asked("1.1.1.1", "/_matrix/client/versions"), { status: 429 });
  await asked("1.1.1.2", "/_matrix/client/versions");
  await alice.post("/createRoom");
  await Promise.all(polls);
  await until(() => asked("1.1.1.1", "/_matrix/client/versions").then(() => true, () => false));
});
