// The demo's parts as tests see and use them: what a room shows, and the steps that most tests share.
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { expect, test as base, until } from "./fixtures.mjs";

export const DEMO = new URL("../../www/dist/", import.meta.url);

/** The SDK asks every server whether it knows what is not yet specified, and browsers report such a "no" as an error. */
const PROBE = /\/_matrix\/client\/unstable\//;

export const test = base.extend({
  /** What the page may complain of, since the test itself brings it about. */
  expected: [/^$/, { option: true }],

  site: async ({ site }, use) => {
    if (!existsSync(DEMO)) throw new Error("www/dist is not there: run `npm run build --workspace www`");
    site.application = DEMO;
    await use(site);
  },

  /** A tab with the demo in it, that must not complain; only Playwright hears what a page complains of. */
  tab: async ({ tab, site, expected }, use) => {
    const complaints = [];
    const complain = (words) => expected.test(words) || complaints.push(words);
    tab.page?.on("pageerror", (error) => complain(String(error)));
    tab.page?.on("console", (message) => {
      if (message.type() === "error" && !PROBE.test(message.location().url)) complain(`${message.text()} ${message.location().url}`);
    });
    await tab.goto(site.url);
    await use(tab);
    expect(complaints).toEqual([]);
  },
});

export const at = (testid) => `[data-testid="${testid}"]`;

/** Runs in the page: what a person sees of a room, in one column or in the only one. */
export function seen(column = "") {
  const all = (selector, root = document.querySelector(`.column${column}`) ?? document) => [...root.querySelectorAll(selector)];
  const text = (element) => element?.textContent.trim();
  return {
    title: text(all('[data-testid="room-title"]')[0]),
    rooms: all('[data-testid="room-item"] .room-item-name').map(text),
    messages: all('[data-testid="message"]').map((message) => ({
      body: text(all('[data-testid="body"]', message)[0]),
      edited: all('[data-testid="edited"]', message).length > 0,
      reactions: all('[data-testid="reaction"]', message).map(text),
      // Until a sync has brought the message back, it is drawn as on its way.
      synced: all(".sending", message).length === 0 && message.dataset.eventId.startsWith("$"),
    })),
  };
}

/** Waits until the page shows what the test waits for. */
export async function sees(tab, wanted, column) {
  return until(() => tab.evaluate(seen, column), (view) => !(view instanceof Error) && wanted(view));
}

export const saying = (body, more = {}) => ({ body, edited: false, reactions: [], synced: true, ...more });

/** Waits until a message stands in the timeline, back from the server, as it should be. */
export async function seesMessage(tab, body, more, column) {
  await sees(tab, (view) => view.messages.some((message) => isDeepStrictEqual(message, saying(body, more))), column);
}

export async function register(tab, name) {
  await tab.fill(at("name-field"), name);
  await tab.click(at("create-account"));
}

export async function createRoom(tab, name) {
  await tab.click(at("new-room"));
  await tab.fill(at("room-name"), name);
  await tab.click(at("create-room"));
  await sees(tab, ({ title }) => title === name);
}

export async function say(tab, body, column = "") {
  await tab.fill(`${column} ${at("composer")}`, body);
  await tab.click(`${column} ${at("send")}`);
}

/** Opens what can be done with the newest message, and does it. */
export async function choose(tab, tool) {
  await tab.click(`.message:last-child ${at("body")}`);
  await tab.click(`.message:last-child ${at(tool)}`);
}
