// Which addresses other servers may have, and how names are looked up for them.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { test } from "node:test";

import { isPrivate, lookupFor } from "../../pkg/host/addresses.mjs";

/** The table of `relay/src/address.rs`, which has the same cases. */
const PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "3fff:1000::1"];
const SPECIAL = [
  "0.0.0.0", "10.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.0.1", "192.0.0.1", "192.0.2.1",
  "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "255.255.255.255",
  "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "100:0:0:1::1",
  "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1",
];

test("addresses that are not public are told apart", () => {
  // Nobody needs an address that wraps another.
  for (const address of [...SPECIAL, "::ffff:8.8.8.8", "localhost", ""]) assert.ok(isPrivate(address), address);
  for (const address of PUBLIC) assert.ok(!isPrivate(address), address);
});

/** A name server that knows some names, says that others do not exist, and is silent about those below `slow`. */
async function nameServer(t, names) {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => socket.close());
  let asked = 0;
  socket.on("message", (question, from) => {
    asked += 1;
    const [labels, end] = nameIn(question);
    const [name, type] = [labels.join("."), question.readUInt16BE(end)];
    if (name.endsWith("slow.example")) return;
    const address = type === 1 ? names[name] : undefined;
    const flags = names[name] ? 0x8180 : 0x8183;
    const head = Buffer.from(question.subarray(0, 12));
    head.writeUInt16BE(flags, 2);
    for (const [at, count] of [[6, address ? 1 : 0], [8, 0], [10, 0]]) head.writeUInt16BE(count, at);
    const record = address ? [Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)])] : [];
    socket.send(Buffer.concat([head, question.subarray(12, end + 4), ...record]), from.port, from.address);
  });
  const resolver = new Resolver({ timeout: 60_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  t.after(() => resolver.cancel());
  return { resolver, asked: () => asked };
}

/** A question's name, and where it ends. */
function nameIn(question) {
  const labels = [];
  let at = 12;
  for (let size = question[at]; size > 0; size = question[at]) {
    labels.push(question.toString("latin1", at + 1, at + 1 + size));
    at += 1 + size;
  }
  return [labels, at + 1];
}

const lookUp = (name, resolver, isAllowed = () => true, options = { all: true }) =>
  new Promise((resolve, reject) => lookupFor(name, isAllowed, resolver)(name, options, (error, ...found) => (error ? reject(error) : resolve(found))));

test("names are looked up, and one that no name server answers holds nobody up", async (t) => {
  const { resolver, asked } = await nameServer(t, { "a.example": "192.0.2.1" });
  const slow = Array.from({ length: 50 }, (_, index) => lookUp(`${index}.slow.example`, resolver));
  for (const each of slow) each.catch(() => {});
  assert.deepEqual(await lookUp("a.example", resolver), [[{ address: "192.0.2.1", family: 4 }]]);
  assert.deepEqual(await lookUp("a.example", resolver, () => true, {}), ["192.0.2.1", 4]);
  assert.ok(asked() > 50, "the slow ones are still being asked for");
  await assert.rejects(lookUp("none.example", resolver), { code: "NO_ADDRESS", message: "none.example has no address: ENOTFOUND" });
  await assert.rejects(lookUp("a.example", resolver, () => false), { code: "PRIVATE_ADDRESS" });
});

test("what the machine's own file names needs no name server", async (t) => {
  const { resolver, asked } = await nameServer(t, {});
  const [found] = await lookUp("localhost", resolver);
  assert.ok(found.some(({ address, family }) => address === "127.0.0.1" && family === 4), JSON.stringify(found));
  assert.equal(asked(), 0);
});
