// People with a server each, in browser profiles of their own, who meet through a relay: by the demo, as they would.
import { at, register, say, sees, seesMessage } from "./demo.mjs";
import { expect, until } from "./fixtures.mjs";
import { PATIENCE_MILLIS, askAs, attribute, couple, guest, host, isIn, marksAre, seesMessageSoon, seesSoon, shows, test } from "./people.mjs";
import { Relay } from "./relay.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs profiles of their own, which only Playwright's browser has");
test.setTimeout(4 * PATIENCE_MILLIS);

test("a link leads a fresh browser into the room, and talk goes in both directions", async ({ person, site }) => {
  const { ada, bo } = await couple(person, site);
  await say(ada.tab, "Come in!");
  await seesMessageSoon(bo.tab, "Come in!");
  await say(bo.tab, "Thank you.");
  await seesMessageSoon(ada.tab, "Thank you.");
  await marksAre(ada.tab, "delivered");
  await marksAre(bo.tab, "delivered");
  // Bo sees what Ada says last, and is about to say more.
  await say(ada.tab, "Sit down.");
  await shows(ada.tab, at("readers"), "title", (titles) => titles.some((title) => title.includes("Bo")));
  await bo.tab.fill(at("composer"), "And");
  await until(() => ada.tab.evaluate((selector) => document.querySelector(selector)?.textContent, at("typing")), (words) => /Bo is writing/.test(words), PATIENCE_MILLIS);
});

test("what is sent to somebody away waits at the relay, also when it is killed, and comes in order and once", async ({ person, site, relay }) => {
  const { ada, bo } = await couple(person, site);
  await say(bo.tab, "I am off.");
  await seesMessageSoon(ada.tab, "I am off.");
  await bo.close();

  const bodies = Array.from({ length: 20 }, (_, index) => `Line ${index + 1}`);
  for (const body of bodies) {
    await say(ada.tab, body);
    await seesMessage(ada.tab, body);
  }
  await marksAre(ada.tab, "at_relay");
  await ada.close();
  await relay.kill();
  await relay.start();

  const tab = await bo.open(site.url);
  await tab.click('.room-item:has-text("Welcome")');
  const { messages } = await seesSoon(tab, (view) => view.messages.some(({ body }) => body === bodies.at(-1)));
  expect(messages.map(({ body }) => body).filter((body) => body?.startsWith("Line "))).toEqual(bodies);
  expect(await attribute(tab, at("late"), "class")).toEqual([]);

  // Bo's own word for it is what makes it delivered.
  await ada.open(site.url);
  await ada.tab.click('.room-item:has-text("Welcome")');
  await marksAre(ada.tab, "delivered");
});

test("of two relays, one may be lost in the middle", async ({ person, site, relay }) => {
  const second = new Relay();
  await second.start();
  try {
    site.files["relays.json"] = JSON.stringify([relay.url, second.url]);
    const { ada, bo } = await couple(person, site);
    await say(ada.tab, "With two relays.");
    await seesMessageSoon(bo.tab, "With two relays.");
    await relay.kill();
    await say(ada.tab, "With one.");
    await seesMessageSoon(bo.tab, "With one.");
    await bo.close();
    await say(ada.tab, "While you were away.");
    await shows(ada.tab, at("delivery"), "data-state", (states) => states.join() === "delivered,delivered,at_relay");
    await ada.close();
    await relay.start();
    const tab = await bo.open(site.url);
    await tab.click('.room-item:has-text("Welcome")');
    const { messages } = await seesSoon(tab, (view) => view.messages.some(({ body }) => body === "While you were away."));
    expect(messages.slice(-3).map(({ body }) => body)).toEqual(["With two relays.", "With one.", "While you were away."]);
  } finally {
    await second.remove();
  }
});

test("people of different relays meet, since the link tells where the host is found", async ({ person, site }) => {
  const second = new Relay();
  await second.start();
  try {
    const { ada, link } = await host(person, site);
    site.files["relays.json"] = JSON.stringify([second.url]);
    const bo = await guest(person, link);
    await isIn(bo.tab, "Welcome");
    await say(bo.tab, "From another relay.");
    await seesMessageSoon(ada.tab, "From another relay.");
    await say(ada.tab, "To another relay.");
    await seesMessageSoon(bo.tab, "To another relay.");
    await marksAre(ada.tab, "delivered");
  } finally {
    await second.remove();
  }
});

