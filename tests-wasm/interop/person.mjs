// People on homeservers, and what they do in rooms, in the words of the client-server API.

import { isDeepStrictEqual } from "node:util";

import { User } from "../node/support.mjs";

/** How long something may take to arrive from the other server. */
const PATIENCE_MILLIS = 40_000;
const POLL_MILLIS = 5_000;

/** So many pages no history here has. */
const MOST_PAGES = 100;

const path = (parts, ...values) => String.raw({ raw: parts }, ...values.map(encodeURIComponent));

export class Person extends User {
  static async register(host, username) {
    return Object.setPrototypeOf(await super.register(host, username), Person.prototype);
  }

  get server() {
    return this.host.name;
  }

  /** A request that is not answered in time fails, and says which it was. */
  ask(method, path, ...more) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.id} has no answer to ${method} ${path}`)), PATIENCE_MILLIS);
    });
    return Promise.race([super.ask(method, path, ...more), late]).finally(() => clearTimeout(timer));
  }

  /** The room's ID. `options` are those of `createRoom`. */
  async create(options) {
    return (await this.post("/createRoom", { preset: "public_chat", ...options })).room_id;
  }

  join(room, ...via) {
    return this.post(`${path`/join/${room}`}?${via.map((server) => path`via=${server.host.name}`).join("&")}`);
  }

  /** Membership of oneself or of others: `leave`, or with a person `invite`, `kick`, `ban` and `unban`. */
  membership(room, action, person) {
    return this.post(path`/rooms/${room}/${action}`, person && { user_id: person.id });
  }

  send(room, type, content) {
    this.transactions += 1;
    return this.put(path`/rooms/${room}/send/${type}/t${this.transactions}`, content).then(({ event_id: id }) => id);
  }

  setState(room, type, content, key = "") {
    return this.put(path`/rooms/${room}/state/${type}/${key}`, content).then(({ event_id: id }) => id);
  }

  state(room, type, key = "") {
    return this.get(path`/rooms/${room}/state/${type}/${key}`);
  }

  redact(room, event) {
    this.transactions += 1;
    return this.put(path`/rooms/${room}/redact/${event}/t${this.transactions}`, {});
  }

  event(room, id) {
    return this.get(path`/rooms/${room}/event/${id}`);
  }

  /** What is asked for until it is as wanted; refusals count as not yet. */
  async until(ask, wanted) {
    const deadline = Date.now() + PATIENCE_MILLIS;
    for (;;) {
      const answer = await ask().catch((error) => error);
      if (!(answer instanceof Error) && wanted(answer)) return answer;
      if (Date.now() > deadline) throw new Error(`${this.id} still has ${answer instanceof Error ? answer.message : JSON.stringify(answer)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Syncs from the beginning or a token until something was told that fits. */
  async hear(fits, { since } = {}) {
    const deadline = Date.now() + PATIENCE_MILLIS;
    while (Date.now() < deadline) {
      const answer = await this.get(`/sync?timeout=${POLL_MILLIS}${since ? path`&since=${since}` : ""}`);
      since = answer.next_batch;
      const found = fits(answer);
      if (found) return found;
    }
    throw new Error(`${this.id} has not heard what was waited for: ${fits}`);
  }

  /** Where this person's sync stands now. */
  async now() {
    return (await this.get("/sync?timeout=0")).next_batch;
  }

  hearEvent(room, fits, options) {
    return this.hear(({ rooms }) => {
      const { timeline, state } = rooms?.join?.[room] ?? {};
      return [...(state?.events ?? []), ...(timeline?.events ?? [])].find(fits);
    }, options);
  }

  /** Waits for the event of that ID. */
  hearId(room, id) {
    return this.hearEvent(room, ({ event_id: each }) => each === id).catch(() => this.event(room, id));
  }

  hearEphemeral(room, type, fits, options) {
    return this.hear(({ rooms }) => rooms?.join?.[room]?.ephemeral?.events.find((event) => event.type === type && fits(event.content)), options);
  }

  hearInvite(room) {
    return this.hear(({ rooms }) => rooms?.invite?.[room]);
  }

  /** Waits until a person's membership is this. */
  sees(room, person, membership) {
    return this.until(() => this.state(room, "m.room.member", person.id), (content) => content.membership === membership);
  }

  /** The room's whole state by type and state key, to be compared with another server's. */
  async wholeState(room) {
    const events = await this.get(path`/rooms/${room}/state`);
    return Object.fromEntries(events.map(({ type, state_key: key, event_id: id }) => [`${type} ${key}`, id]).sort());
  }

  /** Every message text of a room, oldest first, as `/messages` pages it backwards. */
  async texts(room) {
    const texts = [];
    const pages = [];
    for (let from; ; pages.push(from)) {
      if (pages.length > MOST_PAGES) throw new Error(`the history does not end: ${pages.slice(-4)}`);
      const page = await this.get(`${path`/rooms/${room}/messages`}?dir=b&limit=100${from ? path`&from=${from}` : ""}`);
      texts.push(...page.chunk.map(({ content }) => content.body).filter((body) => body !== undefined));
      if (!page.end || page.end === from) return texts.reverse();
      from = page.end;
    }
  }
}

/** Waits until both see the same state of a room. */
export async function agree(room, one, other) {
  await one.until(() => Promise.all([one.wholeState(room), other.wholeState(room)]), ([here, there]) => isDeepStrictEqual(here, there));
}

export { path };
