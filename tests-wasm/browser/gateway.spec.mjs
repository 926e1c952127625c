// Names below a gateway's domain: a new server is asked about it once, where a relay offers one, and has its name for ever.
import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:net";

import { DEMO, at, register, say, sees } from "./demo.mjs";
import { expect, test as anywhere, until } from "./fixtures.mjs";
import { PATIENCE_MILLIS, askAs, attribute, host, isIn, marksAre, seesMessageSoon, shows, test } from "./people.mjs";
import { Relay } from "./relay.mjs";
import { PlaywrightTab } from "./tab.mjs";

const DOMAIN = "gw.test";
const BELOW = /^[a-z2-7]{52}\.gw\.test$/;
const BARE = /^[a-z2-7]{52}$/;

/** Runs in the page: what stands under "What should people call you?". */
const asked = () => {
  const choice = document.querySelector('[data-testid="gateway-choice"]');
  return { form: document.querySelector('[data-testid="name-field"]') !== null, gateway: choice && { taken: choice.querySelector("input").checked, words: choice.textContent } };
};
const isAsked = async (tab, gateway) => expect(await until(() => tab.evaluate(asked), ({ form }) => form)).toEqual({ form: true, gateway });

const serverOf = async ({ tab }) => {
  const { body } = await tab.evaluate(askAs, "GET", "_matrix/client/v3/account/whoami");
  return body.user_id.slice(body.user_id.indexOf(":") + 1);
};

/** What an ordinary server finds when it asks the relay for the keys of a name. */
const keysOf = (relay, name) =>
  new Promise((resolve, reject) => {
    request(`${relay.url}/_matrix/key/v2/server`, { headers: { host: name } }, async (response) => {
      resolve({ status: response.statusCode, body: JSON.parse((await response.toArray()).join("")) });
    }).on("error", reject).end();
  });

const overview = async (tab) => {
  await tab.click(at("your-server"));
  await until(() => tab.evaluate((selector) => document.querySelector(selector) !== null, at("gateway")), Boolean);
  return (await attribute(tab, at("gateway"), "data-domain"))[0];
};