test("of three people on three relays, two who came by the first one's link meet each other, though the first has gone", async ({ person, site }) => {
  test.setTimeout(6 * PATIENCE_MILLIS);
  const others = [new Relay(), new Relay()];
  for (const other of others) await other.start();
  try {
    const { ada, link } = await host(person, site);
    const guests = [];
    for (const [index, name] of ["Bo", "Cy"].entries()) {
      site.files["relays.json"] = JSON.stringify([others[index].url]);
      const newcomer = await guest(person, link, name);
      await isIn(newcomer.tab, "Welcome");
      guests.push(newcomer);
    }
    const [bo, cy] = guests;
    await seesSoon(ada.tab, (view) => view.title === "Welcome");
    await ada.close();
    await say(bo.tab, "From the second relay.");
    await seesMessageSoon(cy.tab, "From the second relay.");
    await say(cy.tab, "From the third.");
    await seesMessageSoon(bo.tab, "From the third.");
    await bo.tab.fill(at("composer"), "And");
    await until(() => cy.tab.evaluate((selector) => document.querySelector(selector)?.textContent, at("typing")), (words) => /Bo is writing/.test(words), PATIENCE_MILLIS);
    const user = (await cy.tab.evaluate(askAs, "GET", "_matrix/client/v3/account/whoami")).body.user_id;
    const profile = await bo.tab.evaluate(askAs, "GET", `_matrix/client/v3/profile/${encodeURIComponent(user)}`);
    expect(profile).toMatchObject({ status: 200, body: { displayname: "Cy" } });
  } finally {
    for (const other of others) await other.remove();
  }
});

/** What a person's node says of the room: its topic and who is in it. */
async function roomAt({ tab }, room) {
  const topic = await tab.evaluate(askAs, "GET", `_matrix/client/v3/rooms/${room}/state/m.room.topic/`);
  const members = await tab.evaluate(askAs, "GET", `_matrix/client/v3/rooms/${room}/joined_members`);
  return { topic: topic.body.topic, members: Object.values(members.body.joined ?? {}).map((member) => member.display_name).sort() };
}

test("five people read what each says, and agree on what was changed apart", async ({ person, site, relay }) => {
  test.setTimeout(8 * PATIENCE_MILLIS);
  const { ada, link } = await host(person, site);
  const guests = [];
  for (const name of ["Bo", "Cy", "Di", "Ed"]) {
    const newcomer = await guest(person, link, name);
    await isIn(newcomer.tab, "Welcome");
    guests.push(newcomer);
  }
  const all = [ada, ...guests];
  const [bo, , di, ed] = guests;
  for (const [index, { tab }] of all.entries()) await say(tab, `Hello from number ${index}`);
  for (const { tab } of all) {
    for (const index of all.keys()) await seesMessageSoon(tab, `Hello from number ${index}`);
  }

  const room = encodeURIComponent(await ada.tab.evaluate(() => decodeURIComponent(location.hash.split("/room/")[1])));
  const put = ({ tab }, path, content) => tab.evaluate(askAs, "PUT", `_matrix/client/v3/rooms/${room}/${path}`, content);
  const userOf = async ({ tab }) => (await tab.evaluate(askAs, "GET", "_matrix/client/v3/account/whoami")).body.user_id;
  const levels = (await ada.tab.evaluate(askAs, "GET", `_matrix/client/v3/rooms/${room}/state/m.room.power_levels/`)).body;
  const raised = { ...levels, users: { ...levels.users, [await userOf(bo)]: 100 } };
  expect((await put(ada, "state/m.room.power_levels/", raised)).status).toBe(200);
  const mayChange = async () => (await bo.tab.evaluate(askAs, "GET", `_matrix/client/v3/rooms/${room}/state/m.room.power_levels/`)).body.users;
  await until(mayChange, (users) => Object.values(users ?? {}).includes(100), PATIENCE_MILLIS);

  // Apart, each has a topic of their own; together again, all have one, without another word being said.
  await relay.kill();
  const topics = ["By the fire", "In the rain"];
  for (const [index, someone] of [ada, bo].entries()) expect((await put(someone, "state/m.room.topic/", { topic: topics[index] })).status).toBe(200);
  expect([(await roomAt(ada, room)).topic, (await roomAt(bo, room)).topic]).toEqual(topics);
  await relay.start();
  const everywhere = (people) => Promise.all(people.map((someone) => roomAt(someone, room)));
  await until(() => everywhere(all), (views) => views.length === 5 && topics.includes(views[0].topic) && views.every(({ topic }) => topic === views[0].topic), 2 * PATIENCE_MILLIS);

  // Who is removed or banned is gone for all.
  for (const [action, someone] of [["kick", ed], ["ban", di]]) {
    const answer = await ada.tab.evaluate(askAs, "POST", `_matrix/client/v3/rooms/${room}/${action}`, { user_id: await userOf(someone) });
    expect(answer.status).toBe(200);
  }
  const rest = [ada, bo, guests[1]];
  await until(() => everywhere(rest), (views) => views.length === 3 && views.every(({ members }) => members.join() === "Ada,Bo,Cy"), PATIENCE_MILLIS);
  const words = () => di.tab.evaluate(() => document.querySelector(".empty h2")?.textContent);
  await until(words, (title) => /You are banned/.test(title), PATIENCE_MILLIS);
});

