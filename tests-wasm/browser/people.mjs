// People with a server each, in browser profiles of their own, who meet through a relay: what the tests of them share.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { DEMO, at, register, seen, sees } from "./demo.mjs";
import { test as base, until } from "./fixtures.mjs";
import { Relay } from "./relay.mjs";
import { PlaywrightTab } from "./tab.mjs";

/** Two browsers, a relay and a page that loads itself twice: on two busy cores that takes a while. */
export const PATIENCE_MILLIS = 60_000;

/** A person: a profile that outlives its browser, and the tab in it. */
class Person {
  #browser;

  constructor(playwright, options, profile) {
    this.playwright = playwright;
    this.options = options;
    this.profile = profile;
  }

  async open(url) {
    this.#browser = await this.playwright.chromium.launchPersistentContext(this.profile, { ...this.options, permissions: ["clipboard-write"] });
    this.tab = new PlaywrightTab(this.#browser.pages()[0] ?? (await this.#browser.newPage()));
    await this.tab.goto(url);
    return this.tab;
  }

  /** The whole browser, so that the node is gone with it. */
  async close() {
    await this.#browser?.close();
    this.#browser = undefined;
  }
}

export const test = base.extend({
  /** Further settings of the relay's command. */
  relaySettings: [[], { option: true }],

  relay: async ({ relaySettings }, use) => {
    const relay = new Relay({ settings: relaySettings });
    await relay.start();
    await use(relay);
    await relay.remove();
  },

  site: async ({ site, relay }, use) => {
    if (!existsSync(DEMO)) throw new Error("www/dist is not there: run `npm run build --workspace www`");
    site.application = DEMO;
    site.files["relays.json"] = JSON.stringify([relay.url]);
    await use(site);
  },

  /** Makes one more person. */
  person: async ({ playwright, launchOptions }, use) => {
    const people = [];
    await use(async () => {
      const person = new Person(playwright, launchOptions, await mkdtemp(join(tmpdir(), "inglenook-profile-")));
      people.push(person);
      return person;
    });
    for (const person of people) {
      await person.close();
      await rm(person.profile, { recursive: true, force: true, maxRetries: 5 });
    }
  },
});

export const seesSoon = (tab, wanted) => until(() => tab.evaluate(seen), (view) => !(view instanceof Error) && wanted(view), PATIENCE_MILLIS);
export const attribute = (tab, selector, name) => tab.evaluate((selector, name) => [...document.querySelectorAll(selector)].map((element) => element.getAttribute(name)), selector, name);
export const shows = (tab, selector, name, wanted) => until(() => attribute(tab, selector, name), (values) => Array.isArray(values) && wanted(values), PATIENCE_MILLIS);
export const isIn = (tab, title) => seesSoon(tab, (view) => view.title === title);

/** Ada has an account, is attached to her relay, and has a link to her first room. */
export async function host(person, site, door = "open-door") {
  const ada = await person();
  const tab = await ada.open(site.url);
  await register(tab, "Ada");
  await sees(tab, ({ title }) => title === "Welcome");
  await shows(tab, at("reach"), "data-reachable", ([reachable]) => reachable === "true");
  await tab.click(at("invite"));
  await tab.click(at(door));
  const link = await until(() => tab.evaluate((selector) => document.querySelector(selector).value, at("invite-link")), (value) => typeof value === "string", PATIENCE_MILLIS);
  await tab.click(at("close-panel"));
  return { ada, link };
}

/** Bo opens the link in a fresh browser, says a name, and presses the button. */
export async function guest(person, link, name = "Bo") {
  const bo = await person();
  const tab = await bo.open(link);
  await register(tab, name);
  return bo;
}

export async function couple(person, site) {
  const { ada, link } = await host(person, site);
  const bo = await guest(person, link);
  await isIn(bo.tab, "Welcome");
  return { ada, bo, link };
}

/** What became of one's own messages, by the marks under them. */
export const marksAre = (tab, state) => shows(tab, at("delivery"), "data-state", (states) => states.length > 0 && states.every((one) => one === state));

export async function seesMessageSoon(tab, body) {
  await seesSoon(tab, (view) => view.messages.some((message) => message.body === body && message.synced));
}

/** The access token of the only account in a person's browser. */
export const tokenOf = ({ tab }) =>
  tab.evaluate(() => JSON.parse(localStorage.getItem(Object.keys(localStorage).find((key) => key.endsWith(" accounts"))))[0].accessToken);

/** Runs in the page: a request to the node in the name of its only account. */
export async function askAs(method, path, body) {
  const [{ accessToken }] = JSON.parse(localStorage.getItem(Object.keys(localStorage).find((key) => key.endsWith(" accounts"))));
  const response = await fetch(path, { method, headers: { authorization: `Bearer ${accessToken}` }, body: body && JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}
