// Hosts with listeners of their own that find each other by name and talk over TLS.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFile, readFile } from "node:fs/promises";
import https from "node:https";
import { test } from "node:test";
import { connect } from "node:tls";

import { Federation } from "../../pkg/host/federation.mjs";
import { freePort } from "../port.mjs";
import { makeAuthority } from "./authority.mjs";
import { User, call, folder, run, startHost } from "./support.mjs";

/** Starts hosts of these names on ports of their own, each of which knows where the others are. */
async function startTown(t, names) {
  const authority = await makeAuthority(t);
  const ports = new Map(await Promise.all(names.map(async (name) => [name, await freePort()])));
  const resolve = names.flatMap((name) => ["--federation-resolve", `${name}=127.0.0.1:${ports.get(name)}`]);
  const start = async (name, data) => {
    const { cert, key } = await authority.certify(name);
    const tls = ["--listen-tls", `127.0.0.1:${ports.get(name)}`, "--tls-cert", cert, "--tls-key", key, "--ca", authority.ca];
    return startHost(t, ["--server-name", name, "--data", data ?? (await folder(t)), ...tls, ...resolve]);
  };
  return { authority, ports, start };
}

const mediaPath = (uri) => uri.replace("mxc://", "/_matrix/client/v1/media/download/");

test("two hosts federate: join by alias, messages both ways, media, and a restart in between", async (t) => {
  const town = await startTown(t, ["a.example", "b.example"]);
  const data = await folder(t);
  const [a, b] = [await town.start("a.example", data), await town.start("b.example")];
  const [alice, bob] = [await User.register(a, "alice"), await User.register(b, "bob")];
  const { room_id: room } = await alice.post("/createRoom", { preset: "public_chat", room_alias_name: "hearth" });
  const { room_id: joined } = await bob.post(`/join/${encodeURIComponent("#hearth:a.example")}`);
  assert.equal(joined, room);

  const heardByBob = bob.hearMessage(room, "from a");
  await alice.say(room, "from a");
  assert.equal((await heardByBob).sender, "@alice:a.example");
  const heardByAlice = alice.hearMessage(room, "from b");
  await bob.say(room, "from b");
  assert.equal((await heardByAlice).sender, "@bob:b.example");

  const file = randomBytes(3 << 20);
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const { content_uri: uri } = await from.ask("POST", "/_matrix/media/v3/upload?filename=log.bin", file, { "content-type": "application/x-log" });
    const { status, headers, body } = await call(to.host.url, "GET", mediaPath(uri), { token: to.token });
    assert.deepEqual([status, headers.get("content-type"), body.equals(file)], [200, "application/x-log", true]);
  }

  await a.stop();
  await bob.say(room, "while a was away");
  alice.host = await town.start("a.example", data);
  await alice.say(room, "a is back");
  await bob.hearMessage(room, "a is back");
  await alice.hearMessage(room, "while a was away");
});

test("a server publishes its keys, and answers other servers over TLS", async (t) => {
  const town = await startTown(t, ["a.example"]);
  const host = await town.start("a.example");
  const { body: keys } = await call(host.url, "GET", "/_matrix/key/v2/server");
  assert.equal(keys.server_name, "a.example");
  const [id] = Object.keys(keys.verify_keys);
  assert.ok(keys.signatures["a.example"][id]);
  assert.equal((await call(host.url, "GET", "/_matrix/federation/v1/version")).status, 200);
  const unsigned = await call(host.url, "GET", "/_matrix/federation/v1/publicRooms");
  assert.deepEqual([unsigned.status, unsigned.body.errcode], [401, "M_UNAUTHORIZED"]);
});

test("a server that is named by address or by host and port is found without help", async (t) => {
  const authority = await makeAuthority(t);
  const start = async (host) => {
    const [port, { cert, key }] = [await freePort(), await authority.certify(host)];
    const tls = ["--listen-tls", `127.0.0.1:${port}`, "--tls-cert", cert, "--tls-key", key, "--ca", authority.ca];
    return startHost(t, ["--server-name", `${host}:${port}`, "--data", ":memory:", "--private-addresses", "on", ...tls]);
  };
  const [a, b] = [await start("127.0.0.1"), await start("localhost")];
  const [alice, bob] = [await User.register(a, "alice"), await User.register(b, "bob")];
  const { room_id: room } = await alice.post("/createRoom", { preset: "public_chat", room_alias_name: "hearth" });
  await bob.post(`/join/${encodeURIComponent(`#hearth:${a.name}`)}`);
  await bob.say(room, "hello");
  await alice.hearMessage(room, "hello");
});

test("a server with a certificate of nobody we know, or of another name, is not talked to", async (t) => {
  const [known, unknown] = [await makeAuthority(t), await makeAuthority(t)];
  const start = async (name, certificate, authority) => {
    const [port, { cert, key }] = [await freePort(), await authority.certify(certificate)];
    const tls = ["--listen-tls", `127.0.0.1:${port}`, "--tls-cert", cert, "--tls-key", key];
    await startHost(t, ["--server-name", name, "--data", ":memory:", ...tls]);
    return `${name}=127.0.0.1:${port}`;
  };
  const places = [await start("right.example", "right.example", known), await start("forged.example", "forged.example", unknown), await start("other.example", "right.example", known)];
  const resolve = places.flatMap((place) => ["--federation-resolve", place]);
  const host = await startHost(t, ["--server-name", "a.example", "--data", ":memory:", "--ca", known.ca, ...resolve]);
  const alice = await User.register(host, "alice");
  const ask = (server) => call(host.url, "GET", `/_matrix/client/v3/publicRooms?server=${server}`, { token: alice.token });
  for (const server of ["forged.example", "other.example"]) assert.equal((await ask(server)).status, 502, server);
  // The other end cannot find a.example, and so refuses; but it was asked.
  assert.match((await ask("right.example")).body.error, /no key/);
});

test("names that lead into private networks are not followed unless they are named", async (t) => {
  const host = await startHost(t, ["--server-name", "a.example", "--data", ":memory:"]);
  const alice = await User.register(host, "alice");
  const port = new URL(host.url).port;
  for (const server of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, `[::ffff:127.0.0.1]:${port}`]) {
    const { status, body } = await call(host.url, "GET", `/_matrix/client/v3/publicRooms?server=${encodeURIComponent(server)}`, { token: alice.token });
    assert.deepEqual([status, /private address/.test(body.error)], [502, true], `${server}: ${JSON.stringify(body)}`);
  }
});

