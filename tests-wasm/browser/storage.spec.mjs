// What the page is told of its storage: how much there is, and whether it stays. That nothing more goes in is told in media.spec.mjs.
import { expect, startNode, test, until } from "./fixtures.mjs";

/** Runs in the page: what is known without asking, as often as it is told. */
function watch() {
  window.told = [];
  window.node.addEventListener("storage", () => window.told.push(window.node.stored));
}

test("the storage's state is known from the start, and asked for persistence", async ({ tab, site, engine }) => {
  await startNode(tab, site);
  const known = await until(() => tab.evaluate(() => window.node.stored), (stored) => stored && !(stored instanceof Error));
  const sizes = engine === "webkit" ? {} : { usage: expect.any(Number), quota: expect.any(Number) };
  expect(known).toMatchObject({ persisted: expect.any(Boolean), ...sizes, full: false });
  await tab.evaluate(watch);
  const asked = await tab.evaluate(() => window.node.storage());
  expect(asked).toMatchObject({ persisted: known.persisted, full: false });
  // Some browsers grant it, some refuse, and some ask: what was answered is what is told.
  const granted = await tab.evaluate(() => Promise.race([window.node.requestPersistence(), new Promise((resolve) => setTimeout(resolve, 2_000, "asks"))]));
  if (granted === "asks") return;
  const told = await tab.evaluate(() => window.told);
  expect(told.map(({ persisted }) => persisted)).toEqual([known.persisted, granted]);
  expect(await tab.evaluate(() => window.node.stored.persisted)).toBe(granted);
});
