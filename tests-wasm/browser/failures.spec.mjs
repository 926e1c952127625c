// What goes wrong is said: a panic costs no request that can be repeated, and what is missing is named.
import { ask, expect, startNode, test, until } from "./fixtures.mjs";

/**
 * Keeps the wasm's instances in reach of the test, which uses up an instance's memory when it is told to. The next large
 * allocation then ends it with a trap, as a panic does.
 */
const EXHAUSTIBLE = `
  self.instances = [];
  const instantiate = WebAssembly.instantiate;
  WebAssembly.instantiate = async (...given) => {
    const made = await instantiate.apply(WebAssembly, given);
    self.instances.push(made.instance ?? made);
    return made;
  };
  self.addEventListener("message", ({ data, ports }) => {
    if (data !== "exhaust") return;
    const { memory } = self.instances.at(-1).exports;
    for (let pages = 65536; pages >= 1; pages = Math.floor(pages / 2)) {
      try { for (;;) memory.grow(pages); } catch {}
    }
    ports[0].postMessage(self.instances.length);
  });`;

/** Runs in the page. */
function exhaust() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (event) => resolve(event.data);
    navigator.serviceWorker.controller.postMessage("exhaust", [port2]);
  });
}

test("after a panic a PUT is repeated on a new instance, and the server is the same", async ({ tab, site }) => {
  site.preface = EXHAUSTIBLE;
  const before = await startNode(tab, site);
  expect(await tab.evaluate(exhaust)).toBe(1);
  const answer = await tab.evaluate(ask, "/_matrix/client/nothing", { method: "PUT", body: `"${"x".repeat(900_000)}"` });
  expect(answer.status).toBe(404);
  expect(await tab.evaluate(() => window.states)).toContain("restarting");
  expect(await tab.evaluate(exhaust)).toBe(2);
  const after = await tab.evaluate(ask, "/_inglenook/worker");
  expect(after.body.serverName).toBe(before.serverName);
});

test("after a panic a POST is answered with an error, and the next request as ever", async ({ tab, site }) => {
  site.preface = EXHAUSTIBLE;
  await startNode(tab, site);
  await tab.evaluate(exhaust);
  const answer = await tab.evaluate(ask, "/_matrix/client/nothing", { method: "POST", body: `"${"x".repeat(900_000)}"` });
  expect(answer).toMatchObject({ status: 500, body: { errcode: "M_UNKNOWN" } });
  expect((await tab.evaluate(ask, "/_matrix/client/nothing")).status).toBe(404);
});

test("a wasm that does not compile is an answer, and a state", async ({ tab, site }) => {
  site.preface = `WebAssembly.compile = async () => { throw new WebAssembly.CompileError("this browser is too old"); };
    self.addEventListener("install", (event) => event.stopImmediatePropagation());`;
  await tab.goto(site.url);
  const failure = await tab.evaluate(async () => {
    const { startNode } = await import("./inglenook.js");
    const error = await startNode({ serviceWorker: "inglenook-sw.js" }).catch((error) => error);
    const response = await fetch("_matrix/client/versions");
    return { name: error.name, message: error.message, status: response.status, body: await response.json() };
  });
  expect(failure).toEqual({
    name: "NodeFailedError",
    message: "this browser is too old",
    status: 503,
    body: { errcode: "M_UNKNOWN", error: "this browser is too old" },
  });
});

test("a worker without IndexedDB says so", async ({ tab, site }) => {
  site.preface = `Object.defineProperty(self, "indexedDB", { value: undefined });`;
  await tab.goto(site.url);
  const answer = await tab.evaluate(async () => {
    const { startNode } = await import("./inglenook.js");
    const error = await startNode({ serviceWorker: "inglenook-sw.js" }).catch((error) => error);
    return error.message;
  });
  expect(answer).toContain("no IndexedDB");
});

test("a page without service workers, storage or https is told why there is no node", async ({ tab, site }) => {
  await tab.goto(site.url);
  const reasons = await tab.evaluate(async () => {
    const { startNode, NodeUnavailableError } = await import("./inglenook.js");
    const reasonWithout = async (holder, property, value) => {
      const own = Object.getOwnPropertyDescriptor(holder, property);
      Object.defineProperty(holder, property, { value, configurable: true });
      const error = await startNode({ serviceWorker: "inglenook-sw.js" }).catch((error) => error);
      delete holder[property];
      if (own) Object.defineProperty(holder, property, own);
      return error instanceof NodeUnavailableError && error.message ? error.reason : String(error);
    };
    const refusal = async () => { throw new DOMException("no", "SecurityError"); };
    return [
      await reasonWithout(navigator, "serviceWorker", undefined),
      await reasonWithout(window, "indexedDB", undefined),
      await reasonWithout(window, "isSecureContext", false),
      await reasonWithout(navigator.serviceWorker, "register", refusal),
    ];
  });
  expect(reasons).toEqual(["no-service-worker", "no-indexeddb", "insecure-context", "blocked"]);
});

test("a second instance waits for the database and takes it over", async ({ openTab, site }) => {
  const [one, two] = [await openTab(), await openTab()];
  await startNode(one, site, "?database=shared");
  await two.goto(site.url);
  const waiting = await two.evaluate(async () => {
    const held = (await navigator.locks.query()).held.map((lock) => lock.name);
    window.taken = navigator.locks.request("inglenook shared", () => "taken over");
    return [held, await Promise.race([window.taken, new Promise((resolve) => setTimeout(resolve, 500, "waiting"))])];
  });
  expect(waiting).toEqual([["inglenook shared"], "waiting"]);
  await one.evaluate(() => window.node.stop());
  expect(await until(() => two.evaluate(() => window.taken), (value) => value === "taken over")).toBe("taken over");
});
