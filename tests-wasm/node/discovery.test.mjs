// Where a server is looked for, case by case as the specification orders them, with the network and the clock in hand.
//
// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
import assert from "node:assert/strict";
import { test } from "node:test";

import { Discovery } from "../../pkg/host/discovery.mjs";

const HOUR = 60 * 60 * 1000;

/** A network of `.well-known` answers and SRV records, and what it was asked. */
function network({ wellKnown = {}, srv = {} } = {}) {
  const world = { now: 0, asked: [], lookedUp: [], wellKnown, srv };
  const fetch = async (url) => {
    world.asked.push(url);
    const answer = world.wellKnown[new URL(url).hostname] ?? { status: 404 };
    if (answer instanceof Error) throw answer;
    return { status: 200, headers: {}, body: "{}", ...answer };
  };
  const records = async (name) => {
    world.lookedUp.push(name);
    if (!world.srv[name]) throw Object.assign(new Error("none"), { code: "ENOTFOUND" });
    return world.srv[name];
  };
  world.discovery = new Discovery({ fetch, srv: records, now: () => world.now });
  return world;
}

const delegate = (name, headers = {}) => ({ body: JSON.stringify({ "m.server": name }), headers });
const place = (host, port, header, certificate) => ({ host, port, header, certificate });

test("each form of a name leads to its place", async () => {
  const { discovery } = network({
    wellKnown: {
      "by-address.example": delegate("192.0.2.1"),
      "by-address-and-port.example": delegate("[2001:db8::1]:1234"),
      "by-port.example": delegate("matrix.example:443"),
      "by-srv.example": delegate("delegated.example"),
      "by-name.example": delegate("plain.example"),
      "broken.example": { body: "no JSON" },
      "empty.example": { body: "{}" },
      "wrong.example": delegate("not a name"),
      "number.example": { body: `{"m.server": 1}` },
      "away.example": Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
    },
    srv: {
      "_matrix-fed._tcp.delegated.example": [{ name: "srv.example", port: 5, priority: 0, weight: 0 }],
      "_matrix-fed._tcp.own-srv.example": [{ name: "new.example", port: 6, priority: 0, weight: 0 }],
      "_matrix._tcp.own-srv.example": [{ name: "never.example", port: 7, priority: 0, weight: 0 }],
      "_matrix._tcp.old-srv.example": [{ name: "old.example", port: 8, priority: 0, weight: 0 }],
    },
  });
  for (const [name, ...expected] of [
    ["192.0.2.7", "192.0.2.7", 8448, "192.0.2.7", "192.0.2.7"],
    ["192.0.2.7:1", "192.0.2.7", 1, "192.0.2.7:1", "192.0.2.7"],
    ["[2001:db8::7]", "2001:db8::7", 8448, "[2001:db8::7]", "2001:db8::7"],
    ["host.example:99", "host.example", 99, "host.example:99", "host.example"],
    ["by-address.example", "192.0.2.1", 8448, "192.0.2.1", "192.0.2.1"],
    ["by-address-and-port.example", "2001:db8::1", 1234, "[2001:db8::1]:1234", "2001:db8::1"],
    ["by-port.example", "matrix.example", 443, "matrix.example:443", "matrix.example"],
    ["by-srv.example", "srv.example", 5, "delegated.example", "delegated.example"],
    ["by-name.example", "plain.example", 8448, "plain.example", "plain.example"],
    ["own-srv.example", "new.example", 6, "own-srv.example", "own-srv.example"],
    ["old-srv.example", "old.example", 8, "old-srv.example", "old-srv.example"],
    ...["broken", "empty", "wrong", "number", "away", "silent"].map((name) => [`${name}.example`, `${name}.example`, 8448, `${name}.example`, `${name}.example`]),
  ]) {
    assert.deepEqual(await discovery.places(name), [place(...expected)], name);
  }
  for (const name of ["", "a b", "a:b", "[::1", "a/b", "a@b"]) await assert.rejects(discovery.places(name), /no server name/);
});

test("records come by priority, and one that weighs more comes first more often", async () => {
  const record = (name, priority, weight) => ({ name, port: 1, priority, weight });
  const { discovery } = network({ srv: { "_matrix-fed._tcp.a.example": [record("late", 2, 9), record("light", 1, 1), record("heavy", 1, 50)] } });
  let heavy = 0;
  for (let round = 0; round < 200; round += 1) {
    const hosts = (await discovery.places("a.example")).map(({ host }) => host);
    assert.equal(hosts[2], "late");
    heavy += hosts[0] === "heavy" ? 1 : 0;
  }
  assert.ok(heavy > 150 && heavy < 200, `${heavy} of 200`);
});