test.describe("where a gateway is offered", () => {
  test.skip(({ engine }) => engine !== "chromium", "needs profiles of their own, which only Playwright's browser has");
  test.setTimeout(4 * PATIENCE_MILLIS);
  test.use({ relaySettings: ["--gateway-domain", DOMAIN] });

  test("a new server takes its name, says what that means, and keeps it", async ({ person, site, relay }) => {
    const ada = await person();
    const complaints = [];
    let tab = await ada.open("about:blank");
    tab.page.on("console", (message) => message.type() === "error" && !message.location().url.includes("/unstable/") && complaints.push(message.text()));
    await tab.goto(site.url);
    await isAsked(tab, { taken: true, words: expect.stringMatching(/Anyone on Matrix.*gw\.test.*answers for your name.*for ever/) });
    await register(tab, "Ada");
    await isIn(tab, "Welcome");
    const name = await serverOf(ada);
    expect(name).toMatch(BELOW);
    await shows(tab, at("reach"), "data-reachable", ([reachable]) => reachable === "true");
    expect(await keysOf(relay, name)).toEqual({ status: 200, body: expect.objectContaining({ server_name: name }) });

    expect(await overview(tab)).toBe(DOMAIN);
    await tab.click(at("tab-relays"));
    const words = await until(() => tab.evaluate((selector) => document.querySelector(selector)?.textContent, at("relay-gateway")), Boolean);
    expect(words).toContain("Your gateway");
    await tab.click(at("close-panel"));

    // A worker that is woken by something else than its page has nothing to go by but the database.
    const killer = await tab.workerKiller();
    await killer.kill();
    expect(await serverOf(ada)).toBe(name);
    // Nobody is asked twice: not beside this account, and not after the browser was closed.
    await tab.click(at("account-switcher"));
    await tab.click(at("add-account"));
    await isAsked(tab, null);
    expect(complaints).toEqual([]);
    await ada.close();
    tab = await ada.open(site.url);
    await sees(tab, ({ rooms }) => rooms.includes("Welcome"));
    expect(await serverOf(ada)).toBe(name);
    await tab.click(at("account-switcher"));
    await tab.click(at("add-account"));
    await isAsked(tab, null);
  });

  test("whoever declines has a name of the key alone, and is not asked again", async ({ person, site }) => {
    const ada = await person();
    const tab = await ada.open(site.url);
    await tab.click(at("gateway-taken"));
    await isAsked(tab, { taken: false, words: expect.stringMatching(/cannot be changed later/) });
    // Nothing is made before the choice is: whoever looks in again is asked again.
    await tab.reload();
    await isAsked(tab, { taken: true, words: expect.anything() });
    await tab.click(at("gateway-taken"));
    await register(tab, "Ada");
    await isIn(tab, "Welcome");
    const name = await serverOf(ada);
    expect(name).toMatch(BARE);
    expect(await overview(tab)).toBe("");
    await tab.click(at("tab-relays"));
    const words = await until(() => tab.evaluate((selector) => document.querySelector(selector)?.textContent, at("relay-gateway")), Boolean);
    expect(words).toContain("Yours was not");
    await tab.reload();
    await isIn(tab, "Welcome");
    expect(await serverOf(ada)).toBe(name);
    // Whoever has signed out is not asked what is settled.
    await tab.evaluate(() => localStorage.clear());
    await tab.goto("about:blank");
    await tab.goto(site.url);
    await isAsked(tab, null);
  });

  test("whoever gives up the gateway's relay is told what is lost", async ({ person, site }) => {
    const other = new Relay();
    await other.start();
    try {
      const tab = await (await person()).open(site.url);
      await register(tab, "Ada");
      await tab.click(at("your-server"));
      await tab.click(at("tab-relays"));
      await tab.fill(at("relay-url"), other.url);
      await tab.click(at("relay-add"));
      await shows(tab, at("relay"), "data-state", (states) => states.join() === "attached,attached");
      expect(await attribute(tab, at("gateway-lost"), "role")).toEqual([]);
      await tab.click(at("relay-remove"));
      await shows(tab, at("gateway-lost"), "role", ([role]) => role === "status");
    } finally {
      await other.remove();
    }
  });

  test("a server that was lost with its database is made anew as it was chosen", async ({ person, site }) => {
    const ada = await person();
    const tab = await ada.open(site.url);
    await register(tab, "Ada");
    await isIn(tab, "Welcome");
    const name = await serverOf(ada);
    await tab.goto("about:blank");
    await (await tab.workerKiller()).kill();
    await (await tab.page.context().newCDPSession(tab.page)).send("Storage.clearDataForOrigin", { origin: new URL(site.url).origin, storageTypes: "indexeddb" });
    await tab.goto(site.url);
    // The first request makes the server, and has to be the page's, which then finds that the new one does not know the account.
    await until(() => tab.evaluate(() => document.body.textContent), (words) => words.includes("This account is not on the server any more"));
    const { serverName } = await tab.evaluate(() => fetch("_inglenook/worker").then((response) => response.json()));
    expect(serverName).toMatch(BELOW);
    expect(serverName).not.toBe(name);
  });

  test("of two tabs that are asked, the later is told what the first has chosen", async ({ person, site }) => {
    const ada = await person();
    const first = await ada.open(site.url);
    const second = new PlaywrightTab(await first.page.context().newPage());
    await second.goto(site.url);
    await isAsked(second, { taken: true, words: expect.anything() });
    await second.click(at("gateway-taken"));
    await register(first, "Ada");
    await isIn(first, "Welcome");
    await register(second, "Bo");
    await until(() => second.evaluate(() => document.querySelector(".error-line")?.textContent), (words) => /made in another tab/.test(words));
    await isAsked(second, null);
    await second.click(at("create-account"));
    await isIn(second, "Welcome");
    expect(await serverOf(ada)).toMatch(BELOW);
  });

  test("a link leads from a name below the gateway to one without, and talk goes both ways", async ({ person, site }) => {
    const { ada, link } = await host(person, site);
    const bo = await person();
    await bo.open(link);
    await bo.tab.click(at("gateway-taken"));
    await register(bo.tab, "Bo");
    await isIn(bo.tab, "Welcome");
    expect([await serverOf(ada), await serverOf(bo)]).toEqual([expect.stringMatching(BELOW), expect.stringMatching(BARE)]);
    await say(ada.tab, "Come in!");
    await seesMessageSoon(bo.tab, "Come in!");
    await say(bo.tab, "Thank you.");
    await seesMessageSoon(ada.tab, "Thank you.");
    for (const { tab } of [ada, bo]) await marksAre(tab, "delivered");
  });
});

anywhere.describe("where none is offered, nothing is asked:", () => {
  const nothingIsAsked = async (tab, site, ...relays) => {
    site.application = DEMO;
    site.files["relays.json"] = JSON.stringify(relays);
    await tab.goto(site.url);
    await isAsked(tab, null);
    await register(tab, "Ada");
    await sees(tab, ({ title }) => title === "Welcome");
    expect(await serverOf({ tab })).toMatch(BARE);
  };

  for (const [what, settings] of [["a relay that is no gateway", []], ["one for listed servers only", ["--gateway-domain", DOMAIN, "--allow", "a".repeat(52)]]]) {
    anywhere(what, async ({ tab, site }) => {
      const relay = new Relay({ settings });
      await relay.start();
      try {
        await nothingIsAsked(tab, site, relay.url);
      } finally {
        await relay.remove();
      }
    });
  }

  anywhere("a relay that is away, one that says nothing, and one that is none", async ({ tab, site }) => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    try {
      await nothingIsAsked(tab, site, "http://localhost:9", `http://localhost:${silent.address().port}`, `${site.url}nowhere`);
    } finally {
      silent.close();
    }
  });
});