test("whoever must ask first is let in by a press", async ({ person, site }) => {
  const { ada, link } = await host(person, site, "knock-door");
  const bo = await guest(person, link);
  await shows(bo.tab, at("joining"), "data-state", ([state]) => state === "asked");
  await ada.tab.click(at("let-in"));
  await isIn(bo.tab, "Welcome");
  await say(bo.tab, "Thank you for letting me in.");
  await seesMessageSoon(ada.tab, "Thank you for letting me in.");
});

test("a guest waits for a host who is away, and is let in when they are back", async ({ person, site }) => {
  const { ada, link } = await host(person, site);
  await ada.close();
  const bo = await guest(person, link);
  await shows(bo.tab, at("joining"), "data-state", ([state]) => state === "waiting");
  // Also after a reload.
  await bo.tab.reload();
  await shows(bo.tab, at("joining"), "data-state", ([state]) => state === "waiting");
  await ada.open(site.url);
  await shows(ada.tab, at("reach"), "data-reachable", ([reachable]) => reachable === "true");
  // Bo's server has heard of it as well, and may be in already.
  await bo.tab.evaluate((selector) => document.querySelector(selector)?.click(), at("try-now"));
  await isIn(bo.tab, "Welcome");
});

test("a link that was damaged on its way is noticed", async ({ person, site }) => {
  const { ada, link } = await host(person, site);
  const middle = Math.floor(link.length / 2);
  const changed = link.slice(0, middle) + (link[middle] === "A" ? "B" : "A") + link.slice(middle + 1);
  for (const damaged of [changed, link.slice(0, -1)]) {
    await ada.tab.goto(damaged);
    await shows(ada.tab, at("damaged"), "role", ([role]) => role === "alert");
  }
});

test("relays are added, ordered and removed, and what is wrong with one is said", async ({ person, site, relay }) => {
  const ada = await person();
  const tab = await ada.open(site.url);
  await register(tab, "Ada");
  await tab.click(at("your-server"));
  await tab.click(at("tab-relays"));
  const urls = (wanted) => shows(tab, at("relay"), "data-url", (values) => JSON.stringify(values) === JSON.stringify(wanted));
  await shows(tab, at("relay"), "data-state", ([state]) => state === "attached");
  await urls([relay.url]);

  await tab.fill(at("relay-url"), "no address");
  await tab.click(at("relay-add"));
  await until(() => tab.evaluate(() => document.querySelector(".error-line")?.textContent), (words) => /That is no address/.test(words));
  await tab.fill(at("relay-url"), "http://localhost:9");
  await tab.click(at("relay-add"));
  await urls([relay.url, "http://localhost:9"]);
  await shows(tab, at("relay"), "data-state", ([, state]) => state === "waiting");
  await tab.click(at("relay-up"));
  await urls(["http://localhost:9", relay.url]);
  await tab.click(at("relay-remove"));
  await urls([relay.url]);
  await tab.click(at("relay-remove"));
  await urls([]);
});
