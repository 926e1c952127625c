// One of the servers is away for a while.

import assert from "node:assert/strict";

import { agree, path } from "../person.mjs";
import { message, shared, word } from "./scene.mjs";

const MANY = 300;

/** All that was said is there, and nothing twice. */
async function hasAll(person, room, bodies) {
  const wanted = new Set(bodies);
  const texts = await person.until(() => person.texts(room), (texts) => new Set(texts.filter((text) => wanted.has(text))).size === wanted.size);
  const heard = texts.filter((text) => wanted.has(text));
  assert.equal(heard.length, wanted.size);
  return heard;
}

export const absence = [
  {
    name: "a long absence",
    long: true,
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      await there.host.stop();
      const prefix = word();
      const said = Array.from({ length: MANY }, (_, index) => `${prefix} ${index}`);
      for (const body of said) await here.say(room, body);
      await there.host.start();
      assert.deepEqual(await hasAll(there, room, said), said);
      const body = word();
      await there.say(room, body);
      await here.hearEvent(room, message(body));
      await agree(room, here, there);
    },
  },
  {
    name: "a restart while messages flow",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      const prefix = word();
      const said = [];
      const speaking = (async () => {
        for (let index = 0; index < 60; index += 1) {
          await here.say(room, `${prefix} ${index}`);
          said.push(`${prefix} ${index}`);
        }
      })();
      await there.host.stop("SIGKILL");
      await there.host.start();
      await speaking;
      assert.deepEqual(await hasAll(there, room, said), said);
    },
  },
  {
    name: "a third server joins through the second while the first is away",
    async run(scene) {
      const { here, there, third, town } = scene;
      // Ours ask the second for the first's keys. Synapse asks the notary that it trusts, and has none here: it has to have met the first.
      if (third.host === town.synapse) await shared({ ...scene, here: third, there: here });
      const room = await shared(scene);
      const before = word();
      await here.say(room, before);
      await there.hearEvent(room, message(before));
      await here.host.stop();
      try {
        await third.join(room, there);
        await there.sees(room, third, "join");
        await third.say(room, "in the meantime");
        await there.hearEvent(room, message("in the meantime"));
      } finally {
        await here.host.start();
      }
      await here.sees(room, third, "join");
      const [body, answer] = [word(), word()];
      await here.say(room, body);
      await third.hearEvent(room, message(body));
      await third.say(room, answer);
      await here.hearEvent(room, message(answer));
      await agree(room, here, third);
      await agree(room, here, there);
    },
  },
];
