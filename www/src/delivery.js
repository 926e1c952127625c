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

/** Follows the messages of one's own in one room, until the signal ends it. Fires `change`. */
export class Deliveries extends EventTarget {
  /** @type {Map<string, Delivery>} */
  byEvent = new Map();
  #serial = null;
  #asked = new Set();

  constructor(session, room) {
    super();
    this.session = session;
    this.room = room;
  }

  async follow(signal) {
    while (!signal.aborted) {
      const wanted = this.#unfinished();
      if (!wanted.length) await changeOf(this.session, signal);
      else await this.#ask(wanted).catch(() => pause(RETRY_MILLIS));
    }
  }

  /** The newest messages that have not arrived everywhere, as far as is known. */
  #unfinished() {
    const events = this.room.getLiveTimeline().getEvents();
    const own = events.filter((event) => event.getSender() === this.session.userId && !event.status && event.getId().startsWith("$"));
    const ids = own.map((event) => event.getId());
    return ids.filter((id) => !["here", "delivered"].includes(this.byEvent.get(id)?.state)).slice(-MOST_EVENTS);
  }

  /** What was not asked for before is answered at once; what was, as soon as something has changed. */
  async #ask(ids) {
    const query = new URLSearchParams(ids.map((id) => ["event_id", id]));
    if (this.#serial && ids.every((id) => this.#asked.has(id))) {
      query.set("since", this.#serial);
      query.set("timeout", POLL_MILLIS);
    }
    const { node, client } = this.session;
    const { events, serial } = await ask(node, client.getAccessToken(), `/rooms/${encodeURIComponent(this.room.roomId)}/delivery?${query}`);
    this.#serial = serial;
    this.#asked = new Set(ids);
    for (const id of ids) this.byEvent.set(id, deliveryOf(events[id]));
    this.dispatchEvent(new Event("change"));
  }
}

function deliveryOf(answer) {
  const destinations = answer?.destinations ?? {};
  const ranks = Object.values(destinations).map(({ state }) => ORDER.indexOf(state));
  return { state: ranks.length ? ORDER[Math.min(...ranks)] : "here", destinations };
}

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

const changeOf = (session, signal) =>
  new Promise((resolve) => {
    session.addEventListener("change", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
