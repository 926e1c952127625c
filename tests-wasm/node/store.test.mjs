// How commits become batches: as durable as asked, together where they wait together, and failing with a reason.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../pkg/host/store.mjs";

const bytes = (text) => new TextEncoder().encode(text);

/** A store on a database that writes and opens when it is told to, what it was given to write, and what became of the database. */
async function heldStore({ hasRoom } = {}) {
  const [written, rows, life] = [[], new Map(), []];
  const text = (key) => new TextDecoder().decode(key);
  const level = {
    status: "open",
    open: async () => {
      if (life.length > 0 && world.cannotOpen) throw new Error("Database failed to open", { cause: world.cannotOpen });
      [level.status, life[life.length]] = ["open", "open"];
    },
    close: async () => ([level.status, life[life.length]] = ["closed", "close"]),
    get: async () => undefined,
    getSync: (key) => rows.get(text(key)),
    getMany: async (keys) => keys.map((key) => rows.get(text(key))),
    batch: (operations, { sync }) => {
      const batch = { keys: operations.map(({ key }) => text(key)), types: operations.map(({ type }) => type), sync };
      written.push(batch);
      return new Promise((resolve, reject) => Object.assign(batch, { resolve, reject })).then(() => {
        for (const { type, key, value } of operations) type === "put" ? rows.set(text(key), value) : rows.delete(text(key));
      });
    },
  };
  const store = await Store.open(level, { hasRoom });
  const world = { store, written, rows, life, level, commit: (key, strict) => store.commit([bytes(key), bytes("value")], strict, 0) };
  return world;
}

const FULL = Object.assign(new Error("batch failed"), { cause: new Error("IO error: db/000003.log: No space left on device") });

/** Lets what can go on go on. */
const turn = () => new Promise(setImmediate);

test("a strict commit is synced, and a relaxed one is not", async () => {
  const { written, commit } = await heldStore();
  for (const strict of [true, false]) {
    const done = commit("row", strict);
    written.at(-1).resolve();
    await done;
    assert.equal(written.at(-1).sync, strict);
  }
});

test("what waits while another is written is one batch, in order, and synced if one of it must be", async () => {
  const { written, commit } = await heldStore();
  let done = 0;
  const commits = [["first", true], ["second", false], ["third", true], ["fourth", false]].map(([key, strict]) => commit(key, strict).then(() => (done += 1)));
  await turn();
  assert.deepEqual([written.length, done], [1, 0], "nothing is done before it is written");
  written[0].resolve();
  await turn();
  assert.deepEqual([written[1].keys, written[1].sync, done], [["second", "third", "fourth"], true, 1]);
  written[1].resolve();
  await Promise.all(commits);
  assert.equal(written.length, 2);
});

test("after a batch that failed nothing is written until the database was opened anew, with its rows as they were", async () => {
  const { written, life, rows, commit } = await heldStore();
  rows.set("changed", "before");
  const [first, second] = [commit("changed", true), commit("second", true)];
  written[0].reject(FULL);
  await assert.rejects(first, { code: "ENOSPC" });
  await turn();
  assert.deepEqual(life, ["open", "close", "open"]);
  assert.deepEqual([written[1].keys, written[1].types, written[1].sync], [["changed"], ["put"], true], "what the failed batch may have left is undone");
  assert.equal(written.length, 2);
  written[1].resolve();
  await turn();
  assert.deepEqual(written[2].keys, ["second"]);
  written[2].resolve();
  await second;
  assert.deepEqual([...rows.keys()], ["changed", "second"]);
  assert.deepEqual(rows.get("changed"), "before");
});

test("while there is no room to open the database anew, commits are refused, reads go on, and health says so", async () => {
  const world = { full: true };
  const hasRoom = async () => {
    if (world.full) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };
  const { store, written, life, rows, commit } = await heldStore({ hasRoom });
  rows.set("kept", "value");
  const failing = commit("new", true);
  written[0].reject(FULL);
  await assert.rejects(failing, { code: "ENOSPC" });
  for (const round of [1, 2]) await assert.rejects(commit(`again ${round}`, true), { code: "ENOSPC", message: "the disk is full" });
  await assert.rejects(store.check(), { code: "ENOSPC" });
  assert.deepEqual(await store.getMany([bytes("kept")]), ["value"]);
  assert.deepEqual([written.length, life], [1, ["open"]]);
  world.full = false;
  const healthy = store.check();
  await turn();
  written[1].resolve();
  await turn();
  written[2].resolve();
  await healthy;
  const done = commit("later", true);
  written[3].resolve();
  await done;
  assert.deepEqual(life, ["open", "close", "open"]);
});

test("a database that cannot be opened anew is tried again by whoever needs it next, and is not read in between", async () => {
  const world = await heldStore();
  const { store, written, life, rows, commit } = world;
  rows.set("kept", "value");
  const failing = commit("new", true);
  written[0].reject(FULL);
  await assert.rejects(failing);
  world.cannotOpen = new Error("IO error: db/CURRENT: Permission denied");
  await assert.rejects(commit("second", true), { code: "FAILED", message: /has failed: .*Permission denied/ });
  await assert.rejects(store.getMany([bytes("kept")]), /failed to open/);
  world.cannotOpen = undefined;
  const read = store.getMany([bytes("kept")]);
  await turn();
  assert.deepEqual(written[1].types, ["del"]);
  let isRead = false;
  read.then(() => (isRead = true));
  await turn();
  assert.equal(isRead, false, "what was refused and found whole would be seen");
  written[1].resolve();
  assert.deepEqual(await read, ["value"]);
  assert.equal(life.at(-1), "open");
});
