// Where one's own messages are on their way to others: asked of the node, and asked again whenever something has changed.
import { ask } from "./node.js";

/**
 * `here` where no other server is to have it. The states of several destinations make one: the least that holds for all.
 * @typedef {{state: "here"|"queued"|"at_relay"|"delivered", destinations: {[server: string]: {state: string, reason?: string}}}} Delivery
 */

/** The node answers for so many at once. */
const MOST_EVENTS = 100;
/** Under the 30 s after which a browser ends an idle service worker. */
const POLL_MILLIS = 25_000;
const RETRY_MILLIS = 2000;
/** From the least to the most that can be said. */
const ORDER = ["queued", "at_relay", "delivered"];
const ON_THE_WAY = new Set(["queued", "at_relay"]);

/** Follows the messages of one's own in one room, until the signal ends it. Fires `change`. */
export class Deliveries extends EventTarget {
  /** @type {Map<string, Delivery>} */
  byEvent = new Map();

  constructor(session, room) {
    super();
    this.session = session;
    this.room = room;
  }

  async follow(signal) {
    await Promise.all([this.#meet(signal), this.#watch(signal)]);
  }

  /** A new message is asked for at once, whatever else is waited for. */
  async #meet(signal) {
    while (!signal.aborted) {
      const ids = this.#own().filter((id) => !this.byEvent.has(id)).slice(-MOST_EVENTS);
      if (ids.length) await this.#ask(ids).catch(() => pause(RETRY_MILLIS));
      else await eventOf(this.session, signal);
    }
  }

  /** What is on its way is asked for again as soon as anything has changed. */
  async #watch(signal) {
    let serial = null;
    while (!signal.aborted) {
      const ids = this.#own().filter((id) => ON_THE_WAY.has(this.byEvent.get(id)?.state)).slice(-MOST_EVENTS);
      if (!ids.length) await eventOf(this, signal);
      else serial = await this.#ask(ids, serial).catch(() => pause(RETRY_MILLIS));
    }
  }

  #own() {
    const events = this.room.getLiveTimeline().getEvents();
    const own = events.filter((event) => event.getSender() === this.session.userId && !event.status);
    return own.map((event) => event.getId()).filter((id) => id.startsWith("$"));
  }

  /** With the serial of an earlier answer, the answer waits for a change. */
  async #ask(ids, since) {
    const query = new URLSearchParams(ids.map((id) => ["event_id", id]));
    if (since) query.set("since", since);
    if (since) query.set("timeout", POLL_MILLIS);
    const { node, client } = this.session;
    const { events, serial } = await ask(node, client.getAccessToken(), `/rooms/${encodeURIComponent(this.room.roomId)}/delivery?${query}`);
    for (const id of ids) this.byEvent.set(id, deliveryOf(events[id]));
    this.dispatchEvent(new Event("change"));
    return serial;
  }
}

function deliveryOf(answer) {
  const destinations = answer?.destinations ?? {};
  const ranks = Object.values(destinations).map(({ state }) => ORDER.indexOf(state));
  return { state: ranks.length ? ORDER[Math.min(...ranks)] : "here", destinations };
}

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/** Once the signal has ended it, it never comes. */
const eventOf = (target, signal) => new Promise((resolve) => target.addEventListener("change", resolve, { once: true, signal }));
