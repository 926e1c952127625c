// Rooms with many members on a third server, into each of which one of the others comes once.

import { Person } from "./client.mjs";

/** How many of its users come into a room at a time. */
const TOGETHER = 20;

export class Elsewhere {
  #host;
  #members;
  #rooms = [];

  /** Each room has so many members, who are the same in all. */
  constructor(host, members) {
    this.#host = host;
    this.#members = members;
  }

  async begin(rooms) {
    const people = [];
    for (let number = 0; number < this.#members; number += 1) people.push(await Person.register(this.#host.url, `person${number}`));
    for (let number = 0; number < rooms; number += 1) {
      const room = await people[0].createRoom({ name: `Room ${number}` });
      const outside = people.slice(1);
      while (outside.length > 0) await Promise.all(outside.splice(0, TOGETHER).map((person) => person.join(room)));
      this.#rooms.push(room);
    }
  }

  /** A room that nobody from elsewhere has been in. */
  nextRoom() {
    return this.#rooms.pop();
  }

  /** The server that a join is to go through. */
  get name() {
    return this.#host.name;
  }
}
