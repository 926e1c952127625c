// The worker is killed whenever the browser likes: it comes back with the next request. Only Chromium lets a test kill it.
import { ask, expect, startNode, test } from "./fixtures.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs Chromium's debugging protocol");

async function killWorkers(tab) {
  const session = await tab.page.context().newCDPSession(tab.page);
  await session.send("ServiceWorker.enable");
  await session.send("ServiceWorker.stopAllWorkers");
  await session.detach();
}

test("a killed worker comes back with the next request", async ({ tab, site }) => {
  const before = await startNode(tab, site);
  for (let round = 0; round < 5; round += 1) {
    await killWorkers(tab);
    const answer = await tab.evaluate(ask, "/_inglenook/worker");
    expect(answer.body).toMatchObject({ state: "running", serverName: before.serverName });
  }
});

test("many requests that wake a killed worker are all answered", async ({ tab, site }) => {
  await startNode(tab, site);
  await killWorkers(tab);
  const statuses = await tab.evaluate(async () => {
    const asked = Array.from({ length: 30 }, () => fetch("_matrix/client/nothing"));
    return (await Promise.all(asked)).map((response) => response.status);
  });
  expect(statuses).toEqual(Array(30).fill(404));
});

test("a held request is answered after 25 s and repeated without a timer", async ({ tab, site }) => {
  await startNode(tab, site);
  // A hidden page's timers come once a minute: as good as never here.
  await tab.evaluate(() => {
    window.setTimeout = () => 0;
    window.holds = [];
    const fetched = window.fetch;
    window.fetch = (...given) => {
      if (String(given[0]).startsWith("http")) window.holds.push(performance.now());
      return fetched(...given);
    };
  });
  const held = await tab.evaluate(async () => {
    const begun = performance.now();
    const response = await fetch("_inglenook/hold");
    await fetch("_inglenook/worker");
    return [response.status, performance.now() - begun];
  });
  expect(held[0]).toBe(204);
  expect(held[1]).toBeGreaterThan(24_000);
  expect(held[1]).toBeLessThan(29_000);
  // The page's own, which was under way before, has been answered and made again.
  expect(await tab.evaluate(() => window.holds.length)).toBe(1);
});

test("a page that was loaded past the worker is taken under control", async ({ tab, site }) => {
  await startNode(tab, site);
  const session = await tab.page.context().newCDPSession(tab.page);
  await Promise.all([tab.page.waitForEvent("load"), session.send("Page.reload", { ignoreCache: true })]);
  expect((await startNodeAgain(tab)).state).toBe("running");
});

async function startNodeAgain(tab) {
  return tab.evaluate(async () => {
    const controlledBefore = Boolean(navigator.serviceWorker.controller);
    const { startNode } = await import("./inglenook.js");
    window.node = await startNode({ serviceWorker: "inglenook-sw.js" });
    return { controlledBefore, state: window.node.state };
  });
}
