// Rooms elsewhere, found by their addresses: looked up, joined, knocked at, or not; by the demo, as a person would.
import { at, say } from "./demo.mjs";
import { expect, until } from "./fixtures.mjs";
import { PATIENCE_MILLIS, askAs, guest, host, isIn, seesMessageSoon, shows, test } from "./people.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs profiles of their own, which only Playwright's browser has");
test.setTimeout(4 * PATIENCE_MILLIS);

const ROOMS = "_matrix/client/v3/rooms";

/** Runs in the page: the room that was found, what its button does next, and what is said instead. */
const found = () => {
  const text = (selector) => document.querySelector(selector)?.textContent.trim();
  const button = document.querySelector('[data-testid="join-room"]');
  return {
    name: text('[data-testid="public-room"] .person-name'),
    step: button && !button.textContent.startsWith("Asking") ? button.dataset.step : undefined,
    error: text('[data-testid="public-room"] .error-line'),
    problem: text('[data-testid="address-problem"]'),
  };
};

const finds = async (tab, wanted) => {
  const isThere = ({ name, step, problem }) => name === wanted.name && step === wanted.step && problem === wanted.problem;
  expect(await until(() => tab.evaluate(found), (view) => isThere(view), PATIENCE_MILLIS)).toEqual({ name: undefined, error: undefined, problem: undefined, ...wanted });
};

async function look(tab, address) {
  await tab.click(at("explore"));
  await tab.fill(at("directory-search"), address);
}

const serverOf = async ({ tab }) => (await tab.evaluate(askAs, "GET", "_matrix/client/v3/account/whoami")).body.user_id.split(/:(.*)/)[1];

/** Ada and Bo, who have never heard of each other, at one relay. */
async function strangers(person, site) {
  const [ada, bo] = [await guest(person, site.url, "Ada"), await guest(person, site.url, "Bo")];
  for (const { tab } of [ada, bo]) await shows(tab, at("reach"), "data-reachable", ([reachable]) => reachable === "true");
  return { ada, bo, server: await serverOf(ada) };
}

/** A room of Ada's with these options; its ID. */
async function roomOf({ tab }, options) {
  const { status, body } = await tab.evaluate(askAs, "POST", "_matrix/client/v3/createRoom", options);
  expect(status).toBe(200);
  return body.room_id;
}

test("an address that is typed, and a link that is pasted, lead into the room", async ({ person, site }) => {
  const { ada, bo, server } = await strangers(person, site);
  const room = await roomOf(ada, { preset: "public_chat", name: "Hall", topic: "For everybody", room_alias_name: "hall" });
  await look(bo.tab, `#hall:${server}`);
  await finds(bo.tab, { name: "Hall", step: "join" });
  await bo.tab.click(at("join-room"));
  await isIn(bo.tab, "Hall");
  await ada.tab.click('.room-item:has-text("Hall")');
  await say(bo.tab, "Here I am.");
  await seesMessageSoon(ada.tab, "Here I am.");

  await look(bo.tab, `https://matrix.to/#/${encodeURIComponent(room)}?via=${server}`);
  await finds(bo.tab, { name: "Hall", step: "open" });
  await look(bo.tab, `#nowhere:${server}`);
  await finds(bo.tab, { problem: "Its server was asked, and knows none. Is it spelt right?" });
});

test("a link of invitation is opened where it is pasted", async ({ person, site }) => {
  const { link } = await host(person, site);
  const bo = await guest(person, site.url);
  await isIn(bo.tab, "Welcome");
  const own = await bo.tab.evaluate(() => location.hash);
  await look(bo.tab, link);
  await bo.tab.click(at("invited-as"));
  await isIn(bo.tab, "Welcome");
  expect(await bo.tab.evaluate(() => location.hash)).not.toBe(own);
});

test("where one must ask, one can, and where one must be invited, that is said", async ({ person, site }) => {
  const { ada, bo, server } = await strangers(person, site);
  const rule = (join_rule) => [{ type: "m.room.join_rules", state_key: "", content: { join_rule } }];
  const study = await roomOf(ada, { preset: "private_chat", name: "Study", initial_state: rule("knock") });
  const cellar = await roomOf(ada, { preset: "private_chat", name: "Cellar" });

  await bo.tab.page.keyboard.press("Control+k");
  await bo.tab.fill(at("switcher"), `matrix:roomid/${study.slice(1)}?via=${server}&action=join`);
  await bo.tab.page.keyboard.press("Enter");
  await finds(bo.tab, { name: "Study", step: "knock" });
  await bo.tab.click(at("join-room"));
  await finds(bo.tab, { name: "Study", step: "asked" });
  const membership = async () => (await ada.tab.evaluate(askAs, "GET", `${ROOMS}/${encodeURIComponent(study)}/members?membership=knock`)).body.chunk?.length;
  await until(membership, (count) => count === 1, PATIENCE_MILLIS);

  await look(bo.tab, `${cellar}?via=${server}`);
  await finds(bo.tab, { name: cellar, step: "join" });
  await bo.tab.click(at("join-room"));
  await finds(bo.tab, { name: cellar, step: "knock", error: "This room lets in only whom it has invited. It may take a request to join." });
  await bo.tab.click(at("join-room"));
  await until(() => bo.tab.evaluate(found), ({ error }) => /^This room lets in only whom it has invited\. \(.+\)$/.test(error), PATIENCE_MILLIS);
});

test("a room whose servers are away is joined when they are back", async ({ person, site }) => {
  const { ada, bo, server } = await strangers(person, site);
  const room = await roomOf(ada, { preset: "public_chat", name: "Hall", room_alias_name: "hall" });
  await ada.close();
  await look(bo.tab, `#hall:${server}`);
  await finds(bo.tab, { problem: `Only ${server} knows which room has this address. Try again later, or ask for a link to the room itself.` });
  await look(bo.tab, `matrix:roomid/${room.slice(1)}?via=${server}`);
  await finds(bo.tab, { name: room, step: "join" });
  await bo.tab.click(at("join-room"));
  await shows(bo.tab, at("joining"), "data-state", ([state]) => state === "waiting");
  await ada.open(site.url);
  await isIn(bo.tab, "Hall");
});
