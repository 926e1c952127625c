// A network that comes back: what the page hears of it reaches the node, which then waits for nothing.
import { say } from "./demo.mjs";
import { expect, until } from "./fixtures.mjs";
import { PATIENCE_MILLIS, askAs, couple, seesMessageSoon, test } from "./people.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs profiles of their own, and a network that can be switched off");
test.setTimeout(4 * PATIENCE_MILLIS);

/** So far away a relay's next attempt has to be that nobody could take what comes at once for it. */
const FAR_MILLIS = 12_000;

const relayOf = async ({ tab }) => (await tab.evaluate(askAs, "GET", "_inglenook/relays")).body.relays[0];

const isFar = ({ state, until }) => state === "waiting" && until - Date.now() > FAR_MILLIS;

/** Tells the page that the network is gone or there, and not the worker: Chromium tells workers nothing. */
async function network({ tab }, offline) {
  const session = await tab.page.context().newCDPSession(tab.page);
  await session.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
}

test("once the network is back, mail comes at once", async ({ person, site, relay }) => {
  const people = Object.values(await couple(person, site)).slice(0, 2);
  const [ada, bo] = people;
  await relay.kill();
  const relays = () => Promise.all(people.map(relayOf));
  const waiting = await until(relays, (all) => Array.isArray(all) && all.every(isFar), PATIENCE_MILLIS);
  await say(ada.tab, "Is anybody there?");
  for (const someone of people) await network(someone, true);
  await relay.start();
  for (const someone of people) await network(someone, false);
  await seesMessageSoon(bo.tab, "Is anybody there?");
  const attached = await until(relays, (all) => all.every(({ state }) => state === "attached"), PATIENCE_MILLIS);
  for (const [index, { since }] of attached.entries()) expect(since).toBeLessThan(waiting[index].until);
});
