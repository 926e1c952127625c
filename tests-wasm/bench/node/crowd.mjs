// Many users of one room, who all follow it and write at once.

import { inRoom, Person } from "./client.mjs";

/** What a client that wants to miss nothing asks for. */
const LIMIT = 100;
const FILTER = { room: { timeline: { limit: LIMIT } } };

const POLL_MS = 20_000;

/** Registers so many users and lets them join one room. */
export async function gather(base, size) {
  const people = [];
  for (let number = 0; number < size; number += 1) people.push(await Person.register(base, `crowd${number}`));
  const room = await people[0].createRoom();
  for (const person of people.slice(1)) await person.join(room);
  return { people, room };
}

/** Each says so many things one after the other, while all of them sync until they have seen all. How many were sent in each second. */
export async function chatter({ people, room }, messages) {
  const total = people.length * messages;
  const starts = [];
  for (const person of people) starts.push((await person.sync({ filter: FILTER })).next_batch);
  let polls = 0;
  const follow = async (person, since) => {
    let seen = 0;
    while (seen < total) {
      const answer = await person.sync({ since, timeout: POLL_MS, filter: FILTER });
      polls += 1;
      const { events = [], limited, prev_batch: before } = answer.rooms?.join?.[room]?.timeline ?? {};
      seen += messagesIn(events);
      if (limited) seen += await countBetween(person, room, before, since);
      since = answer.next_batch;
    }
  };
  const speak = async (person) => {
    for (let message = 0; message < messages; message += 1) await person.say(room);
  };
  const began = performance.now();
  const following = people.map((person, index) => follow(person, starts[index]));
  await Promise.all(people.map(speak));
  const sent = performance.now() - began;
  await Promise.all(following);
  const seen = performance.now() - began;
  return { perSecond: (total * 1000) / seen, sentPerSecond: (total * 1000) / sent, polls };
}

/** The messages of a gap, which a client has to page through. */
async function countBetween(person, room, from, to) {
  let seen = 0;
  for (let before = from; before !== undefined; ) {
    const query = new URLSearchParams({ dir: "b", limit: LIMIT, from: before, to });
    const { chunk, end } = await person.get(inRoom(room, `messages?${query}`));
    seen += messagesIn(chunk);
    before = chunk.length > 0 ? end : undefined;
  }
  return seen;
}

function messagesIn(events) {
  return events.filter(({ type }) => type === "m.room.message").length;
}
