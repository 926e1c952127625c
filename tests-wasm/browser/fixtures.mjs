// What each test gets: a site, tabs of the engine that it runs in, and the steps that most of them share.
import { test as base } from "@playwright/test";

import { Site } from "./site.mjs";
import { PlaywrightTab, WebDriverBrowser } from "./tab.mjs";

const DRIVERS = {
  firefox: () => new WebDriverBrowser(process.env.FIREFOX_DRIVER_URL, { browserName: "firefox", "moz:firefoxOptions": { args: ["-headless"] } }),
  webkit: () =>
    new WebDriverBrowser(process.env.WEBKIT_DRIVER_URL, {
      browserName: "MiniBrowser",
      "webkitgtk:browserOptions": { binary: "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser", args: ["--automation"] },
    }),
};

export const test = base.extend({
  engine: ["chromium", { option: true }],

  /** The folder that the site is served under. */
  folder: ["/", { option: true }],

  site: async ({ folder }, use) => {
    const site = new Site(folder);
    await site.start();
    await use(site);
    await site.stop().catch(() => {});
  },

  /** Opens one more tab. */
  openTab: async ({ engine, playwright, launchOptions }, use) => {
    if (engine === "chromium") {
      const browser = await playwright.chromium.launch(launchOptions);
      const context = await browser.newContext();
      await use(async () => new PlaywrightTab(await context.newPage()));
      await browser.close();
    } else {
      const browser = DRIVERS[engine]();
      await browser.start();
      await use(() => browser.open());
      await browser.stop();
    }
  },

  tab: async ({ openTab }, use) => {
    await use(await openTab());
  },
});

export { expect } from "@playwright/test";

/** Opens the site in a tab and starts the node; gives its base URL, name and state. */
export async function startNode(tab, site, settings = "") {
  await tab.goto(site.url);
  return tab.evaluate(start, settings);
}

/** Runs in the page. */
export async function start(settings) {
  const { startNode } = await import("./inglenook.js");
  window.node = await startNode({ serviceWorker: `inglenook-sw.js${settings}` });
  window.states = [window.node.state];
  window.node.addEventListener("statechange", () => window.states.push(window.node.state));
  return { baseUrl: window.node.baseUrl, serverName: window.node.serverName, state: window.node.state };
}

/** Runs in the page: a request to the node, as status and parsed body. */
export async function ask(path, options) {
  const response = await fetch(window.node.baseUrl + path, options);
  const text = await response.text();
  return { status: response.status, type: response.headers.get("content-type"), body: text && JSON.parse(text) };
}

/** Asks again until the answer is what is waited for. */
export async function until(probe, wanted, millis = 15_000) {
  const deadline = Date.now() + millis;
  for (;;) {
    const value = await probe().catch((error) => error);
    if (wanted(value)) return value;
    if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(value) ?? value} after ${millis} ms`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
