// Meeting in a room, and what is said there.

import assert from "node:assert/strict";

import { agree, path } from "../person.mjs";

let rooms = 0;

/** A word that no other room or message has. */
export const word = () => `w${Date.now().toString(36)}${(rooms += 1)}`;

/** A public room of `here`, with `there` in it. */
export async function shared({ here, there, version }, options = {}) {
  const room = await here.create({ room_version: version, ...options });
  await there.join(room, here);
  await here.sees(room, there, "join");
  return room;
}

export const talking = [
  {
    name: "a public room is found by its alias and joined",
    async run({ here, there, version }) {
      const alias = word();
      const room = await here.create({ room_version: version, room_alias_name: alias });
      const { room_id: joined } = await there.join(`#${alias}:${here.server}`);
      assert.equal(joined, room);
      await here.sees(room, there, "join");
      await agree(room, here, there);
    },
  },
  {
    name: "messages in both directions",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      for (const [from, to] of [[here, there], [there, here], [here, there]]) {
        const body = word();
        const id = await from.say(room, body);
        const heard = await to.hearEvent(room, (event) => event.content.body === body);
        assert.deepEqual([heard.event_id, heard.sender], [id, from.id]);
      }
    },
  },
];
