// The browser benchmark: the server in a real service worker, beside its own floor, as JSON lines.
//
//   cargo xtask bench browser [--quick] [--big MEMBERS EVENTS]
import { readFile } from "node:fs/promises";

import { chromium } from "@playwright/test";

import config from "../playwright.config.mjs";
import { killLoop } from "../browser/kill.mjs";
import { Site } from "../browser/site.mjs";
import { PlaywrightTab } from "../browser/tab.mjs";

const quick = process.argv.includes("--quick");
const big = process.argv.indexOf("--big");
const [members, events] = big > 0 ? process.argv.slice(big + 1, big + 3).map(Number) : quick ? [50, 500] : [500, 5_000];
const runs = quick ? 40 : 300;
const file = (name) => readFile(new URL(name, import.meta.url), "utf8");

const report = (name, figures) => console.log(JSON.stringify({ name, unit: "ms", ...figures }));
const ratio = (name, value, aim) => console.log(JSON.stringify({ name, ratio: Math.round(value * 100) / 100, aim }));

const site = new Site();
site.preface = await file("floor.js");
site.files["bench.js"] = await file("page.js");
await site.start();
const browser = await chromium.launch(config.use.launchOptions);
const tab = new PlaywrightTab(await (await browser.newContext()).newPage());

try {
  await measure();
} finally {
  await browser.close();
  await site.stop();
}

async function measure() {
  await tab.goto(site.url);
  report("cold start to the first answer", { runs: 1, p50: await tab.evaluate(coldStart) });
  await tab.evaluate(async () => {
    const { Bench, figures } = await import("./bench.js");
    window.figures = figures;
    window.bench = new Bench(window.node.baseUrl);
    await window.bench.begin();
  });
  const step = (name, ...given) => tab.evaluate((name, given) => window.bench[name](...given), name, given);
  await step("send", 50);
  const empty = await step("floorEmpty", runs);
  report("floor: fetch answered by the worker", empty);
  const put = await step("floorPut", runs);
  report("floor: fetch and one strict put", put);
  const send = await step("send", runs);
  report("send", send);
  ratio("send / floor with one strict put", send.p50 / put.p50, 1.6);
  report("send, 8 in flight", await step("sendEight", runs));
  const putToSync = await step("putToSync", Math.ceil(runs / 3));
  report("PUT to sync", putToSync);
  ratio("PUT to sync / floor with one strict put", putToSync.p50 / put.p50, 3);
  report("createRoom", await step("createRoom", Math.ceil(runs / 10)));
  report("messages, 50 events", await step("messages", runs));
  report("login by password", await step("login", 5));
  report("wake-up to the first answer", await wakeUps(quick ? 10 : 40));
  report("answer to a request that a stop hit, in the kill loop", await stopped(quick ? 20 : 150));
  for (const rooms of quick ? [1, 5] : [1, 20, 100]) {
    await step("populate", rooms);
    report(`initial sync of ${rooms} rooms`, await step("initialSync", 10));
  }
  const { inBig, inNew } = await step("bigRoom", members, events, runs);
  report(`send in a room of ${members} members and ${events} events`, inBig);
  report("send in a new room beside it", inNew);
  ratio("send in the big room / in a new room", inBig.p50 / inNew.p50, 1.2);
}

/** Runs in the page. */
async function coldStart() {
  const { startNode } = await import("./inglenook.js");
  const begun = performance.now();
  window.node = await startNode({ serviceWorker: "inglenook-sw.js" });
  await (await fetch(`${window.node.baseUrl}/_matrix/client/versions`)).json();
  return Math.round(performance.now() - begun);
}

async function wakeUps(rounds) {
  const killer = await tab.workerKiller();
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    await killer.kill();
    times.push(
      await tab.evaluate(async () => {
        const begun = performance.now();
        await window.bench.alice.call("GET", "/account/whoami");
        return performance.now() - begun;
      }),
    );
  }
  return tab.evaluate((times) => window.figures(times), times);
}

/** In a browser profile of its own, since the loop makes its own account. */
async function stopped(rounds) {
  const context = await browser.newContext();
  const tab = new PlaywrightTab(await context.newPage());
  await tab.goto(site.url);
  await tab.evaluate(coldStart);
  const { wakeUps } = await killLoop(tab, rounds, 1);
  await tab.evaluate(async () => (window.figures = (await import("./bench.js")).figures));
  const figures = await tab.evaluate((times) => window.figures(times), wakeUps);
  await context.close();
  return figures;
}
