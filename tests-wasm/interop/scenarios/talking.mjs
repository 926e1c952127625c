// Meeting in a room, and what is said there.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { agree, path } from "../person.mjs";
import { message, shared, word } from "./scene.mjs";

const media = (uri) => uri.replace("mxc://", "/_matrix/client/v1/media/download/");

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
    name: "a room is found in the other server's directory",
    async run({ here, there, version }) {
      const name = word();
      const room = await here.create({ room_version: version, visibility: "public", name, topic: "on the other side" });
      const search = () => there.post(path`/publicRooms?server=${here.server}`, { filter: { generic_search_term: name } });
      const { chunk } = await there.until(search, ({ chunk }) => chunk.length > 0);
      assert.deepEqual(chunk.map(({ room_id: id, name, topic, num_joined_members: members }) => [id, name, topic, members]), [[room, name, "on the other side", 1]]);
      await there.join(room, here);
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
        const heard = await to.hearEvent(room, message(body));
        assert.deepEqual([heard.event_id, heard.sender], [id, from.id]);
      }
    },
  },
  {
    name: "state",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene, { power_level_content_override: { users: { [here.id]: 100, [there.id]: 50 } } });
      await here.setState(room, "m.room.topic", { topic: "of here" });
      await there.until(() => there.state(room, "m.room.topic"), ({ topic }) => topic === "of here");
      await there.setState(room, "m.room.topic", { topic: "of there" });
      await there.setState(room, "org.example.weather", { sky: "grey", degrees: 7 }, "Ørsted/å b");
      await here.until(() => here.state(room, "org.example.weather", "Ørsted/å b"), ({ degrees }) => degrees === 7);
      await here.until(() => here.state(room, "m.room.topic"), ({ topic }) => topic === "of there");
      await agree(room, here, there);
    },
  },
  {
    name: "redactions",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const [own, moderated] = [await there.say(room, "a slip"), await there.say(room, "an insult")];
      await here.hearId(room, moderated);
      await there.redact(room, own);
      await here.redact(room, moderated);
      for (const [person, event] of [[here, own], [there, moderated], [there, own], [here, moderated]]) {
        const { content, unsigned } = await person.until(() => person.event(room, event), ({ content }) => content.body === undefined);
        assert.deepEqual([content, unsigned.redacted_because.type], [{}, "m.room.redaction"]);
      }
    },
  },
  {
    name: "edits, reactions and threads, with /relations",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const root = await there.say(room, "frist");
      await here.hearId(room, root);
      await there.send(room, "m.room.message", {
        msgtype: "m.text", body: "* first", "m.new_content": { msgtype: "m.text", body: "first" }, "m.relates_to": { rel_type: "m.replace", event_id: root },
      });
      await here.send(room, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: root, key: "👍" } });
      await there.send(room, "m.room.message", { msgtype: "m.text", body: "more", "m.relates_to": { rel_type: "m.thread", event_id: root } });
      for (const person of [here, there]) {
        const relations = () => person.ask("GET", path`/_matrix/client/v1/rooms/${room}/relations/${root}`);
        const { chunk } = await person.until(relations, ({ chunk }) => chunk.length === 3);
        assert.deepEqual(chunk.map(({ content }) => content["m.relates_to"].rel_type).sort(), ["m.annotation", "m.replace", "m.thread"]);
        const { unsigned } = await person.event(room, root);
        assert.equal(unsigned["m.relations"]["m.thread"].count, 1);
        assert.equal(unsigned["m.relations"]["m.replace"].content["m.new_content"].body, "first");
      }
    },
  },
  {
    name: "read receipts",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const event = await here.say(room, "read me");
      await there.hearId(room, event);
      await there.post(path`/rooms/${room}/receipt/m.read/${event}`);
      await here.hearEphemeral(room, "m.receipt", (content) => content[event]?.["m.read"]?.[there.id]);
    },
  },
  {
    name: "typing",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      await there.say(room, "so that both are in one graph");
      const heard = here.hearEphemeral(room, "m.typing", ({ user_ids: users }) => users.includes(there.id));
      await there.put(path`/rooms/${room}/typing/${there.id}`, { typing: true, timeout: 30_000 });
      await heard;
      const quiet = here.hearEphemeral(room, "m.typing", ({ user_ids: users }) => !users.includes(there.id), { since: await here.now() });
      await there.put(path`/rooms/${room}/typing/${there.id}`, { typing: false });
      await quiet;
    },
  },
  {
    name: "presence",
    async run(scene) {
      const { here, there } = scene;
      await shared(scene);
      const status = word();
      await there.put(path`/presence/${there.id}/status`, { presence: "online", status_msg: status });
      await here.hear(({ presence }) => presence?.events.find(({ sender, content }) => sender === there.id && content.status_msg === status));
      await here.until(() => here.get(path`/presence/${there.id}/status`), ({ status_msg: message }) => message === status);
    },
  },
  {
    name: "profiles",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const name = word();
      await there.put(path`/profile/${there.id}/displayname`, { displayname: name });
      await here.until(() => here.get(path`/profile/${there.id}`), ({ displayname }) => displayname === name);
      await here.until(() => here.state(room, "m.room.member", there.id), ({ displayname }) => displayname === name);
    },
  },
  {
    name: "media in both directions",
    async run({ here, there }) {
      for (const [from, to] of [[here, there], [there, here]]) {
        const file = randomBytes(300_000);
        const { content_uri: uri } = await from.ask("POST", "/_matrix/media/v3/upload?filename=log.bin", file, { "content-type": "application/x-log" });
        const { status, body } = await to.host.call("GET", media(uri), { token: to.token });
        assert.deepEqual([status, body.equals(file)], [200, true]);
      }
    },
  },
];