/** What a host sends with, to a server of places like these. */
async function sender(t, authority, places) {
  const discovery = { places: async () => places.map((place) => ({ header: "a.example", certificate: "a.example", ...place })), close() {} };
  const federation = new Federation({ resolve: new Map(), ca: await readFile(authority.ca), privateAddresses: true, discovery });
  t.after(() => federation.close());
  return (method = "PUT") => federation.send("a.example", method, "/_matrix/federation/v1/send/1", [], undefined);
}

/** An HTTPS server under the name `a.example`. */
async function listener(t, authority, answer) {
  const { cert, key } = await authority.certify("a.example");
  const server = https.createServer({ cert: await readFile(cert), key: await readFile(key) }, answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: "127.0.0.1", port: server.address().port };
}

test("of several places the next is tried where one cannot be connected to, whatever the reason", async (t) => {
  const authority = await makeAuthority(t);
  const good = await listener(t, authority, (request, response) => response.end("{}"));
  const closed = await freePort();
  const bad = [
    ["one address", { host: "127.0.0.1", port: closed }],
    ["several addresses", { host: "localhost", port: closed }],
    ["an address that nobody can connect to", { host: "255.255.255.255", port: 1 }],
    ["a name that does not exist", { host: "none.invalid", port: 1 }],
  ];
  for (const [what, place] of bad) {
    const send = await sender(t, authority, [place, good]);
    assert.equal((await send()).status, 200, what);
  }
});

test("a kept connection that the other end has closed is replaced, but for what must not be sent twice", async (t) => {
  const authority = await makeAuthority(t);
  const asked = new Map();
  const place = await listener(t, authority, (request, response) => {
    const count = (asked.get(request.socket) ?? 0) + 1;
    asked.set(request.socket, count);
    if (count > 1) request.socket.destroy();
    else response.end("{}");
  });
  const send = await sender(t, authority, [place]);
  for (let count = 0; count < 3; count += 1) assert.equal((await send()).status, 200);
  await assert.rejects(send("POST"), { code: "ECONNRESET" });
  assert.deepEqual([...asked.values()], [2, 2, 2]);
});

test("the certificate is read again on SIGHUP, and one that cannot be used leaves the old one", async (t) => {
  const authority = await makeAuthority(t);
  const [first, second] = [await authority.certify("a.example"), await authority.certify("a.example")];
  const tls = ["--listen-tls", "127.0.0.1:0", "--tls-cert", first.cert, "--tls-key", first.key];
  const host = await startHost(t, ["--server-name", "a.example", "--data", ":memory:", ...tls]);
  const { port } = new URL(host.urls.find((url) => url.startsWith("https:")));
  const shown = async () => {
    const socket = connect({ host: "127.0.0.1", port, servername: "a.example", ca: await readFile(authority.ca) });
    await once(socket, "secureConnect");
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  assert.equal(await shown(), "01");
  await copyFile(second.cert, first.cert);
  host.child.kill("SIGHUP");
  while (!/no certificate and its key/.test(host.stderr())) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(await shown(), "01");
  await copyFile(second.key, first.key);
  host.child.kill("SIGHUP");
  while ((await shown()) !== "02") await new Promise((resolve) => setTimeout(resolve, 10));
});

test("a certificate that cannot be used is told before anything else", async (t) => {
  const { certify, ca } = await makeAuthority(t);
  const { cert } = await certify("a.example");
  const { key } = await certify("b.example");
  const { code, stderr } = await run(["serve", "--data", ":memory:", "--listen-tls", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--ca", ca]);
  assert.equal(code, 1);
  assert.match(stderr, /no certificate and its key/);
});
