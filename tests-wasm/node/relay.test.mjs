// Hosts that nobody can connect to: named by their keys, attached to a relay, as nodes in browsers are.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { relayFetch } from "../../pkg/host/sockets.mjs";
import { Relay } from "../browser/relay.mjs";
import { freePort } from "../port.mjs";
import { makeAuthority } from "./authority.mjs";
import { User, call, folder, run, startHost } from "./support.mjs";

test("hosts behind a relay talk, also when one was away", async (t) => {
  const relay = new Relay();
  await relay.start();
  t.after(() => relay.remove());
  const [dirs, relays] = [[await folder(t), await folder(t)], ["--relay", relay.url]];
  const [a, b] = await Promise.all(dirs.map((data) => startHost(t, ["--data", data, ...relays])));
  const [alice, bob] = [await User.register(a, "alice"), await User.register(b, "bob")];
  const { room_id: room } = await alice.post("/createRoom", { preset: "public_chat", room_alias_name: "hearth" });
  const join = () => bob.post(`/join/${encodeURIComponent(`#hearth:${a.name}`)}`).catch((error) => (error.status === 502 ? join() : Promise.reject(error)));
  await join();
  await alice.say(room, "from a");
  await bob.hearMessage(room, "from a");
  const file = randomBytes(1 << 20);
  const { content_uri: uri } = await bob.ask("POST", "/_matrix/media/v3/upload", file, { "content-type": "text/plain" });
  const { body } = await call(a.url, "GET", uri.replace("mxc://", "/_matrix/client/v1/media/download/"), { token: alice.token });
  assert.ok(body.equals(file));

  await b.stop();
  await alice.say(room, "while b was away");
  bob.host = await startHost(t, ["--data", dirs[1], ...relays]);
  await bob.hearMessage(room, "while b was away");
  await bob.say(room, "b is back");
  await alice.hearMessage(room, "b is back");
});

test("a host below a gateway's domain talks to an ordinary server, and keeps its name", async (t) => {
  const [authority, port, ordinary] = [await makeAuthority(t), await freePort(), await freePort()];
  const [url, trust] = [`https://localhost:${port}`, ["--ca", authority.ca]];
  const certified = async (...names) => {
    const { cert, key } = await authority.certify(...names);
    return ["--tls-cert", cert, "--tls-key", key];
  };
  const places = ["--federation-resolve", `node.test=127.0.0.1:${ordinary}`];
  const settings = ["--gateway-domain", "gw.test", "--public-url", url, ...(await certified("*.gw.test", "localhost")), ...trust, ...places];
  const relay = new Relay({ listen: `127.0.0.1:${port}`, settings });
  await relay.start();
  t.after(() => relay.remove());
  const data = await folder(t);
  const behind = ["--relay", url, ...trust, ...places, "--data", data];
  const a = await startHost(t, behind, { env: { INGLENOOK_GATEWAY: "gw.test" } });
  assert.match(a.name, /^[a-z2-7]{52}\.gw\.test$/);
  const listening = ["--server-name", "node.test", "--listen-tls", `127.0.0.1:${ordinary}`, ...(await certified("node.test"))];
  // Once it has met a, it goes by what a's record says, which is a relay on this machine.
  const finding = ["--federation-resolve", `${a.name}=127.0.0.1:${port}`, "--private-addresses", "on"];
  const b = await startHost(t, [...listening, "--data", ":memory:", ...trust, ...finding]);

  const [alice, bob] = [await User.register(a, "alice"), await User.register(b, "bob")];
  const { room_id: room } = await alice.post("/createRoom", { preset: "public_chat", room_alias_name: "hearth" });
  const join = () => bob.post(`/join/${encodeURIComponent(`#hearth:${a.name}`)}`).catch((error) => (error.status === 502 ? join() : Promise.reject(error)));
  await join();
  await alice.say(room, "from a");
  await bob.hearMessage(room, "from a");
  await bob.say(room, "from b");
  await alice.hearMessage(room, "from b");

  await a.stop();
  const again = await startHost(t, behind);
  assert.equal(again.name, a.name);
  await again.stop();
  const moved = await run(["serve", "--listen", "127.0.0.1:0", ...behind, "--gateway", "other.test"]);
  assert.equal(moved.code, 1);
  assert.match(moved.stderr, /belongs to [a-z2-7]{52}\.gw\.test, .* cannot be changed to one below other\.test/);
});

test("a host with a listener and one behind a relay of its own talk, exchange large files, and leave mail", async (t) => {
  const [relay, authority, port] = [new Relay(), await makeAuthority(t), await freePort()];
  await relay.start();
  t.after(() => relay.remove());
  const { cert, key } = await authority.certify("b.test");
  const behind = ["--relay", relay.url, "--federation-resolve", `b.test=127.0.0.1:${port}`, "--ca", authority.ca, "--data", await folder(t)];
  const a = await startHost(t, behind);
  const listening = ["--server-name", "b.test", "--listen-tls", `127.0.0.1:${port}`, "--tls-cert", cert, "--tls-key", key, "--private-addresses", "on"];
  const b = await startHost(t, [...listening, "--data", await folder(t)]);
  const [alice, bob] = [await User.register(a, "alice"), await User.register(b, "bob")];
  const { room_id: room } = await bob.post("/createRoom", { preset: "public_chat", room_alias_name: "hearth" });
  // With that, b is told by which relay a is found.
  await alice.post(`/join/${encodeURIComponent("#hearth:b.test")}`);
  await alice.say(room, "from a");
  await bob.hearMessage(room, "from a");
  await bob.say(room, "from b");
  await alice.hearMessage(room, "from b");

  const file = randomBytes(70 << 20);
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const { content_uri: uri } = await from.ask("POST", "/_matrix/media/v3/upload", file, { "content-type": "text/plain" });
    const { status, body } = await call(to.host.url, "GET", uri.replace("mxc://", "/_matrix/client/v1/media/download/"), { token: to.token });
    assert.deepEqual([status, body.length, body.equals(file)], [200, file.length, true]);
  }

  await a.stop();
  await bob.say(room, "while a was away");
  alice.host = await startHost(t, behind);
  await alice.hearMessage(room, "while a was away");
  await alice.say(room, "a is back");
  await bob.hearMessage(room, "a is back");
});

test("another server's relay is asked at public addresses only, the operator's own anywhere", async (t) => {
  let asked = 0;
  const listener = createServer((request, response) => {
    asked += 1;
    request.pipe(response);
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => listener.close());
  const { port } = listener.address();
  const urls = [`http://127.0.0.1:${port}`, `http://localhost:${port}`];
  const ask = (fetch, url) => fetch(new Request(`${url}/forward`, { method: "POST", body: "hello" }));
  for (const url of urls) await assert.rejects(ask(relayFetch({ relays: [], privateAddresses: false }), url), /private address/);
  assert.equal(asked, 0);
  for (const options of [{ relays: urls, privateAddresses: false }, { relays: [], privateAddresses: true }]) {
    for (const url of urls) assert.equal(Buffer.from(await (await ask(relayFetch(options), url)).arrayBuffer()).toString(), "hello");
  }
});
