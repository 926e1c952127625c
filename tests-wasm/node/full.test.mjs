// A full disk: what cannot be kept is refused, and nothing that was acknowledged is lost, before, meanwhile or afterwards.
//
// It takes a small disk of its own, which only root can make. For others these tests are left out; `store.test.mjs` has the same
// with a database that fails when it is told to.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, open, rm, rmdir, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { User, call, run, startHost } from "./support.mjs";

const execute = promisify(execFile);
const DISK = "64m";
const PAGE = 4096;

/** A small disk, or undefined where none can be made, which the test is told. */
async function smallDisk(t) {
  const path = await mkdtemp(join(tmpdir(), "inglenook-disk-"));
  let isMounted = false;
  t.after(async () => {
    if (isMounted) await execute("umount", ["--lazy", path]);
    await rmdir(path);
  });
  try {
    await execute("mount", ["-t", "tmpfs", "-o", `size=${DISK}`, "inglenook-test", path]);
  } catch (error) {
    t.skip(`no disk can be made: ${error.stderr?.trim() || error.message}`);
    return undefined;
  }
  isMounted = true;
  return path;
}

/** Fills a disk but for some pages; freed by removing the file that is returned. */
async function fill(disk, pages) {
  const path = join(disk, "filler");
  const file = await open(path, "w");
  let size = 0;
  try {
    for (;;) size += (await file.write(Buffer.alloc(PAGE))).bytesWritten;
  } catch (error) {
    if (error.code !== "ENOSPC") throw error;
  } finally {
    await file.close();
  }
  await truncate(path, size - (size % PAGE) - pages * PAGE);
  return path;
}

/** Says things until one is refused; what was acknowledged is noted under its text. */
async function sayUntilRefused(alice, room, acknowledged) {
  for (let count = 0; ; count += 1) {
    const text = `${acknowledged.size} ${count} ${"x".repeat(500)}`;
    try {
      acknowledged.set(text, await alice.say(room, text));
    } catch (error) {
      return { text, status: error.status, body: error.body };
    }
  }
}

const said = async (alice, room) => new Map((await alice.history(room)).filter(({ type }) => type === "m.room.message").map(({ content, event_id: id }) => [content.body, id]));

const health = async ({ url }) => (await call(url, "GET", "/_inglenook/health")).status;

for (const pages of [0, 1, 2, 3]) {
  test(`a disk that is full but for ${pages} pages: what comes when there is room again is kept, and what was refused is not there`, async (t) => {
    const disk = await smallDisk(t);
    if (!disk) return;
    const data = join(disk, "data");
    const host = await startHost(t, ["--data", data, "--server-name", "example.org"]);
    const alice = await User.register(host, "alice");
    const { room_id: room } = await alice.post("/createRoom");
    const acknowledged = new Map();
    for (const text of ["one", "two"]) acknowledged.set(text, await alice.say(room, text));
    const filler = await fill(disk, pages);
    const refused = await sayUntilRefused(alice, room, acknowledged);
    assert.deepEqual([refused.status, refused.body.errcode], [507, "M_RESOURCE_LIMIT_EXCEEDED"]);
    assert.match(refused.body.error, /^The server's storage is full/);
    await assert.rejects(alice.say(room, "refused as well"), { status: 507 });
    assert.equal(await health(host), 503);
    assert.deepEqual(await said(alice, room), acknowledged, "what is there can be read meanwhile");
    await rm(filler);
    for (let count = 0; count < 50; count += 1) acknowledged.set(`later ${count}`, await alice.say(room, `later ${count}`));
    assert.equal(await health(host), 200);
    assert.deepEqual(await said(alice, room), acknowledged);
    assert.deepEqual(await host.stop(), { code: 0, signal: null });
    alice.host = await startHost(t, ["--data", data]);
    assert.deepEqual(await said(alice, room), acknowledged);
  });
}

test("a process that is killed while its disk is full loses nothing that was acknowledged", async (t) => {
  const disk = await smallDisk(t);
  if (!disk) return;
  const data = join(disk, "data");
  let host = await startHost(t, ["--data", data, "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const { room_id: room } = await alice.post("/createRoom");
  const acknowledged = new Map([["one", await alice.say(room, "one")]]);
  for (const pages of [0, 1, 2, 3]) {
    const filler = await fill(disk, pages);
    const refused = await sayUntilRefused(alice, room, acknowledged);
    assert.equal(refused.status, 507);
    await host.stop("SIGKILL");
    const full = await run(["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    assert.equal(full.code, 1);
    assert.match(full.stderr, /the database in .* cannot be opened: .*No space left/);
    await rm(filler);
    host = alice.host = await startHost(t, ["--data", data]);
    const kept = await said(alice, room);
    for (const [text, id] of acknowledged) assert.equal(kept.get(text), id, text.slice(0, 20));
    // Whether what was refused got to the disk nobody can say; from here on it is there or not.
    if (kept.has(refused.text)) acknowledged.set(refused.text, kept.get(refused.text));
    acknowledged.set(`after ${pages}`, await alice.say(room, `after ${pages}`));
  }
  assert.deepEqual(await said(alice, room), acknowledged);
});
