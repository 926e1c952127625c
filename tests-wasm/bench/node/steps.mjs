// What is measured of one homeserver: each step returns figures, in milliseconds unless they say otherwise.

import { chatter, gather } from "./crowd.mjs";
import { inRoom, Person } from "./client.mjs";

const POLL_MS = 20_000;
const IN_FLIGHT = 8;
/** So many in flight where nothing is measured. */
const IN_A_HURRY = 64;

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

async function timed(runs, action) {
  const times = [];
  for (let run = 0; run < runs; run += 1) {
    const began = performance.now();
    await action(run);
    times.push(performance.now() - began);
  }
  return median(times);
}

/** The steps on one server, with the users and rooms that they need, of which some are elsewhere. */
export class Steps {
  constructor(url, sizes, elsewhere) {
    this.url = url;
    this.sizes = sizes;
    this.elsewhere = elsewhere;
  }

  async begin() {
    this.alice = await Person.register(this.url, "alice");
    this.room = await this.alice.createRoom();
    await this.#populate();
    this.crowd = await gather(this.url, this.sizes.crowd);
  }

  /** Rooms with so many members and messages each, which everybody has read. */
  async #populate() {
    const { rooms, members, messages } = this.sizes;
    this.people = [];
    for (let number = 0; number < members; number += 1) this.people.push(await Person.register(this.url, `person${number}`));
    for (let number = 0; number < rooms; number += 1) {
      const room = await this.people[0].createRoom({ name: `Room ${number}` });
      for (const person of this.people.slice(1)) await person.join(room);
      let last;
      for (let sent = 0; sent < messages; sent += members) [last] = await Promise.all(this.people.map((person) => person.say(room)));
      const receipt = inRoom(room, `receipt/m.read/${encodeURIComponent(last)}`);
      await Promise.all(this.people.map((person) => person.post(receipt)));
    }
  }

  send() {
    return timed(this.sizes.runs, () => this.alice.say(this.room));
  }

  /** For each of those that are under way together. */
  async sendTogether() {
    const sender = async () => {
      for (let sent = 0; sent < this.sizes.runs / IN_FLIGHT; sent += 1) await this.alice.say(this.room);
    };
    const began = performance.now();
    await Promise.all(Array.from({ length: IN_FLIGHT }, sender));
    return (performance.now() - began) / (Math.ceil(this.sizes.runs / IN_FLIGHT) * IN_FLIGHT);
  }

  async putToSync() {
    let since = (await this.alice.sync()).next_batch;
    const times = [];
    for (let run = 0; run < this.sizes.runs / 2; run += 1) {
      let poll = this.alice.sync({ since, timeout: POLL_MS });
      // The poll must be waiting before the message goes out.
      await this.alice.get("/account/whoami");
      const began = performance.now();
      const sent = this.alice.say(this.room);
      // Other news may be told before it.
      for (let told = false; !told; ) {
        const { next_batch: next, rooms } = await poll;
        const answered = performance.now();
        const id = await sent;
        told = rooms?.join?.[this.room]?.timeline?.events?.some(({ event_id: event }) => event === id);
        since = next;
        if (told) times.push(answered - began);
        else poll = this.alice.sync({ since, timeout: POLL_MS });
      }
    }
    return median(times);
  }

  createRoom() {
    return timed(this.sizes.runs / 10, (run) => this.alice.createRoom({ name: `Room ${run}` }));
  }

  messages() {
    return timed(this.sizes.runs, () => this.alice.get(inRoom(this.room, "messages?dir=b&limit=50")));
  }

  /** By somebody who has not asked before: Synapse keeps an answer for two minutes. */
  async initialSync() {
    const person = this.people.pop();
    return timed(1, () => person.sync());
  }

  /** So many messages more. */
  async grow(count) {
    let left = count;
    const sender = async () => {
      for (; left > 0; left -= 1) await this.alice.say(this.room);
    };
    await Promise.all(Array.from({ length: IN_A_HURRY }, sender));
  }

  /** Messages in a second that everybody has seen. */
  async crowdPerSecond() {
    return (await chatter(this.crowd, this.sizes.chatter)).perSecond;
  }

  /** Synapse answers before it knows a room's members, and fetches them while the next join is measured, unless they are waited for. */
  async joinElsewhere() {
    const { joined } = await this.#enterElsewhere();
    return joined;
  }

  async meetElsewhere() {
    const { met } = await this.#enterElsewhere();
    return met;
  }

  /** The first one of this server who comes into a room of another: how long until this is so, and until everybody there is known. */
  async #enterElsewhere() {
    const room = this.elsewhere.nextRoom();
    const began = performance.now();
    await this.alice.post(`/join/${encodeURIComponent(room)}?via=${this.elsewhere.name}`);
    const joined = performance.now() - began;
    const { chunk } = await this.alice.get(inRoom(room, "members?membership=join"));
    const met = performance.now() - began;
    if (chunk.length !== this.sizes.elsewhere + 1) throw new Error(`${this.url} tells of ${chunk.length} members`);
    return { joined, met };
  }
}
