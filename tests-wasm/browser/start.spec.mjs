// The node comes up in a service worker and answers, in one tab or several, at the root or under a sub-path.
import { ask, expect, start, startNode, test, until } from "./fixtures.mjs";

const UNKNOWN = { status: 404, type: "application/json", body: expect.objectContaining({ errcode: "M_UNRECOGNIZED" }) };

test("the node starts and answers", async ({ tab, site }) => {
  const node = await startNode(tab, site);
  expect(node.state).toBe("running");
  expect(node.baseUrl).toBe(site.url.slice(0, -1));
  expect(node.serverName).toMatch(/^\S+$/);
  expect(await tab.evaluate(ask, "/_matrix/client/nothing")).toEqual(UNKNOWN);
});

test("a server keeps its name over a reload", async ({ tab, site }) => {
  const first = await startNode(tab, site);
  await tab.reload();
  expect((await tab.evaluate(start, "")).serverName).toBe(first.serverName);
});

test("two tabs share one node", async ({ openTab, site }) => {
  const [one, two] = [await openTab(), await openTab()];
  const [first, second] = [await startNode(one, site), await startNode(two, site)];
  expect(second.serverName).toBe(first.serverName);
  for (const tab of [one, two, one]) expect(await tab.evaluate(ask, "/_matrix/client/nothing")).toEqual(UNKNOWN);
});

test("a chosen name is the server's name", async ({ tab, site }) => {
  const node = await startNode(tab, site, "?serverName=hearth.example");
  expect(node.serverName).toBe("hearth.example");
});

test("notaries are other servers' names", async ({ tab, site }) => {
  expect((await startNode(tab, site, "?notary=one.example&notary=two.example")).state).toBe("running");
});

test("a notary that is no server's name is said", async ({ tab, site }) => {
  await tab.goto(site.url);
  const said = await tab.evaluate(async () => {
    const { startNode } = await import("./inglenook.js");
    return startNode({ serviceWorker: "inglenook-sw.js?notary=one.example&notary=no%20name" }).catch((error) => error.message);
  });
  expect(said).toContain('the notary "no name" is no server name');
});

test("requests that come while the node starts wait for it", async ({ tab, site }) => {
  // The lock is taken, as by an instance in another tab: the node cannot start before it is free.
  site.preface = `
    self.navigator.locks.request("inglenook inglenook /", () => new Promise((release) => { self.releaseLock = release; }));
    self.addEventListener("message", (event) => event.data === "release" && self.releaseLock());`;
  await tab.goto(site.url);
  const answers = await tab.evaluate(async () => {
    const { startNode } = await import("./inglenook.js");
    const starting = startNode({ serviceWorker: "inglenook-sw.js" });
    while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 20));
    const asked = Promise.all([1, 2, 3, 4].map(() => fetch("/_matrix/client/nothing")));
    const early = await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 500, "waiting"))]);
    navigator.serviceWorker.controller.postMessage("release");
    await starting;
    return [early, ...(await asked).map((response) => response.status)];
  });
  expect(answers).toEqual(["waiting", 404, 404, 404, 404]);
});

test("another base URL is served where it was named", async ({ tab, site }) => {
  await startNode(tab, site, "?baseUrl=https://hearth.example/under");
  const answers = await tab.evaluate(async () => {
    const named = await fetch("https://hearth.example/under/_matrix/client/nothing", { headers: { authorization: "Bearer x" } });
    const other = await fetch("https://elsewhere.invalid/_matrix/client/nothing").catch((error) => error.name);
    return [named.status, other];
  });
  expect(answers).toEqual([404, "TypeError"]);
});

test.describe("under a sub-path", () => {
  test.use({ folder: "/some/where/" });

  test("the node answers there and nowhere else", async ({ tab, site }) => {
    const node = await startNode(tab, site);
    expect(node.baseUrl).toMatch(/\/some\/where$/);
    expect(await tab.evaluate(ask, "/_matrix/client/nothing")).toEqual(UNKNOWN);
    const root = await tab.evaluate(async () => (await fetch("/_matrix/client/nothing")).headers.get("content-type"));
    expect(root).toBe("text/html");
  });
});

/** A worker that is ended while it is asked, as browsers do when they like: the first request for this fails as it does then. */
const endedOnce = (target) => `
  let ended = false;
  self.addEventListener("fetch", (event) => {
    if (ended || !event.request.url.includes(${JSON.stringify(target)})) return;
    ended = true;
    event.stopImmediatePropagation();
    event.respondWith(Response.error());
  });`;

test("a start survives a worker that is ended in the middle of it", async ({ tab, site }) => {
  site.preface = endedOnce("/_inglenook/worker");
  expect((await startNode(tab, site)).state).toBe("running");
});

test("a held request that failed is made again without a timer", async ({ tab, site }) => {
  site.preface = endedOnce("/_inglenook/hold");
  await tab.goto(site.url);
  // A hidden page's timers come once a minute: as good as never here.
  await tab.evaluate(() => {
    window.setTimeout = () => 0;
    window.holds = 0;
    const fetched = window.fetch;
    window.fetch = (...given) => {
      window.holds += String(given[0]).endsWith("/_inglenook/hold");
      return fetched(...given);
    };
  });
  await tab.evaluate(start, "");
  expect(await until(() => tab.evaluate(() => window.holds), (holds) => holds > 1)).toBe(2);
});
