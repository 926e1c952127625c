// A new version of the worker takes over while pages are open: what waits ends at once, and the server stays the same.
import { ask, expect, startNode, test, until } from "./fixtures.mjs";

/** Runs in the page. */
const update = async () => void (await (await navigator.serviceWorker.getRegistration()).update());

/** Runs in the page: whether a version is being installed or waits. */
const isChanging = async () => {
  const { installing, waiting } = await navigator.serviceWorker.getRegistration();
  return Boolean(installing ?? waiting);
};

/** Which version answers. It is not asked while versions change: the tests say themselves what goes on then. */
const build = (tab) => async () => !(await tab.evaluate(isChanging)) && (await tab.evaluate(ask, "/_inglenook/worker")).body.build;

test("a new version takes over at once, though a request was waiting", async ({ tab, site }) => {
  const before = await startNode(tab, site);
  expect(await build(tab)()).toBe("first");
  await tab.evaluate(() => {
    window.held = fetch("_inglenook/hold").then((response) => response.status);
  });
  site.build = "second";
  const begun = Date.now();
  await tab.evaluate(update);
  await until(build(tab), (build) => build === "second");
  expect(Date.now() - begun).toBeLessThan(10_000);
  expect(await tab.evaluate(() => window.held)).toBe(204);
  const after = await tab.evaluate(ask, "/_inglenook/worker");
  expect(after.body.serverName).toBe(before.serverName);
});

test("no request but a poll fails while versions change", async ({ tab, site }) => {
  await startNode(tab, site);
  await tab.evaluate(() => {
    window.statuses = {};
    window.asking = true;
    const loop = async (target, pause) => {
      while (window.asking) {
        const status = await fetch(`_matrix/client/${target}`).then((response) => response.status, (error) => error.name);
        window.statuses[`${target} ${status}`] = true;
        // As clients do: on with the next poll soon, or in a while after an error.
        await new Promise((resolve) => setTimeout(resolve, status === 503 ? 2_000 : pause));
      }
    };
    window.loops = Promise.all([loop("nothing", 500), loop("nothing", 700), loop("v3/sync?timeout=30000", 600)]);
  });
  for (const next of ["second", "third"]) {
    site.build = next;
    await tab.evaluate(update);
    await until(build(tab), (build) => build === next);
  }
  const statuses = await tab.evaluate(async () => {
    window.asking = false;
    await window.loops;
    return Object.keys(window.statuses);
  });
  expect(statuses.filter((status) => !status.startsWith("v3/sync"))).toEqual(["nothing 404"]);
  expect(statuses.every((status) => !/5(?!03)|Error/.test(status))).toBe(true);
});

test("an old version's files are thrown away", async ({ tab, site }) => {
  await startNode(tab, site);
  site.build = "second";
  await tab.evaluate(update);
  await until(build(tab), (build) => build === "second");
  const cores = await until(
    () => tab.evaluate(async () => (await caches.keys()).filter((name) => name.startsWith("inglenook core"))),
    (cores) => cores.length === 1,
  );
  expect(cores[0]).toContain("second");
});

/** Answers take so long that there is always one under way. */
const SLOW = `
  const respondWith = FetchEvent.prototype.respondWith;
  FetchEvent.prototype.respondWith = function (answer) {
    respondWith.call(this, new Promise((resolve) => setTimeout(resolve, 100)).then(() => answer));
  };`;

test("an update comes though requests overlap without a pause, and all of them succeed in the end", async ({ tab, site, engine }) => {
  test.skip(engine !== "chromium", "only Chromium waits for a moment with nothing under way");
  site.preface = SLOW;
  await startNode(tab, site);
  site.build = "second";
  // Time for the requests to begin, since Chromium does not even look for an update while a worker is as busy as that.
  site.preface = `${SLOW}
    self.addEventListener("install", (event) => event.waitUntil(new Promise((resolve) => setTimeout(resolve, 1_000))));`;
  await tab.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    const found = new Promise((resolve) => registration.addEventListener("updatefound", resolve, { once: true }));
    void registration.update();
    await found;
    window.asking = true;
    window.outcomes = {};
    const once = async () => {
      for (;;) {
        const response = await fetch("_matrix/client/versions");
        const { errcode, retry_after_ms: pause } = await response.json();
        window.outcomes[errcode ? `${errcode}, retry-after ${response.headers.get("retry-after")}` : response.status] = true;
        if (response.status !== 429) return;
        // As every client does.
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    };
    const loop = async () => {
      while (window.asking) await once();
    };
    const begun = async (_, number) => {
      await new Promise((resolve) => setTimeout(resolve, number * 12));
      await loop();
    };
    window.loops = Promise.all(Array.from({ length: 8 }, begun));
  });
  await until(build(tab), (build) => build === "second", 30_000);
  const outcomes = await tab.evaluate(async () => {
    window.asking = false;
    await window.loops;
    return Object.keys(window.outcomes);
  });
  expect(outcomes).toContain("200");
  expect(outcomes.filter((outcome) => !["200", "M_LIMIT_EXCEEDED, retry-after 1"].includes(outcome))).toEqual([]);
});
