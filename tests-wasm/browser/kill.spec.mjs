// The kill test: a worker that is stopped at random moments while it is written to. What was acknowledged is there, once.
import { expect, startNode, test } from "./fixtures.mjs";
import { killLoop } from "./kill.mjs";

test.skip(({ engine }) => engine !== "chromium", "needs Chromium's debugging protocol");

/** Several hundred stops; a failing run is repeated with the seed that it prints. */
const ROUNDS = Number(process.env.KILL_ROUNDS ?? 300);
const SEED = Number(process.env.KILL_SEED ?? 1);

/** Runs in the page: all events of a room, oldest first. */
async function history(room) {
  const events = [];
  for (let from = ""; ; ) {
    const page = await window.call("GET", `/rooms/${encodeURIComponent(room)}/messages?dir=f&limit=100${from && `&from=${encodeURIComponent(from)}`}`);
    if (page.status !== 200) throw new Error(JSON.stringify(page));
    events.push(...page.body.chunk);
    if (!page.body.end) return events;
    from = page.body.end;
  }
}

test(`nothing acknowledged is lost over ${ROUNDS} stops (seed ${SEED})`, async ({ tab, site }) => {
  test.setTimeout(60_000 + ROUNDS * 1_500);
  await startNode(tab, site);
  const { room, acknowledged, rooms, lost, kills } = await killLoop(tab, ROUNDS, SEED);
  const ids = Object.values(acknowledged);
  console.log(`${ids.length} messages and ${rooms.length} rooms acknowledged, ${lost} requests repeated, ${kills} stops`);
  expect(ids.length).toBeGreaterThan(ROUNDS);

  const events = await tab.evaluate(history, room);
  const messages = events.filter((event) => event.type === "m.room.message");
  const stored = messages.map((event) => event.event_id);
  expect(new Set(stored).size, "no event twice").toBe(stored.length);
  expect(new Set(messages.map((event) => event.content.body)).size, "no message twice").toBe(stored.length);
  const missing = ids.filter((id) => !stored.includes(id));
  expect(missing, "acknowledged and lost").toEqual([]);

  const [transaction, first] = Object.entries(acknowledged).at(-100);
  const again = await tab.evaluate(
    ([room, transaction]) => window.call("PUT", `/rooms/${encodeURIComponent(room)}/send/m.room.message/${transaction}`, { msgtype: "m.text", body: "another" }),
    [room, transaction],
  );
  expect(again.body.event_id, "a transaction's first answer stands").toBe(first);

  const { joined, whole } = await tab.evaluate(async () => {
    const joined = (await window.call("GET", "/joined_rooms")).body.joined_rooms;
    const names = await Promise.all(joined.map((room) => window.call("GET", `/rooms/${encodeURIComponent(room)}/state`)));
    const kinds = (state) => new Set(state.body.map((event) => event.type));
    return { joined, whole: names.every((state) => ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.name"].every((kind) => kinds(state).has(kind))) };
  });
  expect(rooms.filter((room) => !joined.includes(room)), "rooms acknowledged and lost").toEqual([]);
  expect(whole, "rooms are whole or not there").toBe(true);
});
