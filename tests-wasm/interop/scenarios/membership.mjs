// Coming into a room and going out of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

import { agree, path } from "../person.mjs";
import { makeKey } from "./keys.mjs";
import { message, shared, word } from "./scene.mjs";

/** A private room of `here` with a name, to which `there` is invited. */
async function inviting({ here, there, version }) {
  const name = word();
  const room = await here.create({ preset: "private_chat", room_version: version, name });
  await here.membership(room, "invite", there);
  const { invite_state: { events } } = await there.hearInvite(room);
  assert.equal(events.find(({ type }) => type === "m.room.name").content.name, name);
  return room;
}

/** A private room of `here`, at whose door `there` knocks. */
async function knocking({ here, there, version }) {
  const joinRules = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
  const room = await here.create({ preset: "private_chat", room_version: version, initial_state: [joinRules] });
  await there.post(path`/knock/${room}?via=${here.server}`, { reason: "a friend" });
  await here.sees(room, there, "knock");
  return room;
}

/** An identity server, as far as rooms ask one: whether its key still holds. */
async function startIdentityServer() {
  const server = createServer((_, response) => response.setHeader("content-type", "application/json").end('{"valid":true}')).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}/_matrix/identity/v2/pubkey/isvalid`, stop: () => server.close() };
}

export const membership = [
  {
    name: "an invitation is accepted",
    async run(scene) {
      const { here, there } = scene;
      const room = await inviting(scene);
      await there.post(path`/rooms/${room}/join`);
      await here.sees(room, there, "join");
      const body = word();
      await there.say(room, body);
      await here.hearEvent(room, message(body));
      await agree(room, here, there);
    },
  },
  {
    name: "an invitation is rejected",
    async run(scene) {
      const { here, there } = scene;
      const room = await inviting(scene);
      await there.membership(room, "leave");
      await here.sees(room, there, "leave");
    },
  },
  {
    name: "an invitation is withdrawn",
    async run(scene) {
      const { here, there } = scene;
      const room = await inviting(scene);
      const since = await there.now();
      await here.membership(room, "kick", there);
      await there.hear(({ rooms }) => rooms?.leave?.[room], { since });
    },
  },
  {
    name: "leaving and coming back",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      await there.membership(room, "leave");
      await here.sees(room, there, "leave");
      const body = word();
      await here.say(room, body);
      await there.join(room, here);
      await here.sees(room, there, "join");
      await there.until(() => there.texts(room), (texts) => texts.includes(body));
      await agree(room, here, there);
    },
  },
  {
    name: "an invitation by e-mail address finds its person",
    async run({ here, there, version }) {
      const room = await here.create({ preset: "private_chat", room_version: version });
      const identity = await startIdentityServer();
      try {
        const { id: key, signed } = makeKey();
        const [token, keys] = [word(), { public_key: key, key_validity_url: identity.url }];
        await here.setState(room, "m.room.third_party_invite", { display_name: "b…@example.org", ...keys, public_keys: [keys] }, token);
        // The person makes an account and tells the identity server of it, which tells the person's homeserver.
        const who = { medium: "email", address: "bo@example.org", mxid: there.id };
        const invite = { ...who, room_id: room, sender: here.id, signed: signed({ mxid: there.id, token }, "identity.test", "0") };
        // The specification has it put; identity servers post it, and Synapse knows nothing else.
        const { status } = await there.host.reach("POST", "/_matrix/federation/v1/3pid/onbind", { body: { ...who, invites: [invite] } });
        assert.equal(status, 200);
        await there.hearInvite(room);
        await there.post(path`/rooms/${room}/join`);
        await here.sees(room, there, "join");
      } finally {
        identity.stop();
      }
    },
  },
  {
    name: "knocking",
    since: "7",
    async run(scene) {
      const { here, there } = scene;
      const room = await knocking(scene);
      assert.equal((await here.state(room, "m.room.member", there.id)).reason, "a friend");
      await here.membership(room, "invite", there);
      await there.hearInvite(room);
      await there.post(path`/rooms/${room}/join`);
      await here.sees(room, there, "join");
    },
  },
  {
    name: "a knock is taken back",
    since: "7",
    // Synapse tells nobody: https://github.com/element-hq/synapse/blob/v1.163.2/synapse/handlers/room_member.py
    notBy: "synapse",
    async run(scene) {
      const { here, there } = scene;
      const room = await knocking(scene);
      await there.membership(room, "leave");
      await here.sees(room, there, "leave");
    },
  },
  {
    name: "a knock is refused",
    since: "7",
    // Synapse tells whoever knocked no more than it hears:
    // https://github.com/element-hq/synapse/blob/v1.163.2/synapse/federation/sender/__init__.py
    without: "synapse",
    async run(scene) {
      const { here, there } = scene;
      const room = await knocking(scene);
      const since = await there.now();
      await here.membership(room, "kick", there);
      await there.hear(({ rooms }) => rooms?.leave?.[room], { since });
    },
  },
  {
    name: "kick",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const since = await there.now();
      await here.membership(room, "kick", there);
      await there.hear(({ rooms }) => rooms?.leave?.[room], { since });
      await assert.rejects(there.say(room, "still here?"), { status: 403 });
      await there.join(room, here);
      await here.sees(room, there, "join");
    },
  },
  {
    name: "ban and its end",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const since = await there.now();
      await here.membership(room, "ban", there);
      await there.hear(({ rooms }) => rooms?.leave?.[room], { since });
      await assert.rejects(there.join(room, here), { status: 403 });
      await here.membership(room, "unban", there);
      await there.until(() => there.join(room, here), () => true);
      await here.sees(room, there, "join");
    },
  },
  {
    name: "a server that the access list denies",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      await here.setState(room, "m.room.server_acl", { allow: ["*"], deny: [there.server], allow_ip_literals: true });
      await there.until(() => there.state(room, "m.room.server_acl"), ({ deny }) => deny.length === 1);
      const kept = await here.say(room, word());
      const [denied, other] = [word(), await shared(scene)];
      await there.say(room, denied).catch((error) => assert.equal(error.status, 403));
      // Through another room both still meet, and what is denied would be here by then.
      const sign = word();
      await there.say(other, sign);
      await here.hearEvent(other, message(sign));
      assert.ok(!(await here.texts(room)).includes(denied));
      assert.equal((await here.event(room, kept)).event_id, kept);
    },
  },
];
