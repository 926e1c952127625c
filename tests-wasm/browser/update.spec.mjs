// A new version of the worker takes over while pages are open: what waits ends at once, and the server stays the same.
import { ask, expect, startNode, test, until } from "./fixtures.mjs";

/** Runs in the page. */
const update = async () => void (await (await navigator.serviceWorker.getRegistration()).update());

const build = (tab) => async () => (await tab.evaluate(ask, "/_inglenook/worker")).body.build;

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
