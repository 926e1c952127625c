// Rooms that belong together, that follow each other, and that are looked at from outside.

import assert from "node:assert/strict";

import { path } from "../person.mjs";
import { shared, word } from "./scene.mjs";

const spaceOptions = (version) => ({ room_version: version, creation_content: { type: "m.space" }, name: word() });

export const spaces = [
  {
    name: "a restricted room is joined through its space",
    since: "8",
    async run({ here, there, version }) {
      const space = await here.create(spaceOptions(version));
      const rules = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] };
      const room = await here.create({
        preset: "private_chat", room_version: version, initial_state: [{ type: "m.room.join_rules", state_key: "", content: rules }],
      });
      await assert.rejects(there.join(room, here), { status: 403 });
      await there.join(space, here);
      await here.sees(space, there, "join");
      await there.join(room, here);
      await here.sees(room, there, "join");
      const { join_authorised_via_users_server: authoriser } = await there.state(room, "m.room.member", there.id);
      assert.equal(authoriser, here.id);
    },
  },
  {
    name: "a space's hierarchy",
    async run({ here, there, version }) {
      const space = await here.create(spaceOptions(version));
      const [open, secret] = [await here.create({ room_version: version, name: "open" }), await here.create({ preset: "private_chat", room_version: version })];
      for (const child of [open, secret]) await here.setState(space, "m.space.child", { via: [here.server] }, child);
      await there.join(space, here);
      const hierarchy = () => there.ask("GET", path`/_matrix/client/v1/rooms/${space}/hierarchy`);
      const { rooms } = await there.until(hierarchy, ({ rooms }) => rooms.length > 1);
      assert.deepEqual(rooms.map(({ room_id: id }) => id), [space, open]);
      assert.deepEqual([rooms[0].room_type, rooms[0].children_state.length, rooms[1].name], ["m.space", 2, "open"]);
    },
  },
  {
    name: "a room's summary",
    async run({ here, there, version }) {
      const name = word();
      const room = await here.create({ room_version: version, name });
      const summary = await there.ask("GET", path`/_matrix/client/v1/room_summary/${room}?via=${here.server}`);
      const { room_id: id, join_rule: rule, num_joined_members: members, "im.nheko.summary.room_version": before, room_version: now = before } = summary;
      assert.deepEqual([id, summary.name, rule, members, now], [room, name, "public", 1, version]);
    },
  },
  {
    name: "a room is upgraded",
    async run(scene) {
      const { here, there, version } = scene;
      const name = word();
      const room = await shared(scene, { name });
      const { replacement_room: successor } = await here.post(path`/rooms/${room}/upgrade`, { new_version: version });
      const { replacement_room: told } = await there.until(() => there.state(room, "m.room.tombstone"), () => true);
      assert.equal(told, successor);
      await there.join(successor, here);
      await here.sees(successor, there, "join");
      assert.equal((await there.state(successor, "m.room.create")).predecessor.room_id, room);
      assert.equal((await there.state(successor, "m.room.name")).name, name);
    },
  },
];
