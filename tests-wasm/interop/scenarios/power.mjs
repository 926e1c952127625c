// Both sides change the same thing at the same time, and end with the same.

import { agree } from "../person.mjs";
import { message, shared, word } from "./scene.mjs";

/** Each says something, so that each server's newest event is known to the other. */
async function settle(room, here, there) {
  for (const [from, to] of [[here, there], [there, here]]) {
    const body = word();
    await from.say(room, body);
    await to.hearEvent(room, message(body));
  }
}

export const power = [
  {
    name: "power levels change on both sides at once",
    once: true,
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene, { power_level_content_override: { users: { [here.id]: 100, [there.id]: 100 } } });
      const levels = await here.state(room, "m.room.power_levels");
      for (let round = 0; round < 3; round += 1) {
        await Promise.all([
          here.setState(room, "m.room.power_levels", { ...levels, events: { ...levels.events, "org.example.here": 10 + round } }),
          there.setState(room, "m.room.power_levels", { ...levels, events: { ...levels.events, "org.example.there": 20 + round } }),
          here.setState(room, "m.room.topic", { topic: `here ${round}` }),
          there.setState(room, "m.room.topic", { topic: `there ${round}` }),
        ]);
        await settle(room, here, there);
        await agree(room, here, there);
      }
    },
  },
  {
    name: "a ban and what the banned says at once",
    async run(scene) {
      const { here, there } = scene;
      const room = await shared(scene);
      await Promise.all([here.membership(room, "ban", there), there.setState(room, "org.example.last", {}).catch(() => {}), there.say(room, "last words").catch(() => {})]);
      await here.say(room, word());
      await here.sees(room, there, "ban");
    },
  },
];
