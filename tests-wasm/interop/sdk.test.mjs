// The unmodified matrix-js-sdk on homeservers of different kinds, which are killed in the middle.
import assert from "node:assert/strict";
import { before, test } from "node:test";

import { bridge } from "../matrix-sdk/bridge.mjs";
import { eventually, hears, insists, makeClient } from "../node/sdk.mjs";
import { startTown } from "./town.mjs";

/** Whose users meet, the first one's in a room of theirs. */
const MEETINGS = [["node", "synapse"], ["synapse", "browser"], ["browser", "node"]];

/** Those that can be chosen while developing: `KINDS=node,synapse` for what needs no browser. */
const KINDS = process.env.KINDS?.split(",") ?? ["browser", "node", "synapse"];

const ENCRYPTED = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

/** When one meeting has gone on for so long, it waits for what does not come. */
const LIMIT_MILLIS = 120_000;

let town;
const ends = [];
before(async () => {
  town = await startTown({ after: (end) => ends.unshift(end) }, KINDS);
  if (town.browser) town.browser.url = await bridge({ after: (end) => ends.unshift(end) }, town.browser);
});
test.after(async () => {
  for (const end of ends) await end();
});

for (const kinds of MEETINGS.filter((kinds) => kinds.every((kind) => KINDS.includes(kind)))) {
  test(`matrix-js-sdk talks encrypted, before and after a restart: ${kinds.join("–")}`, { timeout: LIMIT_MILLIS }, async (t) => {
    const hosts = kinds.map((kind) => town[kind]);
    const names = ["alice", "bob"].map((name) => `${name}-${kinds.join("-")}`);
    const [alice, bob] = await Promise.all(hosts.map(({ url }, index) => makeClient(t, url, names[index], { encrypts: true })));
    const room = await meet(alice, bob);
    await converse(alice, bob, room, "at first");
    await Promise.all(hosts.map(restart));
    await converse(alice, bob, room, "after the restart");
  });
}

/** Without a warning where the host is a process of its own; a browser is closed. */
async function restart(host) {
  await host.stop("SIGKILL");
  await host.start();
}

/** Makes an encrypted room, into which one invites the other. */
async function meet(alice, bob) {
  const { room_id: room } = await alice.createRoom({ preset: "private_chat", invite: [bob.getUserId()], initial_state: [ENCRYPTED] });
  await eventually(bob, () => bob.getRoom(room)?.getMyMembership() === "invite");
  await bob.joinRoom(room);
  // Whoever sends before the other's join is known would leave them without the key.
  for (const client of [alice, bob]) await eventually(client, () => client.getRoom(room)?.getJoinedMembers().length === 2);
  return room;
}

/** Each writes something that the other decrypts. */
async function converse(alice, bob, room, occasion) {
  for (const [from, to] of [[alice, bob], [bob, alice]]) {
    const text = `${from.getUserId()} says hello, ${occasion}`;
    await insists(from, room, text);
    const heard = await hears(to, room, text);
    assert.equal(heard.getWireType(), "m.room.encrypted");
    assert.equal(heard.getSender(), from.getUserId());
  }
}
