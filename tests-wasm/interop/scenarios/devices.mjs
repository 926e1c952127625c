// What end-to-end encryption needs of servers: keys of devices, their lists, and messages from device to device.

import assert from "node:assert/strict";

import { path } from "../person.mjs";
import { makeKey, unpadded } from "./keys.mjs";
import { shared, word } from "./scene.mjs";

/** A key of a person's, what describes it, and what signs objects in the name `ed25519:NAME`. */
function signingKey(person, name) {
  const { id, signed } = makeKey();
  const describe = (usage) => ({ user_id: person.id, usage: [usage], keys: { [`ed25519:${id}`]: id } });
  return { id, describe, signed: (value) => signed(value, person.id, name ?? id) };
}

/** Uploads keys of this person's device as a client would, with one key to be claimed and one to fall back on. */
async function uploadKeys(person) {
  const { device_id: device } = await person.get("/account/whoami");
  const { id: own, signed } = signingKey(person, device);
  const device_keys = signed({
    user_id: person.id, device_id: device, algorithms: ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
    keys: { [`ed25519:${device}`]: own, [`curve25519:${device}`]: unpadded(Buffer.from(word().padEnd(32, "-"))) },
  });
  const once = signed({ key: unpadded(Buffer.from(word().padEnd(32, "-"))) });
  const fallback = signed({ key: unpadded(Buffer.from(word().padEnd(32, "-"))), fallback: true });
  await person.post("/keys/upload", { device_keys, one_time_keys: { "signed_curve25519:AAAA1": once }, fallback_keys: { "signed_curve25519:AAAA2": fallback } });
  return { device, device_keys, once, fallback };
}

/** A second login, so that every scenario has a device of its own. */
async function newDevice(person) {
  const body = { type: "m.login.password", identifier: { type: "m.id.user", user: person.id }, password: "correct horse" };
  const { body: login } = await person.host.call("POST", "/_matrix/client/v3/login", { body });
  return Object.assign(Object.create(Object.getPrototypeOf(person)), person, { token: login.access_token });
}

export const devices = [
  {
    name: "device lists",
    async run(scene) {
      const { here, there } = scene;
      await shared(scene);
      const since = await here.now();
      const phone = await newDevice(there);
      const { device } = await uploadKeys(phone);
      await here.hear(({ device_lists: lists }) => lists?.changed?.includes(there.id), { since });
      const query = () => here.post("/keys/query", { device_keys: { [there.id]: [] } });
      await here.until(query, ({ device_keys: keys }) => keys[there.id]?.[device]);
      await phone.post("/logout");
      await here.until(query, ({ device_keys: keys }) => !keys[there.id]?.[device]);
    },
  },
  {
    name: "keys are queried and claimed",
    async run(scene) {
      const { here, there } = scene;
      await shared(scene);
      const { device, device_keys: uploaded, once, fallback } = await uploadKeys(await newDevice(there));
      const query = () => here.post("/keys/query", { device_keys: { [there.id]: [device] } });
      const { device_keys: keys } = await here.until(query, ({ device_keys: keys }) => keys[there.id]?.[device]);
      const { unsigned: _, ...told } = keys[there.id][device];
      assert.deepEqual(told, uploaded);
      const claim = async () => {
        const { one_time_keys: claimed } = await here.post("/keys/claim", { one_time_keys: { [there.id]: { [device]: "signed_curve25519" } } });
        return claimed[there.id][device];
      };
      assert.deepEqual(await claim(), { "signed_curve25519:AAAA1": once });
      assert.deepEqual(await claim(), { "signed_curve25519:AAAA2": fallback });
      assert.deepEqual(await claim(), { "signed_curve25519:AAAA2": fallback });
    },
  },
  {
    name: "cross-signing keys",
    async run(scene) {
      const { here, there, version } = scene;
      await shared(scene);
      const person = await there.constructor.register(there.host, word());
      const room = await person.create({ room_version: version });
      await here.join(room, person);
      const master = signingKey(person);
      const [own, others] = [signingKey(person), signingKey(person)];
      const body = {
        master_key: master.describe("master"), self_signing_key: master.signed(own.describe("self_signing")), user_signing_key: master.signed(others.describe("user_signing")),
      };
      const first = await person.host.call("POST", "/_matrix/client/v3/keys/device_signing/upload", { token: person.token, body });
      if (first.status === 401) {
        const auth = { type: "m.login.password", session: first.body.session, identifier: { type: "m.id.user", user: person.id }, password: "correct horse" };
        await person.post("/keys/device_signing/upload", { ...body, auth });
      }
      const query = () => here.post("/keys/query", { device_keys: { [person.id]: [] } });
      const answer = await here.until(query, ({ master_keys: keys }) => keys?.[person.id]);
      assert.deepEqual(Object.values(answer.master_keys[person.id].keys), [master.id]);
      assert.deepEqual(Object.values(answer.self_signing_keys[person.id].keys), [own.id]);
      assert.equal(answer.user_signing_keys?.[person.id], undefined);
    },
  },
  {
    name: "messages from device to device",
    async run(scene) {
      const { here, there } = scene;
      await shared(scene);
      const { device_id: device } = await there.get("/account/whoami");
      const bodies = [word(), word(), word()];
      const since = await there.now();
      for (const body of bodies) {
        await here.put(path`/sendToDevice/org.example.note/${body}`, { messages: { [there.id]: { [body === bodies[2] ? "*" : device]: { body } } } });
      }
      const heard = [];
      await there.hear(({ to_device: { events } = { events: [] } }) => {
        heard.push(...events.filter(({ type, sender }) => type === "org.example.note" && sender === here.id).map(({ content }) => content.body));
        return heard.length === bodies.length;
      }, { since });
      assert.deepEqual(heard, bodies);
    },
  },
];
