// The page opens, and the node answers, with no network at all.
import { ask, expect, start, startNode, test, until } from "./fixtures.mjs";

for (const folder of ["/", "/some/where/"]) {
  test.describe(`at ${folder}`, () => {
    test.use({ folder });

    test("the page opens without a network", async ({ tab, site }) => {
      const before = await startNode(tab, site);
      const shell = () => tab.evaluate(async (scope) => (await (await caches.open(`inglenook shell ${scope}`)).keys()).map((request) => request.url), site.url);
      await until(shell, (urls) => urls.includes(`${site.url}inglenook.js`) && urls.includes(site.url));
      await site.stop();
      await tab.goto(`${site.url}?room=1`);
      const after = await tab.evaluate(start, "");
      expect(after.serverName).toBe(before.serverName);
      expect((await tab.evaluate(ask, "/_matrix/client/nothing")).status).toBe(404);
    });
  });
}

test("what is not kept fails as without a worker", async ({ tab, site }) => {
  await startNode(tab, site);
  await site.stop();
  const outcome = await tab.evaluate(() => fetch("missing.png").catch((error) => error.name));
  expect(outcome).toBe("TypeError");
});

test("the network's version of a file is the one that counts", async ({ tab, site }) => {
  await startNode(tab, site);
  for (let times = 1; times <= 3; times += 1) {
    await tab.evaluate(async () => (await fetch("index.html")).text());
    expect(site.requested.filter((path) => path === "/index.html").length).toBe(times);
  }
});

test("a network that hangs does not hold up a page that is kept", async ({ tab, site }) => {
  const before = await startNode(tab, site);
  const shell = () => tab.evaluate(async (scope) => (await (await caches.open(`inglenook shell ${scope}`)).keys()).map((request) => request.url), site.url);
  await until(shell, (urls) => urls.includes(`${site.url}inglenook.js`) && urls.includes(site.url));
  site.hangs = true;
  await tab.goto(site.url);
  expect((await tab.evaluate(start, "")).serverName).toBe(before.serverName);
});
