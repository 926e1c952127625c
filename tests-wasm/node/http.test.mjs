// The listeners: garbage, limits, bodies in and out as fast as the other end takes them, many polls, clients that go away.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, stat } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { User, call, folder, startHost } from "./support.mjs";

const memory = ["--data", ":memory:", "--server-name", "example.org"];

/** What a listener says to bytes that need not be HTTP, until it closes the connection. */
async function raw(url, bytes) {
  const socket = net.connect({ host: "127.0.0.1", port: new URL(url).port });
  await once(socket, "connect");
  socket.on("error", () => {});
  socket.end(bytes);
  let said = "";
  socket.setEncoding("latin1").on("data", (piece) => (said += piece));
  await once(socket, "close");
  return said;
}

/** A figure of the metrics page. */
async function figure(host, name) {
  const { body } = await call(host.url, "GET", "/_inglenook/metrics");
  const line = body.toString().split("\n").find((line) => line.startsWith(`${name} `));
  return Number(line?.split(" ").at(-1));
}

/** Asks until the answer is true. */
async function until(ask) {
  while (!(await ask())) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("garbage is refused with the specification's errors, and served goes who asks next", async (t) => {
  const host = await startHost(t, memory);
  const alice = await User.register(host, "alice");
  for (const [method, path, body, status, errcode] of [
    ["GET", "/", undefined, 404, "M_UNRECOGNIZED"],
    ["GET", "/_matrix/client/v3/nothing", undefined, 404, "M_UNRECOGNIZED"],
    ["GET", "//", undefined, 404, "M_UNRECOGNIZED"],
    ["GET", "/_matrix/client/v3/profile/%ff", undefined, 400, "M_INVALID_PARAM"],
    ["DELETE", "/_matrix/client/versions", undefined, 405, "M_UNRECOGNIZED"],
    ["PATCH", "/_matrix/client/versions", undefined, 405, "M_UNRECOGNIZED"],
    ["POST", "/_matrix/client/v3/createRoom", Buffer.from("{"), 400, "M_NOT_JSON"],
    ["POST", "/_matrix/client/v3/createRoom", Buffer.from([0xff, 0xfe]), 400, "M_NOT_JSON"],
    ["POST", "/_matrix/client/v3/createRoom", Buffer.from("[]"), 400, "M_BAD_JSON"],
    ["POST", "/_matrix/client/v3/createRoom", Buffer.alloc((1 << 20) + 1, " "), 413, "M_TOO_LARGE"],
    ["POST", "/_matrix/client/v3/login", undefined, 400, "M_BAD_JSON"],
    ["PUT", "/_matrix/federation/v1/send/1", Buffer.from("{}"), 401, "M_UNAUTHORIZED"],
    ["PUT", "/_matrix/federation/v1/send/1", Buffer.alloc((10 << 20) + 1, " "), 413, "M_TOO_LARGE"],
    ["GET", "/_inglenook/log", undefined, 403, "M_FORBIDDEN"],
    ["PUT", "/_inglenook/relays", Buffer.from("{}"), 403, "M_FORBIDDEN"],
  ]) {
    const answer = await call(host.url, method, path, { token: alice.token, body });
    assert.deepEqual([answer.status, answer.body.errcode], [status, errcode], `${method} ${path}`);
  }
  for (const [bytes, said] of [
    ["\r\n\r\nnonsense\r\n\r\n", /^HTTP\/1\.1 400/],
    [randomBytes(5_000), /^HTTP\/1\.1 400|^$/],
    [`GET /${"x".repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, /^HTTP\/1\.1 431/],
    ["POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", /^HTTP\/1\.1 400/],
    ["POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", /^HTTP\/1\.1 400|^$/],
    ["POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{", /^HTTP\/1\.1 400|^$/],
    ["OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", /^HTTP\/1\.1 200/],
    ["GET http://a/_matrix/client/versions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", /^HTTP\/1\.1 404/],
    ["\x16\x03\x01\x00\x05hello", /^HTTP\/1\.1 400|^$/],
  ]) {
    assert.match(await raw(host.url, bytes), said, String(bytes).slice(0, 60));
  }
  assert.equal((await call(host.url, "GET", "/_inglenook/health")).status, 200);
  assert.equal(host.child.exitCode, null);
});

test("an announced body that is too large is refused before it comes", async (t) => {
  const host = await startHost(t, memory);
  const request = http.request(`${host.url}/_matrix/client/v3/login`, { method: "POST", headers: { "content-length": 500 << 20 } });
  request.on("error", () => {});
  request.write("{");
  const [response] = await once(request, "response");
  assert.equal(response.statusCode, 413);
  request.destroy();
});

test("files stream in and out, with ranges, and are limited", async (t) => {
  const host = await startHost(t, ["--data", await folder(t), "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const file = randomBytes(20 << 20);
  const { content_uri: uri } = await alice.ask("POST", "/_matrix/media/v3/upload", file, { "content-type": "application/x-disc" });
  const path = uri.replace("mxc://", "/_matrix/client/v1/media/download/");
  const download = (headers, method = "GET") => call(host.url, method, path, { token: alice.token, headers });
  const whole = await download();
  assert.ok(whole.body.equals(file));
  assert.equal(whole.headers.get("content-length"), String(file.length));
  const part = await download({ range: "bytes=1000000-1999999" });
  assert.deepEqual([part.status, part.headers.get("content-range")], [206, `bytes 1000000-1999999/${file.length}`]);
  assert.ok(part.body.equals(file.subarray(1_000_000, 2_000_000)));
  const last = await download({ range: "bytes=-5" });
  assert.ok(last.body.equals(file.subarray(-5)));
  assert.equal((await download({ range: `bytes=${file.length}-` })).status, 416);
  const head = await download({}, "HEAD");
  assert.deepEqual([head.status, head.headers.get("content-length"), head.body.length], [200, String(file.length), 0]);

  const { "m.upload.size": limit } = await alice.ask("GET", "/_matrix/client/v1/media/config");
  const tooLarge = http.request(`${host.url}/_matrix/media/v3/upload`, { method: "POST", headers: { authorization: `Bearer ${alice.token}`, "transfer-encoding": "chunked" } });
  tooLarge.on("error", () => {});
  const answered = once(tooLarge, "response");
  const piece = Buffer.alloc(1 << 20);
  for (let sent = 0; sent <= limit; sent += piece.length) if (!tooLarge.write(piece)) await Promise.race([once(tooLarge, "drain"), answered]);
  tooLarge.end();
  assert.equal((await answered)[0].statusCode, 413);
});

test("what a slow reader does not take is not read, and its end closes the file", async (t) => {
  const host = await startHost(t, ["--data", await folder(t), "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const { content_uri: uri } = await alice.ask("POST", "/_matrix/media/v3/upload", Buffer.alloc(30 << 20), { "content-type": "text/plain" });
  const before = await figure(host, "process_resident_memory_bytes");
  const url = host.url + uri.replace("mxc://", "/_matrix/client/v1/media/download/");
  const readers = await Promise.all(Array.from({ length: 20 }, async () => {
    const request = http.get(url, { headers: { authorization: `Bearer ${alice.token}` }, agent: false });
    const [response] = await once(request, "response");
    return response;
  }));
  await call(host.url, "GET", "/_inglenook/health");
  const grown = (await figure(host, "process_resident_memory_bytes")) - before;
  assert.ok(grown < 200 << 20, `20 readers of 30 MB who read nothing cost ${grown >> 20} MB`);
  for (const reader of readers) reader.destroy();
  assert.equal((await call(host.url, "GET", "/_inglenook/health")).status, 200);
});

test("thousands of polls of several users wait at once, hear what is theirs, and end when their clients go", async (t) => {
  const host = await startHost(t, memory);
  const users = await Promise.all(["alice", "bob", "carol", "dan", "eve", "frank"].map((name) => User.register(host, name)));
  // Each room has two of them.
  const rooms = [];
  for (let number = 0; number < users.length; number += 2) {
    const { room_id: room } = await users[number].post("/createRoom", { preset: "public_chat" });
    await users[number + 1].post(`/join/${encodeURIComponent(room)}`);
    rooms.push(room);
  }
  const agent = new http.Agent({ maxSockets: Infinity });
  // That they are there is news to each other.
  const withoutPresence = encodeURIComponent(JSON.stringify({ presence: { not_types: ["*"] } }));
  const poll = (user, since) => {
    const request = http.get(`${host.url}/_matrix/client/v3/sync?since=${since}&timeout=60000&filter=${withoutPresence}`, { headers: { authorization: `Bearer ${user.token}` }, agent });
    request.on("error", () => {});
    const poll = { request, isAnswered: false };
    poll.answer = once(request, "response").then(async ([response]) => {
      poll.isAnswered = true;
      return JSON.parse(Buffer.concat(await response.toArray()).toString());
    });
    poll.answer.catch(() => {});
    return poll;
  };
  /** With the request that asks. */
  const open = async (count) => until(async () => (await figure(host, "inglenook_http_requests_waiting")) === count + 1);

  const since = await Promise.all(users.map(async (user) => (await user.get("/sync")).next_batch));
  const waiting = users.map((user, number) => Array.from({ length: 500 }, () => poll(user, since[number])));
  await open(3_000);
  for (const [index, room] of rooms.entries()) {
    const sent = await users[2 * index].say(room, "hello");
    for (const { answer } of waiting.slice(2 * index, 2 * index + 2).flat()) {
      const { join } = (await answer).rooms;
      assert.deepEqual([Object.keys(join), join[room].timeline.events[0].event_id], [[room], sent]);
    }
    assert.ok(waiting.slice(2 * index + 2).flat().every(({ isAnswered }) => !isAnswered), "nobody is woken by what others are told");
  }

  // One that stays, and whose time is over first, is still waiting when those that came later have ended.
  const [alice] = users;
  const { next_batch: later } = await alice.get("/sync");
  const staying = poll(alice, later);
  await open(1);
  const leaving = Array.from({ length: 100 }, () => poll(alice, later));
  await open(101);
  for (const { request } of leaving) request.destroy();
  await open(1);
  assert.equal(staying.isAnswered, false);
  assert.ok((await figure(host, 'inglenook_http_requests_total{api="client",method="GET",status="499"}')) >= 100, "those who left are counted as such");
  staying.request.destroy();
  agent.destroy();
});

test("uploads take no memory for their size, and those that are given up leave nothing behind", async (t) => {
  const [dir, [count, size]] = [await folder(t), [6, 40 << 20]];
  const host = await startHost(t, ["--data", dir, "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const before = await figure(host, "process_resident_memory_bytes");
  const uploads = Array.from({ length: count }, () => {
    const headers = { authorization: `Bearer ${alice.token}`, "content-length": size + 1 };
    const request = http.request(`${host.url}/_matrix/media/v3/upload`, { method: "POST", agent: false, headers });
    request.on("error", () => {});
    return request;
  });
  const piece = Buffer.alloc(1 << 20);
  for (let sent = 0; sent < size; sent += piece.length) {
    await Promise.all(uploads.map((upload) => upload.write(piece) || once(upload, "drain")));
  }
  const incoming = join(dir, "media/incoming");
  const written = async () => {
    const sizes = (await readdir(incoming)).map(async (name) => (await stat(join(incoming, name))).size);
    return (await Promise.all(sizes)).reduce((sum, each) => sum + each, 0);
  };
  await until(async () => (await written()) === count * size);
  const grown = (await figure(host, "process_resident_memory_bytes")) - before;
  assert.ok(grown < 150 << 20, `${count} uploads of ${size >> 20} MB cost ${grown >> 20} MB`);
  for (const upload of uploads) upload.destroy();
  await until(async () => (await readdir(incoming)).length === 0);
  assert.deepEqual(await readdir(join(dir, "media")), ["incoming"]);
});

test("connections are kept, and figures are told", async (t) => {
  const host = await startHost(t, memory);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const sockets = new Set();
  for (let round = 0; round < 3; round += 1) {
    const request = http.get(`${host.url}/_matrix/client/versions`, { agent });
    request.on("socket", (socket) => sockets.add(socket));
    const [response] = await once(request, "response");
    await response.toArray();
  }
  assert.equal(sockets.size, 1);
  agent.destroy();
  assert.equal(await figure(host, `inglenook_http_requests_total{api="client",method="GET",status="200"}`), 3);
  assert.equal(await figure(host, `inglenook_http_request_seconds_count{api="client"}`), 4);
  assert.ok((await figure(host, "inglenook_store_batches_total")) > 0);
});
