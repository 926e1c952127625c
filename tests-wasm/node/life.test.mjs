// A host's life with its clients: what they make is there after a restart, and after a process that was killed.
import assert from "node:assert/strict";
import { test } from "node:test";

import { random } from "../random.mjs";
import { User, call, folder, startHost } from "./support.mjs";

/** So many times the process is killed; a failing run is repeated with the seed that it prints. */
const ROUNDS = Number(process.env.KILL_ROUNDS ?? 300);
const SEED = Number(process.env.KILL_SEED ?? 1);

/** How long a round lasts at most, in milliseconds, from the first acknowledged message on. */
const ROUND_MS = 150;

test("what was sent is there after a restart, and a poll hears what is new", async (t) => {
  const dir = await folder(t);
  const first = await startHost(t, ["--data", dir, "--server-name", "example.org"]);
  const alice = await User.register(first, "alice");
  assert.equal(alice.id, "@alice:example.org");
  const { room_id: room } = await alice.post("/createRoom", { name: "Hearth", preset: "public_chat" });
  await alice.say(room, "before");
  const { next_batch } = await alice.get("/sync");
  assert.deepEqual(await first.stop(), { code: 0, signal: null });

  alice.host = await startHost(t, ["--data", dir]);
  assert.equal(alice.host.name, "example.org");
  const bob = await User.register(alice.host, "bob");
  await bob.post(`/join/${encodeURIComponent(room)}`);
  const bodies = (await bob.history(room)).map((event) => event.content.body).filter(Boolean);
  assert.deepEqual(bodies, ["before"]);
  const heard = alice.hear((sync) => sync.rooms?.join?.[room]?.timeline.events.find((event) => event.content.body === "after"), { since: next_batch });
  const sent = await bob.say(room, "after");
  assert.equal((await heard).event_id, sent);
});

test("a start asks the store for as much where there are a thousand messages as where there are ten", async (t) => {
  const dir = await folder(t);
  let host = await startHost(t, ["--data", dir, "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const { room_id: room } = await alice.post("/createRoom");
  const askedWith = async (messages) => {
    for (let message = 0; message < messages; message += 50) {
      await Promise.all(Array.from({ length: Math.min(50, messages - message) }, () => alice.say(room, "hello")));
    }
    await host.stop();
    alice.host = host = await startHost(t, ["--data", dir]);
    const page = (await call(host.url, "GET", "/_inglenook/metrics")).body.toString();
    return ["reads", "scans"].reduce((sum, kind) => sum + Number(new RegExp(`^inglenook_store_${kind}_total (\\d+)$`, "m").exec(page)[1]), 0);
  };
  const [few, many] = [await askedWith(10), await askedWith(1_000)];
  // Some of what goes on in the background may have been done already.
  assert.ok(many <= few + 10, `${few} look-ups, and then ${many}`);
});

test(`nothing acknowledged is lost over ${ROUNDS} kills (seed ${SEED})`, async (t) => {
  const dir = await folder(t);
  const next = random(SEED);
  let host = await startHost(t, ["--data", dir, "--server-name", "example.org"]);
  const alice = await User.register(host, "alice");
  const { room_id: room } = await alice.post("/createRoom", { name: "Hearth" });
  const [acknowledged, rooms, files] = [new Map(), [], new Map()];
  let message = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const ended = host.exit;
    let gone = false;
    const writers = [0, 1, 2].map(async () => {
      while (!gone) {
        const name = `m${(message += 1)}`;
        const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/${name}`;
        const answer = await alice.put(path, { msgtype: "m.text", body: name }).catch(() => undefined);
        if (answer) acknowledged.set(name, answer.event_id);
      }
    });
    writers.push((async () => {
      const answer = await alice.post("/createRoom", { name: "Whole", topic: "or not at all" }).catch(() => undefined);
      if (answer) rooms.push(answer.room_id);
    })());
    writers.push((async () => {
      const bytes = Buffer.alloc(50_000, round);
      const answer = await alice.ask("POST", "/_matrix/media/v3/upload", bytes, { "content-type": "text/plain" }).catch(() => undefined);
      if (answer) files.set(answer.content_uri, bytes);
    })());
    const before = acknowledged.size;
    while (acknowledged.size === before) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, next() * ROUND_MS));
    host.child.kill("SIGKILL");
    await ended;
    gone = true;
    await Promise.all(writers);
    host = await startHost(t, ["--data", dir]);
    alice.host = host;
  }
  t.diagnostic(`${acknowledged.size} messages, ${rooms.length} rooms and ${files.size} files acknowledged`);
  assert.ok(acknowledged.size > ROUNDS && rooms.length > 0 && files.size > 0);

  const messages = (await alice.history(room)).filter((event) => event.type === "m.room.message");
  const stored = new Map(messages.map((event) => [event.content.body, event.event_id]));
  assert.equal(stored.size, messages.length, "no message twice");
  for (const [name, id] of acknowledged) assert.equal(stored.get(name), id, `${name} was acknowledged`);
  const { joined_rooms: joined } = await alice.get("/joined_rooms");
  for (const made of rooms) assert.ok(joined.includes(made), "a room was acknowledged and is lost");
  for (const made of joined.filter((id) => id !== room)) {
    const kinds = (await alice.get(`/rooms/${encodeURIComponent(made)}/state`)).map((event) => event.type);
    for (const kind of ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.name", "m.room.topic"]) assert.ok(kinds.includes(kind), "a room is not whole");
  }
  for (const [uri, bytes] of files) {
    const { body } = await call(host.url, "GET", uri.replace("mxc://", "/_matrix/client/v1/media/download/"), { token: alice.token });
    assert.deepEqual(body, bytes);
  }
  const [name, id] = [...acknowledged].at(-1);
  const again = await alice.put(`/rooms/${encodeURIComponent(room)}/send/m.room.message/${name}`, { msgtype: "m.text", body: "another" });
  assert.equal(again.event_id, id, "a transaction's first answer stands");
});
