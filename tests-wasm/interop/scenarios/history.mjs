// What was said before somebody came.

import assert from "node:assert/strict";

import { path } from "../person.mjs";
import { shared, word } from "./scene.mjs";

const BACKLOG = 1_000;
const IN_FLIGHT = 8;

/** Says so many things, several at a time. */
async function sayMany(person, room, count, prefix) {
  const bodies = Array.from({ length: count }, (_, index) => `${prefix} ${index}`);
  for (let from = 0; from < count; from += IN_FLIGHT) await Promise.all(bodies.slice(from, from + IN_FLIGHT).map((body) => person.say(room, body)));
  return bodies;
}

export const history = [
  {
    name: "1,000 earlier messages are fetched",
    long: true,
    async run({ here, there, version }) {
      const room = await here.create({ room_version: version });
      const said = await sayMany(here, room, BACKLOG, word());
      await there.join(room, here);
      const texts = await there.until(() => there.texts(room), (texts) => texts.length >= BACKLOG);
      assert.deepEqual([...texts].sort(), [...said].sort());
    },
  },
  {
    name: "earlier messages are fetched in order",
    async run({ here, there, version }) {
      const room = await here.create({ room_version: version });
      const said = [];
      for (let index = 0; index < 40; index += 1) {
        said.push(`${index}`);
        await here.say(room, `${index}`);
      }
      await there.join(room, here);
      assert.deepEqual(await there.until(() => there.texts(room), (texts) => texts.length >= said.length), said);
    },
  },
  {
    name: "an event is found by its time",
    async run(scene) {
      const { here, there, version } = scene;
      const room = await here.create({ room_version: version });
      const event = await here.say(room, "early");
      const { origin_server_ts: at } = await here.event(room, event);
      await here.say(room, "later");
      await there.join(room, here);
      const ask = () => there.ask("GET", `${path`/_matrix/client/v1/rooms/${room}/timestamp_to_event`}?ts=${at}&dir=f`);
      assert.equal((await there.until(ask, () => true)).event_id, event);
      // From there one pages back, past what this server has seen of the room.
      const { event: found, start, events_before: before } = await there.get(path`/rooms/${room}/context/${event}`);
      assert.equal(found.event_id, event);
      const earlier = async () => [...before, ...(await there.get(path`/rooms/${room}/messages?from=${start}&dir=b`)).chunk];
      const events = await there.until(earlier, (events) => events.some(({ type }) => type === "m.room.create"));
      assert.ok(events.every(({ type }) => type !== "m.room.message"));
    },
  },
  {
    name: "history that newcomers may not see",
    async run({ here, there, version }) {
      const visibility = { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } };
      const room = await here.create({ room_version: version, initial_state: [visibility] });
      const before = await here.say(room, "before");
      await there.join(room, here);
      await here.sees(room, there, "join");
      const after = await here.say(room, "after");
      await there.hearId(room, after);
      assert.deepEqual(await there.texts(room), ["after"]);
      await assert.rejects(there.event(room, before), ({ status }) => status === 403 || status === 404);
    },
  },
];