test("what a server says of itself is kept as long as it says, within bounds; failures too", async () => {
  const reaching = async (headers, broken) => {
    const world = network({ wellKnown: { "a.example": broken ?? delegate("b.example:1", headers) } });
    const isAskedAfter = async (millis) => {
      world.now = millis;
      await world.discovery.places("a.example");
      return world.asked.splice(0).length > 0;
    };
    assert.ok(await isAskedAfter(0));
    return isAskedAfter;
  };
  for (const [headers, life] of [
    [{}, 24 * HOUR],
    [{ "cache-control": "max-age=7200" }, 2 * HOUR],
    [{ "cache-control": "public, max-age=99999999" }, 48 * HOUR],
    [{ "cache-control": "max-age=0" }, HOUR / 60],
    [{ "cache-control": "no-store" }, HOUR / 60],
  ]) {
    const isAskedAfter = await reaching(headers);
    assert.deepEqual([await isAskedAfter(life - 1), await isAskedAfter(life)], [false, true], JSON.stringify(headers));
  }
  for (const [broken, life] of [[{ status: 404 }, HOUR], [{ status: 500 }, HOUR / 30], [{ body: "no JSON" }, HOUR / 30], [Object.assign(new Error("away"), { code: "ENOTFOUND" }), HOUR / 60]]) {
    const isAskedAfter = await reaching({}, broken);
    assert.deepEqual([await isAskedAfter(life - 1), await isAskedAfter(life)], [false, true]);
  }
});

test("what a server said of itself holds while it fails, for two days, and it is asked ever more rarely", async () => {
  const failures = [{ status: 503 }, { body: "<html>We are back soon</html>" }, { status: 302 }, Object.assign(new Error("away"), { code: "ETIMEDOUT" })];
  for (const failure of failures) {
    const world = network({ wellKnown: { "a.example": delegate("b.example:1", { "cache-control": "max-age=3600" }) } });
    const [good, bad] = [place("b.example", 1, "b.example:1", "b.example"), place("a.example", 8448, "a.example", "a.example")];
    assert.deepEqual(await world.discovery.places("a.example"), [good]);
    world.asked.length = 0;
    world.wellKnown["a.example"] = failure;
    const times = [];
    for (world.now = HOUR; world.now < 48 * HOUR; world.now += 60_000) {
      assert.deepEqual(await world.discovery.places("a.example"), [good], `after ${world.now / HOUR} hours of ${JSON.stringify(failure)}`);
      if (world.asked.splice(0).length > 0) times.push(world.now);
    }
    const pauses = times.slice(1).map((time, index) => (time - times[index]) / 60_000);
    const first = failure.code ? 1 : 2;
    assert.deepEqual(pauses.slice(0, 8), [0, 1, 2, 3, 4, 5, 6, 7].map((round) => Math.min(first * 2 ** round, 60)));
    assert.ok(pauses.slice(8).every((pause) => pause === 60));
    world.now = 49 * HOUR;
    assert.deepEqual(await world.discovery.places("a.example"), [bad]);
    world.wellKnown["a.example"] = delegate("c.example:1");
    world.now = 50 * HOUR;
    assert.deepEqual(await world.discovery.places("a.example"), [place("c.example", 1, "c.example:1", "c.example")]);
  }
});

test("a delegation that was taken away is gone, and asked for again soon", async () => {
  const world = network({ wellKnown: { "a.example": delegate("b.example:1", { "cache-control": "max-age=3600" }) } });
  const hostAt = async (millis) => {
    world.now = millis;
    return (await world.discovery.places("a.example"))[0].host;
  };
  assert.equal(await hostAt(0), "b.example");
  world.wellKnown["a.example"] = { status: 404 };
  assert.deepEqual([await hostAt(HOUR - 1), await hostAt(HOUR)], ["b.example", "a.example"]);
  world.wellKnown["a.example"] = delegate("b.example:1");
  assert.deepEqual([await hostAt(HOUR + 2 * 60_000 - 1), await hostAt(HOUR + 2 * 60_000)], ["a.example", "b.example"]);
});

test("records without a target are none, and of many the first are tried", async () => {
  const records = (names) => names.map((name, priority) => ({ name, port: 1, priority, weight: 0 }));
  const many = Array.from({ length: 100 }, (_, index) => `${index}.example`);
  const { discovery } = network({
    srv: {
      "_matrix-fed._tcp.none.example": records([""]),
      "_matrix-fed._tcp.dot.example": records(["."]),
      "_matrix._tcp.dot.example": records(["old.example"]),
      "_matrix-fed._tcp.mixed.example": records(["", "there.example"]),
      "_matrix-fed._tcp.many.example": records(many),
    },
  });
  const hosts = async (name) => (await discovery.places(name)).map(({ host }) => host);
  assert.deepEqual(await hosts("none.example"), ["none.example"]);
  assert.deepEqual(await hosts("dot.example"), ["old.example"]);
  assert.deepEqual(await hosts("mixed.example"), ["there.example"]);
  assert.deepEqual(await hosts("many.example"), many.slice(0, 8));
});

test("records are kept for some minutes, also that there are none", async () => {
  const world = network({ srv: { "_matrix-fed._tcp.a.example": [{ name: "srv.example", port: 5, priority: 0, weight: 0 }] } });
  for (const [host, lookUps] of [["a.example", 1], ["none.example", 2]]) {
    const lookedUpAfter = async (millis) => {
      world.now = millis;
      await world.discovery.places(host);
      return world.lookedUp.splice(0).length;
    };
    assert.deepEqual([await lookedUpAfter(0), await lookedUpAfter(HOUR / 12 - 1), await lookedUpAfter(HOUR / 12)], [lookUps, 0, lookUps], host);
  }
});

test("questions that come at once are one", async () => {
  const world = network({ wellKnown: { "a.example": delegate("b.example:1") } });
  await Promise.all([1, 2, 3].map(() => world.discovery.places("a.example")));
  assert.equal(world.asked.length, 1);
});
