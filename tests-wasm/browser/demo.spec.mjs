// The demo as people use it: an account in one step, rooms, talk, and everything there again after a reload.
import { existsSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { expect, test as base, until } from "./fixtures.mjs";

/** The SDK asks every server whether it knows what is not yet specified, and browsers report such a "no" as an error. */
const PROBE = /\/_matrix\/client\/unstable\//;
const DEMO = new URL("../../www/dist/", import.meta.url);

const test = base.extend({
  site: async ({ site }, use) => {
    if (!existsSync(DEMO)) throw new Error("www/dist is not there: run `npm run build --workspace www`");
    site.application = DEMO;
    await use(site);
  },

  /** A tab with the demo in it, that must not complain; only Playwright hears what a page complains of. */
  tab: async ({ tab, site }, use) => {
    const complaints = [];
    tab.page?.on("pageerror", (error) => complaints.push(String(error)));
    tab.page?.on("console", (message) => {
      if (message.type() === "error" && !PROBE.test(message.location().url)) complaints.push(`${message.text()} ${message.location().url}`);
    });
    await tab.goto(site.url);
    await use(tab);
    expect(complaints).toEqual([]);
  },
});

const at = (testid) => `[data-testid="${testid}"]`;

/** Runs in the page: what a person sees of a room, in one column or in the only one. */
function seen(column = "") {
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
async function sees(tab, wanted, column) {
  return until(() => tab.evaluate(seen, column), (view) => !(view instanceof Error) && wanted(view));
}

const saying = (body, more = {}) => ({ body, edited: false, reactions: [], synced: true, ...more });

/** Waits until a message stands in the timeline, back from the server, as it should be. */
async function seesMessage(tab, body, more, column) {
  await sees(tab, (view) => view.messages.some((message) => isDeepStrictEqual(message, saying(body, more))), column);
}

async function register(tab, name) {
  await tab.fill(at("name-field"), name);
  await tab.click(at("create-account"));
}

async function createRoom(tab, name) {
  await tab.click(at("new-room"));
  await tab.fill(at("room-name"), name);
  await tab.click(at("create-room"));
  await sees(tab, ({ title }) => title === name);
}

async function say(tab, body, column = "") {
  await tab.fill(`${column} ${at("composer")}`, body);
  await tab.click(`${column} ${at("send")}`);
}

/** Opens what can be done with the newest message, and does it. */
async function choose(tab, tool) {
  await tab.click(`.message:last-child ${at("body")}`);
  await tab.click(`.message:last-child ${at(tool)}`);
}

test("an account, a room, a message, and all of it again after a reload", async ({ tab }) => {
  await register(tab, "Ada Lovelace");
  const welcome = await sees(tab, ({ title, messages }) => title === "Welcome" && messages.length === 3);
  expect(welcome.messages[0].body).toContain("Welcome, Ada Lovelace");

  await createRoom(tab, "Hearth");
  await say(tab, "Is it warm in here?");
  await seesMessage(tab, "Is it warm in here?");
  await choose(tab, "edit");
  await say(tab, "It is warm in here.");
  await seesMessage(tab, "It is warm in here.", { edited: true });
  await choose(tab, "react");
  await tab.click(at("emoji"));
  await seesMessage(tab, "It is warm in here.", { edited: true, reactions: ["👍 1"] });

  await tab.reload();
  await seesMessage(tab, "It is warm in here.", { edited: true, reactions: ["👍 1"] });
  expect((await tab.evaluate(seen)).rooms.sort()).toEqual(["Hearth", "Welcome"]);
  await say(tab, "Still here.");
  await seesMessage(tab, "Still here.");
});

test("two accounts side by side: an invitation, and talk in both directions", async ({ tab }) => {
  const [ada, bo] = [".column:first-of-type", ".column:last-of-type"];
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await createRoom(tab, "Hearth");
  await tab.click(at("try-alone"));
  await register(tab, "Bo");
  await sees(tab, ({ title }) => title === "Welcome", bo);

  await tab.click(`${ada} ${at("invite")}`);
  await tab.click(`${ada} ${at("invite-user")}`);
  await tab.click(`${ada} ${at("close-panel")}`);
  await tab.click(`${bo} .room-header .back`);
  await tab.click(`${bo} .room-item:has(.badge.loud)`);
  await tab.click(`${bo} ${at("accept-invite")}`);
  await sees(tab, ({ title }) => title === "Hearth", bo);

  await say(tab, "Come in!", ada);
  await seesMessage(tab, "Come in!", {}, bo);
  await say(tab, "Thank you.", bo);
  await seesMessage(tab, "Thank you.", {}, ada);
});
