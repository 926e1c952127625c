// How commits become batches: as durable as asked, together where they wait together, and failing with a reason.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Store } from "../../pkg/host/store.mjs";

const bytes = (text) => new TextEncoder().encode(text);

/** A store on a database that writes when it is told to, and what it was given to write. */
async function heldStore() {
  const written = [];
  const level = {
    open: async () => {},
    get: async () => undefined,
    batch: (operations, { sync }) => new Promise((resolve, reject) => written.push({ keys: operations.map(({ key }) => new TextDecoder().decode(key)), sync, resolve, reject })),
  };
  const store = await Store.open(level);
  return { written, commit: (key, strict) => store.commit([bytes(key), bytes("value")], strict, 0) };
}

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

test("a batch that fails fails its commits, and no others", async () => {
  const { written, commit } = await heldStore();
  const [first, second] = [commit("first", true), commit("second", true)];
  written[0].reject(Object.assign(new Error("batch failed"), { cause: new Error("IO error: db/000003.log: No space left on device") }));
  await assert.rejects(first, { code: "ENOSPC" });
  await turn();
  written[1].resolve();
  await second;
});
